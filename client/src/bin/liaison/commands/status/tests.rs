use super::*;
use crate::when::tests::{at, clock};
use liaison_client::api::model::{
    ClockStatus, InboxStatus, OutboxStatus, Precedence, RecipientStatus, RosterStatus, StoreStatus, Tlp,
};

fn plain(text: &str) -> String {
    anstream::adapter::strip_str(text).to_string()
}

fn hop(time: Option<&str>, node: &str, stage: Stage, detail: &str) -> Hop {
    Hop {
        at: time.map(at),
        node: node.parse().unwrap(),
        stage,
        recipients: vec!["ncb.ee".parse().unwrap()],
        verified: time.is_some(),
        detail: detail.into(),
    }
}

fn recipient(agency: &str, state: RecipientState, holder: Option<&str>) -> RecipientStatus {
    RecipientStatus {
        agency: agency.parse().unwrap(),
        state,
        holder: holder.map(|node| node.parse().unwrap()),
        at: None,
        detail: String::new(),
        next_try: None,
    }
}

fn trace() -> CustodyTrace {
    CustodyTrace {
        id: "4m7x0qd2ka000000000000000000000000000000000000000000".parse().unwrap(),
        subject: "Case 1142: sinkhole hits".into(),
        tlp: Tlp::Amber,
        precedence: Precedence::Priority,
        created: at("2026-11-24T06:02:11.204Z"),
        expires: at("2026-12-01T06:02:11.204Z"),
        state: MessageState::Custody,
        hops: vec![
            hop(Some("2026-11-24T06:02:11.204Z"), "ncb.sg", Stage::Outbox, "signed and sealed, 1 recipient"),
            hop(Some("2026-11-24T06:02:11.251Z"), "ap-1", Stage::Custody, "receipt ok"),
            hop(Some("2026-11-24T06:02:11.630Z"), "eu-1", Stage::Custody, "receipt ok"),
            hop(None, "ncb.ee", Stage::Waiting, "agency offline since 13:40, next hand-over on its return"),
        ],
        attempts: Vec::new(),
        recipients: vec![recipient("ncb.ee", RecipientState::Custody, Some("eu-1"))],
    }
}

#[test]
fn a_message_is_shown_hop_by_hop_as_in_the_manual() {
    let expected = "\
4m7x0qd2ka  \"Case 1142: sinkhole hits\"  TLP:AMBER  priority  expires in 6d 23h
  ✓ 14:02:11.204  ncb.sg      outbox     signed and sealed, 1 recipient
  ✓ 14:02:11.251  ap-1        custody    receipt ok
  ✓ 14:02:11.630  eu-1        custody    receipt ok
  … ncb.ee                    waiting    agency offline since 13:40, next hand-over on its return
state: at eu-1 for ncb.ee
";
    assert_eq!(plain(&render_trace(&trace(), &clock())), expected);
}

#[test]
fn a_receipt_that_does_not_verify_is_said_in_words() {
    let mut trace = trace();
    trace.hops[1].verified = false;
    let text = plain(&render_trace(&trace, &clock()));
    assert!(text.contains("  ? 14:02:11.251  ap-1        custody    NOT VERIFIED receipt ok\n"), "{text}");
}

#[test]
fn recipients_in_the_same_place_are_named_together() {
    let mut trace = trace();
    trace.recipients = vec![
        recipient("ncb.ee", RecipientState::Custody, Some("eu-1")),
        recipient("ncb.fr", RecipientState::Delivered, None),
        recipient("ncb.de", RecipientState::Custody, Some("eu-1")),
        recipient("ncb.jp", RecipientState::Outbox, None),
    ];
    assert_eq!(state(&trace), "at eu-1 for ncb.ee, ncb.de; delivered to ncb.fr; in the outbox for ncb.jp");
    assert!(render_trace(&trace, &clock()).contains("receipt ok, for ncb.ee\n"));
}

pub(crate) fn status() -> Status {
    Status {
        agency: "ncb.sg".parse().unwrap(),
        version: "0.1.0".into(),
        started: at("2026-11-21T06:32:00Z"),
        uptime_s: 259_200,
        roster: RosterStatus {
            federation: "00".repeat(16),
            version: 14,
            hash: "00".repeat(32),
            issued: at("2026-10-24T06:32:00Z"),
            expires: at("2027-01-24T06:32:00Z"),
            signatures: 2,
            threshold: 2,
            roots: 3,
        },
        links: vec![
            LinkStatus {
                node: "ap-1".parse().unwrap(),
                region: "asia".into(),
                state: LinkState::Up,
                since: Some(at("2026-11-24T02:00:00Z")),
                rtt_ms: Some(38.04),
                last_receive: Some(at("2026-11-24T06:31:58Z")),
                last_error: None,
                next_try: None,
            },
            LinkStatus {
                node: "ap-2".parse().unwrap(),
                region: "asia".into(),
                state: LinkState::Down,
                since: Some(at("2026-11-24T05:40:00Z")),
                rtt_ms: None,
                last_receive: None,
                last_error: Some("no answer".into()),
                next_try: Some(at("2026-11-24T06:32:12Z")),
            },
        ],
        outbox: OutboxStatus { open: 3, waiting: 1, bytes: 1_258_292, oldest: Some(at("2026-11-24T06:10:00Z")) },
        inbox: InboxStatus { messages: 214, unread: 3, arriving: 1, unannounced_bytes: 0 },
        store: StoreStatus { used_bytes: 1_288_490_189, free_bytes: 44_023_414_784, min_free_bytes: 1 << 31 },
        clock: ClockStatus { offset_ms: Some(-3), against: Some("ap-1".parse().unwrap()) },
        prekeys_until: None,
        alarms: Vec::new(),
        cursor: 7,
    }
}

#[test]
fn the_daemon_is_shown_on_one_screen() {
    let expected = "\
ncb.sg        liaisond 0.1.0, up 3d
roster        version 14, signed 2 of 3, 61d left
link ap-1     up since 10:00, 38.0 ms, heard 2s ago
link ap-2     down since 13:40: no answer; next try in 12s
outbox        3 not delivered yet, 1 still here, 1.2 MiB, oldest 22m
inbox         214 messages, 3 unread, 1 still arriving
store         1.2 GiB used, 41 GiB free
clock         -3 ms against ap-1
";
    assert_eq!(render_status(&status(), &clock()), expected);
}
