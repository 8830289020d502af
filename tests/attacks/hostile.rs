//! A peer that speaks the protocol as we do and says what it likes.

use std::sync::Arc;
use std::time::Duration;

use certs_dev::{Federation, LinkCertificate};
use liaison_node::clock;
use liaison_node::link::{Endpoint, EndpointConfig, LinkEvent, LinkHandle, LinkIdentity};
use liaison_protocol::envelope::Envelope;
use liaison_protocol::frame::{Ack, Bundle, BundleRequest, ControlFrame, Transfer};
use liaison_protocol::prekey::{PrekeyBundle, PrekeyPublic, SignedBundle};
use liaison_protocol::{AgencyId, NodeId, RefusalReason, Roster, codec, limits};
use liaison_tests::fed::PATIENCE;
use liaison_tests::keys::link_pems;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// See the module.
pub(crate) struct Hostile {
    // Before the runtime, in which it lives.
    endpoint: Endpoint,
    events: mpsc::Receiver<LinkEvent>,
    link: Option<LinkHandle>,
    sent: [u64; 5],
    runtime: Runtime,
}

/// What is handed over, but for its number on the lane.
pub(crate) struct Parcel {
    pub(crate) envelope: Envelope,
    pub(crate) branch: Vec<u16>,
    pub(crate) path: Vec<NodeId>,
    pub(crate) attempt: u8,
    pub(crate) rank: u8,
}

impl Parcel {
    /// For the only recipient, the first time, on the lane of routine mail.
    pub(crate) fn of(envelope: &Envelope) -> Self {
        Self { envelope: envelope.clone(), branch: vec![0], path: vec![], attempt: 1, rank: 3 }
    }
}

impl Hostile {
    /// With the stolen keys of `node`.
    pub(crate) fn as_node(files: &Federation, node: &str) -> Self {
        Self::claiming(files, node, node)
    }

    /// With the keys of `node`, saying to be `claimed`.
    pub(crate) fn claiming(files: &Federation, node: &str, claimed: &str) -> Self {
        let (certificate, key) = link_pems(files, node);
        Self::bind(files, LinkIdentity::from_pem(&certificate, &key).unwrap(), claimed, false)
    }

    /// With a certificate that nobody listed, saying to be `claimed`.
    pub(crate) fn stranger(files: &Federation, certificate: &LinkCertificate, claimed: &str) -> Self {
        let identity = LinkIdentity::from_pem(certificate.cert_pem.as_bytes(), certificate.key_pem.as_bytes()).unwrap();
        Self::bind(files, identity, claimed, false)
    }

    /// With the stolen keys of the relay `node`, at its address.
    pub(crate) fn in_place_of(files: &Federation, node: &str) -> Self {
        let (certificate, key) = link_pems(files, node);
        Self::bind(files, LinkIdentity::from_pem(&certificate, &key).unwrap(), node, true)
    }

    fn bind(files: &Federation, identity: LinkIdentity, claimed: &str, listens: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let me: NodeId = claimed.parse().unwrap();
        let roster: Arc<Roster> = Arc::new(files.roster().unwrap());
        let role = roster.role(&me).unwrap();
        let listen = files.relays.iter().find(|relay| listens && relay.id == me).map(|relay| relay.quic);
        let (_, roster) = watch::channel(roster);
        let (sender, events) = mpsc::channel(1024);
        let config = EndpointConfig { listen, ..EndpointConfig::new(identity, me, role, roster) };
        let entered = runtime.enter();
        let endpoint = Endpoint::bind(config, sender).unwrap();
        drop(entered);
        Self { endpoint, events, link: None, sent: [0; 5], runtime }
    }

    /// Dials a relay of the roster.
    pub(crate) fn dial(&self, files: &Federation, relay: &str) {
        let entered = self.runtime.enter();
        let relay = files.relays.iter().find(|files| files.id.as_str() == relay).unwrap();
        self.endpoint.dial(relay.id.clone(), vec![relay.quic.to_string()]);
        drop(entered);
    }

    /// Dials a relay, which takes the link.
    pub(crate) fn connect(&mut self, files: &Federation, relay: &str) {
        self.dial(files, relay);
        self.await_link(relay);
    }

    /// Until there is a link with `peer`.
    pub(crate) fn await_link(&mut self, peer: &str) {
        loop {
            if let LinkEvent::Up { peer: up, handle, .. } = self.next("a link")
                && up.as_str() == peer
            {
                self.link = Some(handle);
                self.sent = [0; 5];
                return;
            }
        }
    }

    /// Why dialing fails, before any link was up.
    pub(crate) fn refusal(&mut self) -> String {
        match self.next("a refusal") {
            LinkEvent::DialFailed { reason, .. } => reason,
            other => panic!("{other:?} instead of a refusal"),
        }
    }

