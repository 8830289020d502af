use liaison_protocol::{Hash, Hour, MessageId};

use super::*;

const NOW: Timestamp = Timestamp::from_millis(1_000_000);
const SG: LinkKey = LinkKey(1);
const EU: LinkKey = LinkKey(2);

fn key(n: u16) -> DedupeKey {
    DedupeKey { id: MessageId(Hash([7; 32])), index: n }
}

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn seen(held: Held, to: Option<&str>) -> Remembered {
    Remembered {
        hour: Hour(9),
        from: Some(node("ncb.sg")),
        to: to.map(node),
        ..Remembered::mark(1, held, Timestamp::MAX)
    }
}

fn pass(inquiries: &mut Inquiries, n: u16, asker: LinkKey, hops: u8) -> Passing {
    inquiries.pass(key(n), asker, (&node("eu-1"), Some(EU)), hops, NOW)
}

#[test]
fn a_relay_knows_what_it_holds_what_it_handed_over_and_what_it_never_saw() {
    let ask = |seen: Option<&Remembered>| knows(NodeKind::Relay, seen, &node("ncb.sg"), NodeKind::Daemon);
    assert_eq!(ask(None), Knows::Unknown);
    assert_eq!(ask(Some(&seen(Held::Yes, None))), Knows::Held);
    assert_eq!(ask(Some(&seen(Held::Released, Some("eu-1")))), Knows::Released(node("eu-1")));
    // It ended here in a notice, which says more.
    assert_eq!(ask(Some(&seen(Held::Released, None))), Knows::Nothing);
}

#[test]
fn an_agency_hears_nothing_of_what_others_handed_over_and_a_relay_does() {
    let held = seen(Held::Yes, None);
    assert_eq!(knows(NodeKind::Relay, Some(&held), &node("ncb.fr"), NodeKind::Daemon), Knows::Nothing);
    assert_eq!(knows(NodeKind::Relay, Some(&held), &node("ap-1"), NodeKind::Relay), Knows::Held);
}

#[test]
fn a_daemon_says_delivered_or_unknown() {
    let delivered = seen(Held::Released, None);
    assert_eq!(knows(NodeKind::Daemon, Some(&delivered), &node("eu-1"), NodeKind::Relay), Knows::Delivered);
    assert_eq!(knows(NodeKind::Daemon, None, &node("eu-1"), NodeKind::Relay), Knows::Unknown);
}

#[test]
fn one_question_gives_one_onward_question_and_its_answer_serves_all_who_asked() {
    let mut inquiries = Inquiries::default();
    assert_eq!(pass(&mut inquiries, 0, SG, 5), Passing::Pass);
    assert_eq!(pass(&mut inquiries, 0, LinkKey(3), 5), Passing::Joined);
    // Asked again by the same peer, or by the one that was asked (a loop): nothing more is sent.
    assert_eq!(pass(&mut inquiries, 0, SG, 5), Passing::Answer);
    assert_eq!(pass(&mut inquiries, 0, EU, 5), Passing::Answer);
    assert!(inquiries.answered(key(0), SG).is_empty(), "whoever was not asked has no answer");
    assert_eq!(inquiries.answered(key(0), EU), [SG, LinkKey(3)]);
    assert!(inquiries.answered(key(0), EU).is_empty());
    assert_eq!(inquiries.next_deadline(), None);
}

#[test]
fn a_question_ends_at_its_last_hop_and_where_there_is_no_link() {
    let mut inquiries = Inquiries::default();
    assert_eq!(pass(&mut inquiries, 0, SG, 0), Passing::Answer);
    assert_eq!(inquiries.pass(key(0), SG, (&node("eu-1"), None), 5, NOW), Passing::Answer);
}

#[test]
fn at_the_cap_a_relay_answers_for_itself_and_room_comes_back() {
    let mut inquiries = Inquiries::default();
    for n in 0..OPEN_MAX {
        assert_eq!(pass(&mut inquiries, n as u16, SG, 5), Passing::Pass);
    }
    assert_eq!(pass(&mut inquiries, OPEN_MAX as u16, SG, 5), Passing::Answer);
    inquiries.answered(key(3), EU);
    assert_eq!(pass(&mut inquiries, OPEN_MAX as u16, SG, 5), Passing::Pass);
}

#[test]
fn who_is_asked_last_is_given_up_first() {
    let mut inquiries = Inquiries::default();
    pass(&mut inquiries, 0, SG, 1);
    pass(&mut inquiries, 1, SG, 5);
    assert_eq!(inquiries.next_deadline(), Some(NOW.after(WAIT_PER_HOP)));
    assert!(inquiries.overdue(NOW).is_empty());
    assert_eq!(inquiries.overdue(NOW.after(WAIT_PER_HOP)), [(key(0), node("eu-1"), vec![SG])]);
    assert_eq!(inquiries.overdue(NOW.after(WAIT_PER_HOP * 5)), [(key(1), node("eu-1"), vec![SG])]);
}

#[test]
fn a_link_that_goes_down_ends_what_was_asked_by_it_either_way() {
    let mut inquiries = Inquiries::default();
    pass(&mut inquiries, 0, SG, 5);
    pass(&mut inquiries, 1, LinkKey(3), 5);
    assert_eq!(inquiries.handle_down(SG), [(key(0), node("eu-1"), vec![])]);
    assert_eq!(inquiries.handle_down(EU), [(key(1), node("eu-1"), vec![LinkKey(3)])]);
    assert_eq!(inquiries.next_deadline(), None);
}

#[test]
fn a_link_that_asks_too_much_is_not_answered_and_others_are() {
    let mut inquiries = Inquiries::default();
    let admitted = (0..10_000).filter(|_| inquiries.admit(SG, NOW)).count();
    assert_eq!(admitted, PER_SECOND as usize * 10);
    assert!(inquiries.admit(EU, NOW));
}
