use super::*;
use liaison_client::api::model::{AgencyView, Precedence, Tlp};

fn agencies() -> Agencies {
    let view = |id: &str| AgencyView {
        id: id.parse().unwrap(),
        name: String::new(),
        home: Vec::new(),
        status: "active".into(),
        me: false,
        we_may_send: None,
        they_may_send: None,
        keys: Vec::new(),
        prekeys_until: None,
        lifetime_max_s: 0,
    };
    Agencies { roster_version: 1, agencies: ["ncb.ee", "ncb.fr", "igci.interpol"].map(view).into() }
}

fn submitted() -> Submitted {
    Submitted {
        id: Some("4m7x0qd2ka000000000000000000000000000000000000000000".parse().unwrap()),
        state: MessageState::Outbox,
        repeated: false,
        fsync_ms: 2.4,
        to: vec!["ncb.ee".parse().unwrap()],
        info: Vec::new(),
        precedence: Precedence::Priority,
        tlp: Tlp::Amber,
        parts: 2,
        bytes: 1_258_292,
        expires: "2026-12-01T00:00:00Z".parse().unwrap(),
    }
}

#[test]
fn one_line_says_where_the_message_is() {
    let line = "4m7x0qd2ka  stored in outbox (fsync 3 ms)   to ncb.ee   priority   TLP:AMBER   2 parts, 1.2 MiB\n";
    assert_eq!(render(&submitted()), line);
    let dry = Submitted { id: None, info: vec!["ncb.fr".parse().unwrap()], ..submitted() };
    assert!(render(&dry).starts_with("not sent (dry run)   to ncb.ee (info ncb.fr)   priority"));
}

#[test]
fn a_slip_in_a_recipient_is_answered_with_its_neighbours() {
    let failure = agency("ncb.eee", &agencies()).unwrap_err();
    assert_eq!(failure.message, "unknown agency 'ncb.eee'; did you mean 'ncb.ee'?");
    assert_eq!(failure.exit, 67);
    assert_eq!(agency("interpol", &agencies()).unwrap_err().exit, 67);
    assert_eq!(agency("ncb.fr", &agencies()).unwrap().as_str(), "ncb.fr");
}

#[test]
fn a_message_needs_a_recipient_and_a_subject() {
    let draft = Draft { to: vec!["ncb.ee".into()], ..Draft::default() };
    assert_eq!(address(&draft, &agencies()).unwrap_err().message, "no subject");
    assert_eq!(address(&Draft::default(), &agencies()).unwrap_err().message, "no recipient");
}
