//! One federation for all attacks that need no other.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use liaison_protocol::envelope::Envelope;
use liaison_tests::fed::{Federation, Plan, eventually};

/// The federation that tests share as long as one of them uses it. `ncb.ee` and `ncb.fr` and all relays are honest and run;
/// every other agency's keys were stolen, each by one test.
pub(crate) fn victims() -> Arc<Federation> {
    static VICTIMS: Mutex<Weak<Federation>> = Mutex::new(Weak::new());
    let mut victims = VICTIMS.lock().unwrap_or_else(PoisonError::into_inner);
    victims.upgrade().unwrap_or_else(|| {
        let fed = Arc::new(Federation::make(&Plan { agencies: 12, ..Plan::default() }));
        ["ap-1", "eu-1", "ncb.ee", "ncb.fr"].into_iter().for_each(|node| fed.start_node(node));
        *victims = Arc::downgrade(&fed);
        fed
    })
}

/// How often a message is in the inbox of `agency`.
pub(crate) fn copies(fed: &Federation, agency: &str, envelope: &Envelope) -> usize {
    let id = envelope.id().to_string();
    fed.inbox(agency).iter().filter(|item| item["id"] == id.as_str()).count()
}

/// Waits for the good message that was sent last, and looks that none of the bad ones before it came.
pub(crate) fn only_the_good_one_arrives(fed: &Federation, agency: &str, good: &Envelope, bad: &[&Envelope]) {
    eventually("the good one", || (copies(fed, agency, good) > 0).then_some(()));
    assert_eq!(copies(fed, agency, good), 1);
    // What has the good one's id is the good one: an envelope with another body or signature is told by its refusal.
    for envelope in bad.iter().filter(|envelope| envelope.id() != good.id()) {
        assert_eq!(copies(fed, agency, envelope), 0, "{:?}", envelope.id());
    }
}
