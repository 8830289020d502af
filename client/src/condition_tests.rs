//! One truth on every screen of the daemon: status, doctor, readiness and metrics.

use liaison_node::status::{ClockStanding, LinkStatus, NodeStatus, QueueState, QueueStatus, RosterStanding};
use liaison_protocol::role::Role;

use crate::api::model::Level;
use crate::testing::Federation;

/// The home relay of all agencies here, linked: desks have no links.
fn linked(node: &mut NodeStatus) {
    node.links.push(LinkStatus {
        peer: "ap-1".parse().unwrap(),
        role: Role::Relay,
        up: true,
        rtt_ms: None,
        since_ms: None,
        last_receive_ms: None,
        failure_since_ms: None,
        last_error: None,
        next_try_ms: None,
    });
}

/// A queue that its next holder refuses.
fn refused(error: &str) -> QueueStatus {
    QueueStatus {
        queue: "ncb.ee".parse().unwrap(),
        via: Some("ap-1".parse().unwrap()),
        entries: 1,
        bytes: 100,
        oldest_ms: None,
        by_precedence: Default::default(),
        bytes_by_precedence: Default::default(),
        oldest_by_precedence_ms: Default::default(),
        state: QueueState::Backoff,
        last_error: Some(error.into()),
        next_try_ms: None,
    }
}

#[tokio::test]
async fn what_fails_on_one_screen_fails_on_all() {
    let federation = Federation::new();
    let a = federation.start("ncb.sg").await;
    let healthy = a.operator.status().await.unwrap();
    // Each case: what is wrong, the check that fails, and whether the daemon still takes new messages.
    type Case = (&'static str, fn(&mut NodeStatus), Option<&'static str>, bool);
    let cases: [Case; 8] = [
        ("nothing", |_| {}, None, true),
        ("the clock", |node| node.clock = ClockStanding::Off, Some("clock"), false),
        ("the disk", |node| node.store.writable = false, Some("store"), false),
        ("the roster", |node| node.roster.standing = RosterStanding::Expired, Some("roster"), false),
        ("days of grace", |node| node.roster.standing = RosterStanding::Grace, Some("roster"), true),
        (
            "a relay that refuses for the clock",
            |node| node.queues.push(refused("refused by eu-1: your clock is 3 h fast")),
            Some("refusals"),
            true,
        ),
        ("a full queue", |node| node.queues.push(refused("refused by eu-1: quota")), None, true),
        (
            "another alarm",
            |node| node.alarms.push("two programs use the link key of ap-1".into()),
            Some("relays"),
            true,
        ),
    ];
    for (what, break_it, failing, takes) in cases {
        let mut node = healthy.clone();
        linked(&mut node);
        // The daemon's own clock has been compared.
        node.clock_offset_ms = Some(3);
        break_it(&mut node);
        let failures: Vec<String> = a
            .office
            .doctor(&node, &[])
            .unwrap()
            .into_iter()
            .filter(|finding| finding.level == Level::Fail)
            .map(|finding| finding.id)
            .collect();
        assert_eq!(failures, failing.into_iter().collect::<Vec<_>>(), "{what}");
        let alarms = a.office.status(&node, &[]).unwrap().alarms;
        assert_eq!(alarms.len(), failures.len(), "{what}: {alarms:?}");
        assert_eq!(a.office.unready(&node).is_empty(), takes, "{what}");
        // Who is refused is told so by the alarms, too.
        assert!(takes || !alarms.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn below_min_free_nothing_is_taken_and_every_screen_says_so() {
    let mut federation = Federation::new();
    federation.min_free_bytes = u64::MAX;
    let a = federation.start("ncb.sg").await;
    a.office.look_at_disk().unwrap();
    let mut node = a.operator.status().await.unwrap();
    linked(&mut node);
    assert!(node.store.writable, "the run loop has more room than the daemon wants");
    assert!(a.office.check_room().is_err());
    assert_eq!(a.office.status(&node, &[]).unwrap().alarms.len(), 1);
    assert_eq!(a.office.unready(&node).len(), 1);
}
