use std::time::Duration;

use clap::CommandFactory;
use liaison_node::status::{
    ClockStanding, LinkStatus, NodeStatus, QueueEntry, QueueState, QueueStatus, Rank, RosterStanding, RosterStatus,
    StoreStatus, Trace,
};
use liaison_protocol::role::Role;
use liaison_protocol::roster::RosterVersion;
use liaison_protocol::{Hash, MessageId, Timestamp};

use super::*;
use crate::finding::Finding;

const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);

fn ago(seconds: u64) -> Option<Timestamp> {
    Some(NOW.before(Duration::from_secs(seconds)))
}

fn ahead(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

fn up(peer: &str, rtt_ms: f64) -> LinkStatus {
    LinkStatus {
        peer: peer.parse().unwrap(),
        role: Role::Relay,
        up: true,
        rtt_ms: Some(rtt_ms),
        since_ms: ago(7_200),
        last_receive_ms: ago(2),
        failure_since_ms: None,
        last_error: None,
        next_try_ms: None,
    }
}

fn links() -> Vec<LinkStatus> {
    let down = LinkStatus {
        up: false,
        rtt_ms: None,
        failure_since_ms: ago(1_200),
        last_error: Some("handshake: \u{1b}[31mroster v12".into()),
        next_try_ms: Some(ahead(41)),
        ..up("eu-2", 0.0)
    };
    vec![up("ap-1", 38.25), down]
}

fn queue(agency: &str, by_precedence: [u64; 5], state: QueueState) -> QueueStatus {
    let oldest = by_precedence.map(|entries| if entries > 0 { ago(1_320) } else { None });
    QueueStatus {
        queue: agency.parse().unwrap(),
        via: None,
        entries: by_precedence.iter().sum(),
        bytes: 31 << 20,
        oldest_ms: ago(1_320),
        by_precedence,
        bytes_by_precedence: [0; 5],
        oldest_by_precedence_ms: oldest,
        state,
        last_error: None,
        next_try_ms: None,
    }
}

fn queues() -> Vec<QueueStatus> {
    let mut backoff = queue("ncb.br", [2, 9, 411, 7_888, 3], QueueState::Backoff);
    backoff.via = Some("eu-2".parse().unwrap());
    backoff.last_error = Some("quota".into());
    backoff.next_try_ms = Some(ahead(41));
    vec![backoff, queue("ncb.ee", [0, 1, 88, 1_115, 0], QueueState::Offline)]
}

fn status() -> NodeStatus {
    NodeStatus {
        id: "eu-1".parse().unwrap(),
        role: Role::Relay,
        region: "europe".into(),
        version: "0.1.0".into(),
        uptime_s: 270_000,
        draining: false,
        clock_offset_ms: None,
        clock: ClockStanding::Sane,
        roster: RosterStatus {
            version: RosterVersion(14),
            hash: Hash([7; 32]),
            expires_ms: ahead(61 * 86_400),
            signed: 2,
            threshold: 2,
            standing: RosterStanding::Current,
            own_keys_expire_ms: None,
            frozen_at: None,
        },
        store: StoreStatus {
            used_bytes: 1_288_490_188,
            free_bytes: 41 << 30,
            low_water_bytes: 5 << 30,
            writable: true,
            commit_p50_ms: Some(1.13),
        },
        links: links(),
        queues: queues(),
        alarms: vec![],
    }
}

/// Styles are for terminals: what is left without them is what a pipe gets.
fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

#[test]
fn the_grammar_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn one_screen_says_how_the_relay_is() {
    let expected = "\
eu-1  relay  europe  version 0.1.0  up 3 d 3 h  ready
roster   version 14, 2 signatures (2 needed), 61 d left
store    1.1 GiB used, 41 GiB free (low water 5.0 GiB), commit 1.1 ms
links    1 of 2 up; ap-1 38.2 ms; down: eu-2 since ";
    let text = plain(&status::render(&status(), NOW));
    assert!(text.starts_with(expected), "{text}");
    assert!(
        text.contains("\nqueues   2 not empty, 9 517 messages, 62 MiB, oldest 22 m, oldest flash 22 m\n"),
        "{text}"
    );
    assert!(text.ends_with("\nalarms   none\n"), "{text}");
}

#[test]
fn what_is_wrong_is_said_in_words() {
    let mut status = status();
    status.draining = true;
    status.roster.standing = RosterStanding::Expired;
    status.alarms = vec!["roster version 14 has expired".into()];
    let text = plain(&status::render(&status, NOW));
    assert!(text.contains("  not ready: draining, roster\n"), "{text}");
    assert!(text.contains("(2 needed), ended: no new custody\n"), "{text}");
    assert!(text.contains("\nalarm    roster version 14 has expired\n"), "{text}");
}

#[test]
fn links_say_why_they_are_down_and_when_they_are_tried() {
    let expected = "\
PEER  ROLE   STATE  SINCE      RTT  HEARD  LAST ERROR                  NEXT TRY
ap-1  relay  up       2 h  38.2 ms    2 s  -                           -
eu-2  relay  down    20 m        -    2 s  handshake: \u{fffd}[31mroster v12  in 41 s
";
    assert_eq!(plain(&links::render(&links(), NOW)), expected);
    assert_eq!(links::render(&[], NOW), "");
}

#[test]
fn queues_say_what_is_stuck_for_whom_since_when_and_why() {
    let expected = "\
AGENCY  VIA   DEPTH   BYTES  OLDEST  FLASH  IMMED  PRIO   ROUT  BULK  STATE    LAST ERROR  NEXT TRY
ncb.br  eu-2  8 313  31 MiB    22 m      2      9   411  7 888     3  backoff  quota       in 41 s
ncb.ee  -     1 204  31 MiB    22 m      0      1    88  1 115     0  offline  -           on return
";
    assert_eq!(plain(&queues::render(&queues(), NOW)), expected);
    assert_eq!(queues::render(&[], NOW), "");
}

#[test]
fn a_condition_looks_at_the_lane_that_it_names() {
    let holds = |condition: &str| {
        let condition: fail_on::FailOn = condition.parse().unwrap();
        queues().iter().filter(|queue| condition.holds(queue, NOW)).count()
    };
    assert_eq!(holds("oldest_flash>60s"), 1);
    assert_eq!(holds("oldest>60s"), 2);
    assert_eq!(holds("oldest>22m"), 0);
    assert_eq!(holds("depth>1204"), 1);
    assert_eq!(holds("depth_immediate>0"), 2);
}

#[test]
fn a_trace_shows_header_data_only() {
    let id = MessageId(Hash(std::array::from_fn(|i| (i * 37 + 5) as u8)));
    let entry = QueueEntry {
        id,
        queue: "ncb.ee".parse().unwrap(),
        rank: Rank::Flash,
        seq: 7,
        sender: "ncb.sg".parse().unwrap(),
        from: "ap-1".parse().unwrap(),
        path: vec!["ap-1".parse().unwrap()],
        attempt: 1,
        accepted_ms: NOW,
        expires_ms: ahead(7 * 86_400),
        bytes: 2_048,
    };
    let text = plain(&trace::render(&Trace { id, entries: vec![entry], events: vec![] }, NOW));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], format!("{}  {id}", id.short()));
    assert_eq!(lines[1], "in custody here:");
    assert!(lines[2].starts_with("ID          FOR     LANE   SENDER  FROM  ACCEPTED"), "{text}");
    assert!(lines[3].ends_with("  in 7 d  2.0 KiB    1  ap-1"), "{text}");
}