    /// The keys of these agencies, from whoever is linked with us: in the order of the names.
    pub(crate) fn prekeys(&mut self, agencies: &[&str]) -> Vec<(AgencyId, PrekeyPublic)> {
        agencies.iter().map(|agency| self.prekey(&agency.parse().unwrap())).collect()
    }

    fn prekey(&mut self, agency: &AgencyId) -> (AgencyId, PrekeyPublic) {
        (agency.clone(), self.bundle_with(agency, |bundle| key_of(bundle, agency)))
    }

    /// Asks for the bundle of an agency until one comes in which `wanted` is found.
    pub(crate) fn bundle_with<T>(&mut self, agency: &AgencyId, wanted: impl Fn(&Bundle) -> Option<T>) -> T {
        let deadline = std::time::Instant::now() + PATIENCE;
        loop {
            assert!(std::time::Instant::now() < deadline, "no such bundle of {agency}");
            // It may not have come by yet.
            self.control(ControlFrame::BundleRequest(BundleRequest { agencies: vec![agency.clone()] }));
            let until = std::time::Instant::now() + Duration::from_millis(500);
            while let Some(event) = self.next_until(until) {
                if let LinkEvent::Control { frame: ControlFrame::Bundle(bundle), .. } = event
                    && let Some(found) = wanted(&bundle)
                {
                    return found;
                }
            }
        }
    }

    /// Says something on the control stream.
    pub(crate) fn control(&self, frame: ControlFrame) {
        self.link().control(&frame).unwrap();
    }

    /// Sends an envelope; what becomes of it.
    pub(crate) fn hand_over(&mut self, parcel: &Parcel) -> Ack {
        let sent = &mut self.sent[usize::from(parcel.rank)];
        *sent += 1;
        let (seq, rank) = (*sent, parcel.rank);
        let transfer = Transfer {
            seq,
            attempt: parcel.attempt,
            branch: parcel.branch.clone(),
            path: parcel.path.clone(),
            accepted: clock::now(),
            envelope: parcel.envelope.encode().into(),
        };
        self.link().transfer(rank, transfer).unwrap();
        loop {
            match self.next("an acknowledgement") {
                LinkEvent::Acks { rank: of, acks, .. } if of == rank => {
                    if let Some(ack) = acks.acks.into_iter().find(|ack| ack.seq == seq) {
                        return ack;
                    }
                }
                LinkEvent::Down { reason, .. } => panic!("the link is gone: {reason}"),
                _ => {}
            }
        }
    }

    /// Sends an envelope that is refused for good; why, recipient by recipient. Nothing of it may be taken.
    pub(crate) fn refused(&mut self, parcel: &Parcel) -> Vec<(u16, RefusalReason)> {
        self.refused_in(parcel, |retry_after_ms| retry_after_ms == 0)
    }

    /// The same for an envelope that may be offered again.
    pub(crate) fn refused_for_now(&mut self, parcel: &Parcel) -> Vec<(u16, RefusalReason)> {
        self.refused_in(parcel, |retry_after_ms| retry_after_ms > 0)
    }

    fn refused_in(&mut self, parcel: &Parcel, expected: impl Fn(u32) -> bool) -> Vec<(u16, RefusalReason)> {
        let ack = self.hand_over(parcel);
        assert!(ack.taken.is_empty() && ack.duplicate.is_empty(), "{ack:?}");
        assert!(ack.refused.iter().all(|refused| expected(refused.retry_after_ms)), "{ack:?}");
        let reason = |code| RefusalReason::try_from(code).unwrap();
        ack.refused.iter().map(|refused| (refused.index, reason(refused.reason))).collect()
    }

    fn link(&self) -> &LinkHandle {
        self.link.as_ref().expect("a link")
    }

    fn next(&mut self, what: &str) -> LinkEvent {
        let until = std::time::Instant::now() + PATIENCE;
        self.next_until(until).unwrap_or_else(|| panic!("{what} did not come within {PATIENCE:?}"))
    }

    fn next_until(&mut self, until: std::time::Instant) -> Option<LinkEvent> {
        let left = until.saturating_duration_since(std::time::Instant::now());
        let events = &mut self.events;
        self.runtime.block_on(async { timeout(left, events.recv()).await }).ok().flatten()
    }
}

/// Today's key, as a sender takes it; not verified, the sender here being the liar.
fn key_of(frame: &Bundle, agency: &AgencyId) -> Option<PrekeyPublic> {
    let signed = SignedBundle::decode(&frame.bundle).unwrap();
    let bundle: PrekeyBundle = codec::decode("bundle", &signed.bundle, limits::BUNDLE_BYTES_MAX).unwrap();
    if bundle.agency != *agency {
        return None;
    }
    let id = bundle.select(clock::now())?.id;
    let place = bundle.keys.iter().position(|key| key.id == id)?;
    PrekeyPublic::from_bytes(frame.keys.get(place)?.as_bytes()).ok()
}
