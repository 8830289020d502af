//! Rosters and prekey bundles between a relay and an agency that says what it likes.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use liaison_core::bundle_fetch::TURNS;
use liaison_protocol::frame::{
    BundleOffer, BundleRequest, BundleVersion, ControlFrame, RosterFrame, RosterOffer, RosterRequest,
};
use liaison_protocol::{Hash, NodeId, Role};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::fed::Fed;
use super::{Disk, PATIENCE, Relay};
use crate::bundles::Claim;
use crate::link::{Endpoint, EndpointConfig, LinkEvent, LinkHandle};
use crate::store::Store;

/// After this nothing more comes.
const QUIET: Duration = Duration::from_secs(1);

/// The sender's end of its link, below the run loop.
struct Liar {
    _endpoint: Endpoint,
    events: mpsc::Receiver<LinkEvent>,
    link: LinkHandle,
}

impl Liar {
    async fn dial(fed: &Fed, name: &NodeId, relay: &str) -> Self {
        let (sender, mut events) = mpsc::channel(256);
        let (_, roster) = watch::channel(Arc::clone(&fed.roster));
        let config = EndpointConfig::new(fed.link_identity(name), name.clone(), Role::Agency, roster);
        let endpoint = Endpoint::bind(config, sender).unwrap();
        endpoint.dial(fed.relay.clone(), vec![relay.to_owned()]);
        loop {
            if let LinkEvent::Up { handle, .. } = timeout(PATIENCE, events.recv()).await.unwrap().unwrap() {
                return Self { _endpoint: endpoint, events, link: handle };
            }
        }
    }

    fn say(&self, frame: ControlFrame) {
        self.link.control(&frame).unwrap();
    }

    /// The next control frame; `None` if none comes.
    async fn hear(&mut self, patience: Duration) -> Option<ControlFrame> {
        loop {
            match timeout(patience, self.events.recv()).await.ok()?? {
                LinkEvent::Control { frame, .. } => return Some(frame),
                LinkEvent::Down { reason, .. } => panic!("down: {reason}"),
                _ => {}
            }
        }
    }

    /// Until it is asked for something that `wanted` knows.
    async fn asked<T>(&mut self, wanted: impl Fn(&ControlFrame) -> Option<T>) -> Option<T> {
        while let Some(frame) = self.hear(QUIET).await {
            if let Some(found) = wanted(&frame) {
                return Some(found);
            }
        }
        None
    }

    fn offer(&self, fed: &Fed, seq: u64) {
        let version = BundleVersion { agency: fed.sender.to_agency(), epoch: 1, seq };
        self.say(ControlFrame::BundleOffer(BundleOffer { bundles: vec![version] }));
    }

    async fn is_asked_for_a_bundle(&mut self) -> bool {
        self.asked(|frame| matches!(frame, ControlFrame::BundleRequest(_)).then_some(())).await.is_some()
    }
}

// [FRAME-7] [FRAME-8]
#[tokio::test(flavor = "multi_thread")]
async fn an_endless_publisher_has_its_turns_whether_it_offers_or_pushes() {
    let fed = Fed::new();
    let disk = Disk::new(&fed);
    let store: Arc<dyn Store> = Arc::new(disk.open());
    let relay = Relay::start(&fed, &disk, Arc::clone(&store)).unwrap();
    let mut liar = Liar::dial(&fed, &fed.sender, &relay.address).await;
    let mut other = Liar::dial(&fed, &fed.recipient, &relay.address).await;
    let mut asked = 0;
    for seq in 2..20 {
        liar.offer(&fed, seq);
        if !liar.is_asked_for_a_bundle().await {
            break;
        }
        asked += 1;
        liar.say(ControlFrame::Bundle(fed.bundle(&fed.sender_key, seq, 3600)));
    }
    // On a slow machine a minute passes meanwhile.
    assert!((TURNS.at_once..TURNS.at_once + 3).contains(&asked), "{asked}");
    // Nor is what it pushes.
    for seq in 100..120 {
        liar.say(ControlFrame::Bundle(fed.bundle(&fed.sender_key, seq, 3600)));
    }
    // What comes behind that has been handled once this is answered.
    liar.say(ControlFrame::BundleRequest(BundleRequest { agencies: vec![fed.sender.to_agency()] }));
    let sent = liar.asked(|frame| match frame {
        ControlFrame::Bundle(bundle) => Claim::of(bundle).map(|claim| claim.position.seq),
        _ => None,
    });
    let sent = sent.await.unwrap();
    assert!((asked..100 + 3).contains(&sent), "{sent}");
    let offered = |frame: &ControlFrame| match frame {
        ControlFrame::BundleOffer(offer) => offer.bundles.iter().map(|version| version.seq).find(|seq| *seq > 1),
        _ => None,
    };
    assert!(other.asked(offered).await.is_some(), "what is new is offered on");
    relay.stop.cancel();
    relay.ended.await.unwrap().unwrap();
}

// [FRAME-6] [FRAME-10]
#[tokio::test(flavor = "multi_thread")]
async fn a_claim_leads_to_one_question_and_a_question_to_one_answer() {
    let fed = Fed::new();
    let disk = Disk::new(&fed);
    let store: Arc<dyn Store> = Arc::new(disk.open());
    let relay = Relay::start(&fed, &disk, store).unwrap();
    let mut liar = Liar::dial(&fed, &fed.sender, &relay.address).await;
    let question = |frame: &ControlFrame| matches!(frame, ControlFrame::RosterRequest(_)).then_some(());
    let claim = |version, hash| ControlFrame::RosterOffer(RosterOffer { version, hash: Hash([hash; 32]) });
    liar.say(claim(u32::MAX, 1));
    assert_eq!(liar.asked(question).await, Some(()));
    // One question at a time, however often it says so.
    for hash in 2..9 {
        liar.say(claim(u32::MAX, hash));
    }
    assert_eq!(liar.asked(question).await, None);
    // An answer of no use: the next question has to wait.
    liar.say(ControlFrame::Roster(RosterFrame { bytes: Bytes::from(vec![b'['; 1_000_000]) }));
    liar.say(claim(u32::MAX, 9));
    assert_eq!(liar.asked(question).await, None);

    let request = |after| ControlFrame::RosterRequest(RosterRequest { after });
    let roster = |frame: &ControlFrame| match frame {
        ControlFrame::Roster(roster) => Some(roster.bytes.clone()),
        _ => None,
    };
    for _ in 0..3 {
        liar.say(request(0));
    }
    liar.say(request(fed.roster.version().0));
    for _ in 0..3 {
        assert_eq!(liar.asked(roster).await.as_ref(), Some(fed.roster.signed()));
    }
    assert_eq!(liar.asked(roster).await, Some(Bytes::new()), "none after that");
    assert_eq!(liar.asked(roster).await, None);
    relay.stop.cancel();
    relay.ended.await.unwrap().unwrap();
}
