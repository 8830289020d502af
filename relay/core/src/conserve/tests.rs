use liaison_protocol::Hash;

use super::*;

const NOW: Timestamp = Timestamp::from_millis(9_000_000);
const LINK: LinkKey = LinkKey(5);

fn peer() -> NodeId {
    "eu-1".parse().unwrap()
}

fn item(n: u8, hour: u32) -> ReleasedItem {
    let key = DedupeKey { id: MessageId(Hash([n; 32])), index: 0 };
    ReleasedItem { key, attempt: 1, hour: Hour(hour), from: Some("ncb.sg".parse().unwrap()) }
}

fn tally(items: &[ReleasedItem]) -> Tally {
    let mut sum = Tally::default();
    items.iter().for_each(|item| sum.add(&Tally::of(&item.key.id, item.key.index, item.attempt)));
    sum
}

fn of_hour(hour: u32, items: &[ReleasedItem]) -> HourTally {
    HourTally { hour: Hour(hour), tally: tally(items) }
}

/// Three items in hour 1, one in hour 2; the peer has counted `theirs` of hour 1.
fn compared(theirs: &[ReleasedItem]) -> (Conserve, Vec<Step>) {
    let mut conserve = Conserve::default();
    conserve.want(peer());
    assert_eq!(conserve.take_waiting(), Some(peer()));
    let hours = [of_hour(1, &[item(1, 1), item(2, 1), item(3, 1)]), of_hour(2, &[item(4, 2)])];
    conserve.begin(peer(), LINK, &hours, NOW);
    let steps = conserve.answered(LINK, &[of_hour(1, theirs)], NOW);
    (conserve, steps)
}

#[test]
fn hours_with_equal_tallies_are_agreed_without_naming_anything() {
    let mut conserve = Conserve::default();
    conserve.begin(peer(), LINK, &[of_hour(1, &[item(1, 1)])], NOW);
    assert_eq!(conserve.answered(LinkKey(9), &[], NOW), [], "that link was not asked");
    let agreed = Step::Agreed { hour: Hour(1), tally: tally(&[item(1, 1)]) };
    assert_eq!(conserve.answered(LINK, &[], NOW), [agreed]);
    assert!(conserve.is_idle());
}

#[test]
fn what_the_peer_does_not_know_is_named_over_as_many_pages_as_it_takes() {
    let (mut conserve, steps) = compared(&[item(1, 1)]);
    let load = |after| Step::Load { hours: vec![Hour(1)], after };
    assert_eq!(steps, [Step::Agreed { hour: Hour(2), tally: tally(&[item(4, 2)]) }, load(None)]);
    let first = conserve.loaded(vec![item(1, 1), item(2, 1)], Some(item(2, 1).key), NOW);
    assert!(matches!(first.as_slice(), [Step::Roll(roll)] if roll.len() == 2));
    assert_eq!(conserve.unknown(LINK, &[1], NOW), [Step::Missing(item(2, 1)), load(Some(item(2, 1).key))]);
    conserve.loaded(vec![item(3, 1)], None, NOW);
    let last = conserve.unknown(LINK, &[0, 7], NOW);
    let finding = Finding {
        found: NOW,
        released: tally(&[item(1, 1), item(2, 1), item(3, 1)]),
        accepted: tally(&[item(1, 1)]),
        missing: 2,
        named: vec![(item(2, 1).key.id, 0, 1), (item(3, 1).key.id, 0, 1)],
    };
    assert_eq!(last, [Step::Missing(item(3, 1)), Step::Found { hour: Hour(1), finding: finding.clone() }]);
    assert!(conserve.is_idle());
    let Op::Put { key, value, .. } = finding.put(&peer(), Hour(1)) else { panic!() };
    assert_eq!(Finding::parse(&key, &value), Some((peer(), Hour(1), finding)));
}

#[test]
fn a_difference_of_which_every_id_is_known_is_no_loss() {
    // The peer has one more: it has taken it, and its acknowledgement is still on the way.
    let (mut conserve, _) = compared(&[item(1, 1), item(2, 1), item(3, 1), item(9, 1)]);
    conserve.loaded(vec![item(1, 1), item(2, 1), item(3, 1)], None, NOW);
    let agreed = Step::Agreed { hour: Hour(1), tally: tally(&[item(1, 1), item(2, 1), item(3, 1)]) };
    assert_eq!(conserve.unknown(LINK, &[], NOW), [agreed]);
}

#[test]
fn a_page_without_matches_leads_to_the_next_one() {
    let (mut conserve, _) = compared(&[]);
    let next = Some(item(7, 1).key);
    assert_eq!(conserve.loaded(vec![], next, NOW), [Step::Load { hours: vec![Hour(1)], after: next }]);
    assert!(matches!(conserve.loaded(vec![], None, NOW).as_slice(), [Step::Agreed { .. }]));
}

#[test]
fn a_link_that_goes_down_and_a_peer_that_does_not_answer_end_it() {
    let (mut conserve, _) = compared(&[]);
    conserve.give_up_late(NOW);
    assert!(!conserve.is_idle());
    conserve.give_up_late(NOW.after(ANSWER_MAX));
    assert!(conserve.is_idle() && conserve.deadline().is_none());
    let (mut conserve, _) = compared(&[]);
    conserve.handle_down(LINK, &peer());
    assert_eq!(conserve.unknown(LINK, &[0], NOW), []);
    assert_eq!(conserve.loaded(vec![item(1, 1)], None, NOW), []);
}

#[test]
fn answers_out_of_turn_change_nothing() {
    let (mut conserve, _) = compared(&[]);
    assert_eq!(conserve.answered(LINK, &[], NOW), []);
    assert_eq!(conserve.unknown(LINK, &[0], NOW), [], "nothing was asked yet");
}
