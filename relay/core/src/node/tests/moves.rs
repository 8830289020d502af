//! Relays as whole machines, wired to each other: where mail goes when links and rosters change.

mod federation;
mod world;

use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::{AgencyStatus, RosterDocument};
use liaison_protocol::{MessageId, Precedence};

use federation::Federation;
use world::World;

/// Agency `ncb.x` has the home relays `a-1` and `a-2`, in this order; agency `ncb.s` has `b-1`.
fn world() -> World {
    World::new(Federation::new())
}

fn all_linked() -> World {
    let mut world = world();
    for (one, other) in [("a-1", "a-2"), ("a-1", "b-1"), ("a-2", "b-1"), ("b-1", "ncb.s")] {
        world.link(one, other);
    }
    world
}

// [CUST-16]
#[test]
fn mail_and_flash_reach_an_agency_that_is_linked_to_its_second_home_relay_only() {
    let mut world = all_linked();
    world.link("a-2", "ncb.x");
    let routine = world.submit("routine", Precedence::Routine);
    let flash = world.submit("flash", Precedence::Flash);
    assert_eq!(world.delivered("ncb.x"), [routine, flash]);
    assert_eq!(world.held("a-1") + world.held("a-2") + world.held("b-1"), 0);
}

// [CUST-16]
#[test]
fn what_waits_already_goes_to_the_home_relay_that_gets_the_link() {
    let mut world = all_linked();
    let letter = world.submit("waits", Precedence::Routine);
    assert_eq!((world.held("a-1"), world.held("a-2")), (1, 0), "it waits at the preferred one");
    world.link("a-2", "ncb.x");
    assert_eq!(world.delivered("ncb.x"), [letter]);
}

// [CUST-16]
#[test]
fn a_relay_hears_of_agencies_once_and_only_of_those_that_it_serves_too() {
    let mut world = all_linked();
    world.link("a-2", "ncb.x");
    assert_eq!(world.said("a-2", "a-1"), ["+ncb.x"]);
    assert!(world.said("a-2", "b-1").is_empty(), "it is no home relay of x");
    assert!(world.said("b-1", "a-1").is_empty(), "s has one home relay");
    world.unlink("a-2", "ncb.x");
    assert_eq!(world.said("a-2", "a-1"), ["+ncb.x", "-ncb.x"]);
    world.link("a-2", "ncb.x");
    world.unlink("a-1", "a-2");
    world.link("a-1", "a-2");
    assert_eq!(world.said("a-2", "a-1"), ["+ncb.x", "-ncb.x", "+ncb.x", "+ncb.x"], "a new link begins with all");
}

/// The first home relay passes it on to the second one, and the agency comes back to the first one alone.
// [CUST-8] [CUST-16]
#[test]
fn mail_follows_an_agency_that_moves_back_to_the_home_relay_that_passed_it_on() {
    let mut world = all_linked();
    let letter = world.submit("to and fro", Precedence::Routine);
    world.busy("ncb.x");
    world.link("a-2", "ncb.x");
    world.unlink("a-2", "ncb.x");
    assert_eq!((world.held("a-1"), world.held("a-2")), (0, 1));
    world.ready("ncb.x");
    world.link("a-1", "ncb.x");
    assert_eq!(world.delivered("ncb.x"), [letter]);
    assert_eq!(world.came_from("a-1", letter), "b-1", "answers and receipts still find their way back");
}

// [CUST-8]
#[test]
fn two_home_relays_do_not_play_ball_for_ever_however_often_the_agency_moves() {
    let mut world = all_linked();
    world.submit("ball", Precedence::Routine);
    world.busy("ncb.x");
    for _ in 0..20 {
        for home in ["a-2", "a-1"] {
            world.link(home, "ncb.x");
            world.unlink(home, "ncb.x");
        }
    }
    assert_eq!(world.held("a-1") + world.held("a-2"), 1, "it is in one place");
    let transfers = world.transfers("a-1", "a-2") + world.transfers("a-2", "a-1");
    assert!(transfers <= liaison_protocol::frame::PATH_MAX, "{transfers} transfers");
}

// [CUST-8]
#[test]
fn a_home_relay_does_not_take_back_for_an_agency_that_is_not_linked_to_it() {
    let mut world = all_linked();
    let letter = world.submit("waits", Precedence::Routine);
    world.busy("ncb.x");
    world.link("a-2", "ncb.x");
    world.unlink("a-2", "ncb.x");
    let refused = world.hand_over("a-2", "a-1", letter, &["b-1", "a-1"]);
    assert_eq!(refused.reason, RefusalReason::Loop.code());
    assert!(refused.retry_after_ms > 0, "its holder keeps it");
}