#[test]
fn findings_carry_their_fix() {
    let findings = [
        Finding::ok("roots", "2 of 3 root keys must sign"),
        Finding::fail("quic", "UDP [::]:4433 is in use by another process").fix("stop it"),
    ];
    let expected = "\
LEVEL  CHECK  RESULT
ok     roots  2 of 3 root keys must sign
fail   quic   UDP [::]:4433 is in use by another process  fix: stop it
1 ok, 0 warnings, 1 failures
";
    assert_eq!(plain(&check::render(&findings)), expected);
}

#[test]
fn a_failure_is_a_line_for_people_and_an_object_for_programs() {
    let failure =
        Failure::new(Exit::NoAgency, "unknown_agency", "unknown agency 'ncb.eee'").hint("did you mean 'ncb.ee'?");
    assert_eq!(failure.render(false), "liaison-relay: unknown agency 'ncb.eee'\n  did you mean 'ncb.ee'?");
    let json: serde_json::Value = serde_json::from_str(&failure.render(true)).unwrap();
    assert_eq!(json["error"]["code"], "unknown_agency");
    assert_eq!(json["error"]["exit"], 67);
    assert_eq!(json["error"]["retryable"], false);
    assert_eq!(json["error"]["hint"], "did you mean 'ncb.ee'?");
}

#[test]
fn every_command_has_help_and_a_manual_page() {
    let mut whole = grammar();
    whole.build();
    for command in whole.get_subcommands() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
    }
}