// [CUST-16]
#[test]
fn only_a_relays_word_counts_and_an_older_links_word_does_not() {
    let mut world = all_linked();
    world.submit("waits", Precedence::Routine);
    world.claim_presence("ncb.s", "b-1", "ncb.x");
    world.claim_presence("b-1", "a-1", "ncb.x");
    assert_eq!(world.held("a-1"), 1, "b-1 is no home relay of x");
}

// [CUST-17]
#[test]
fn removing_an_agency_ends_all_that_waits_for_it_in_notices_at_once() {
    let mut world = all_linked();
    let letters: Vec<MessageId> =
        (0..700).map(|n| world.submit(&format!("letter {n}"), Precedence::DRAIN_ORDER[n % 4])).collect();
    assert_eq!(world.held("a-1"), 700);
    world.roster(|document| document.agencies.retain(|agency| agency.id.as_str() != "ncb.x"));
    let mut ended: Vec<MessageId> = world.ended("a-1").into_iter().map(|(id, _)| id).collect();
    ended.sort_unstable();
    let mut expected = letters;
    expected.sort_unstable();
    assert_eq!(ended, expected);
    assert!(world.ended("a-1").iter().all(|(_, reason)| *reason == RefusalReason::UnknownRecipient));
    assert_eq!(world.held("a-1"), 0);
}

// [CUST-17]
#[test]
fn mail_for_an_agency_that_was_removed_while_the_relay_was_down_ends_at_its_start() {
    let mut world = all_linked();
    world.submit("waits", Precedence::Routine);
    world.stop("a-1");
    world.roster(|document| document.agencies.retain(|agency| agency.id.as_str() != "ncb.x"));
    world.start("a-1");
    assert_eq!(world.ended("a-1").len(), 1);
    assert_eq!(world.held("a-1"), 0);
}

#[test]
fn mail_for_a_suspended_agency_waits_and_is_delivered_when_it_is_active_again() {
    let status = |status| move |document: &mut RosterDocument| document.agencies[1].status = status;
    let mut world = all_linked();
    let letter = world.submit("waits", Precedence::Routine);
    world.roster(status(AgencyStatus::Suspended));
    assert_eq!((world.held("a-1"), world.ended("a-1").len()), (1, 0));
    world.roster(status(AgencyStatus::Active));
    world.link("a-1", "ncb.x");
    assert_eq!(world.delivered("ncb.x"), [letter]);
}

/// Its mail has come to its home relay through the relay that is its home next.
// [CUST-8]
#[test]
fn giving_an_agency_another_home_moves_what_waits_also_back_to_where_it_has_been() {
    let mut world = all_linked();
    let letter = world.submit("waits", Precedence::Routine);
    assert_eq!(world.held("a-1"), 1, "by way of b-1");
    world.roster(|document| document.agencies[1].home = vec!["b-1".parse().unwrap()]);
    world.wait_ms(1_000);
    assert_eq!((world.held("a-1"), world.held("b-1")), (0, 1), "as soon as both have the roster");
    world.link("b-1", "ncb.x");
    assert_eq!(world.delivered("ncb.x"), [letter]);
}

/// The holder has the new roster, and the new home relay has not: it refuses for now, and nothing is lost.
// [CUST-8]
#[test]
fn a_new_home_relay_that_lacks_the_roster_is_waited_for() {
    let mut world = all_linked();
    let letter = world.submit("waits", Precedence::Routine);
    let roster = world.publish(|document| document.agencies[1].home = vec!["b-1".parse().unwrap()]);
    world.follow("a-1", &roster);
    assert_eq!((world.held("a-1"), world.ended("a-1").len()), (1, 0));
    world.follow("b-1", &roster);
    world.wait_ms(60_000);
    assert_eq!((world.held("a-1"), world.held("b-1")), (0, 1));
    world.link("b-1", "ncb.x");
    assert_eq!(world.delivered("ncb.x"), [letter]);
}

// [CUST-8]
#[test]
fn a_daemon_without_configured_home_relays_follows_the_rosters() {
    let mut world = all_linked();
    world.unlink("b-1", "ncb.s");
    world.start("ncb.s");
    world.link("a-1", "ncb.s");
    let letter = world.submit_at("ncb.s", "moved", Precedence::Routine);
    assert_eq!(world.held("ncb.s"), 1, "a-1 is not its home relay");
    world.roster(|document| document.agencies[0].home = vec!["a-1".parse().unwrap()]);
    assert_eq!((world.held("ncb.s"), world.held("a-1")), (0, 1));
    world.link("a-1", "ncb.x");
    assert_eq!(world.delivered("ncb.x"), [letter]);
}
