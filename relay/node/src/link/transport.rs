//! QUIC's own settings: windows, streams, timers, resets.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use liaison_protocol::frame::LANES;
use liaison_protocol::mutant::{Mutant, planted};
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use sha2::Sha256;

use super::answers::CountingFactory;
use super::config::LinkTiming;
use super::identity::LinkIdentity;

/// Streams on which a peer sends: control, its lanes, and its acknowledgements of our lanes.
const STREAMS: u32 = 1 + 2 * LANES as u32;
/// Bytes that a relay may have under way on one stream of a link that we dialed: 32 Mbit/s over 250 ms.
const DIALED_STREAM_WINDOW: u32 = 1024 * 1024;
/// The same for whoever dials us. Every agency does, so that it is less: [`STREAMS`] times this is what one can make us hold.
const ACCEPTED_STREAM_WINDOW: u32 = 512 * 1024;
/// Bytes that we keep for sending again. No less than all streams' windows, so that bulk never keeps flash from being
/// handed to QUIC, where priorities rule.
const SEND_WINDOW: u64 = (STREAMS * DIALED_STREAM_WINDOW) as u64;

const _: () = assert!(ACCEPTED_STREAM_WINDOW <= DIALED_STREAM_WINDOW);

/// Bytes that a peer may have under way on a whole link: so many that it is always a stream's own window that is used up
/// first. A sender counts against it what it handed to QUIC, sent or not; were it less, bulk that waits for a slow wire,
/// or for us to read it, would keep flash and the control stream waiting ([LANE-4]).
///
/// Two more than there are streams: quinn says that there is room again when an eighth of all is free.
const fn link_window(stream_window: u32) -> u32 {
    let window = (STREAMS + 2) * stream_window;
    assert!(window - window / 8 >= STREAMS * stream_window, "the last eighth is not told");
    window
}

/// Assumed until measured: a handshake packet that is lost goes out again after three times this.
const INITIAL_RTT: Duration = Duration::from_millis(200);
/// Packets kept for a handshake that nobody has looked at yet, each and in all.
const INCOMING_BYTES: u64 = 16 * 1024;
const INCOMING_BYTES_ALL: u64 = 4 * 1024 * 1024;
const INCOMING_MAX: usize = 1024;
/// Bytes in a connection id.
const CONNECTION_ID_BYTES: usize = 8;

/// Control above all, then what releases the peer's custody, then lanes from flash to bulk.
pub(super) const CONTROL_PRIORITY: i32 = 100;

/// Acknowledgements go before envelopes: they are small, and a peer's store waits for them ([LANE-3]).
pub(super) fn acks_priority(rank: u8) -> i32 {
    50 - i32::from(rank)
}

/// Flash first, bulk last.
pub(super) fn lane_priority(rank: u8) -> i32 {
    20 - i32::from(rank)
}

/// `streams` is how many the peer may open: its lanes, and the control stream if it dialed.
fn transport(timing: &LinkTiming, streams: u8, stream_window: u32) -> TransportConfig {
    let link_window = if planted(Mutant::LanesShareOneWindow) { 4 * stream_window } else { link_window(stream_window) };
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(timing.keep_alive))
        .max_idle_timeout(timing.idle.try_into().ok())
        .initial_rtt(INITIAL_RTT)
        .congestion_controller_factory(CountingFactory::new())
        .max_concurrent_bidi_streams(VarInt::from(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(stream_window))
        .receive_window(VarInt::from_u32(link_window))
        .send_window(SEND_WINDOW);
    transport
}

/// For links that we dial. Whoever dials probes: a peer that has restarted answers the next packet with a reset, and
/// mail that waits there for us moves within that time, not within the keep-alive's.
pub(super) fn dialing(timing: &LinkTiming) -> Arc<TransportConfig> {
    let mut transport = transport(timing, LANES, DIALED_STREAM_WINDOW);
    transport.keep_alive_interval(Some(timing.keep_alive.min(timing.probe)));
    Arc::new(transport)
}

/// For links that peers dial. They probe, so that we need not, until two of their probes have not come: then we ask. It
/// may be that we are no longer where they look for us, and that only we can dial.
pub(super) fn listening(tls: quinn::crypto::rustls::QuicServerConfig, timing: &LinkTiming) -> ServerConfig {
    let mut transport = transport(timing, LANES + 1, ACCEPTED_STREAM_WINDOW);
    transport.keep_alive_interval(Some(timing.keep_alive.min(timing.probe * 2)));
    let mut server = ServerConfig::with_crypto(Arc::new(tls));
    server
        .transport_config(Arc::new(transport))
        .max_incoming(INCOMING_MAX)
        .incoming_buffer_size(INCOMING_BYTES)
        .incoming_buffer_size_total(INCOMING_BYTES_ALL)
        // Agencies move between networks; between relays a move closes the link (see `task`).
        .migration(true);
    server
}

/// What dialing and listening share.
pub(super) fn endpoint(identity: &LinkIdentity) -> EndpointConfig {
    let mut config = EndpointConfig::new(Arc::new(ResetKey(*identity.restart_secret())));
    config.cid_generator(|| Box::new(RandomConnectionIds));
    config
}

/// Signs stateless resets (RFC 9000 section 10.3) with a key that survives a restart: the peer of a link that we no
/// longer know learns so from its next packet, not from 15 s of silence.
struct ResetKey([u8; 32]);

impl ResetKey {
    fn mac(&self) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        Hmac::new_from_slice(&self.0).expect("any length")
    }
}

impl HmacKey for ResetKey {
    fn sign(&self, data: &[u8], signature_out: &mut [u8]) {
        let tag = self.mac().chain_update(data).finalize().into_bytes();
        for (out, byte) in signature_out.iter_mut().zip(tag) {
            *out = byte;
        }
    }

    fn signature_len(&self) -> usize {
        32
    }

    fn verify(&self, data: &[u8], signature: &[u8]) -> Result<(), CryptoError> {
        self.mac().chain_update(data).verify_slice(signature).map_err(|_| CryptoError)
    }
}

/// quinn's own generator marks its ids with a key of the process and drops all others; ids of the process before a
/// restart must be answered with a reset.
struct RandomConnectionIds;

impl ConnectionIdGenerator for RandomConnectionIds {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut bytes = [0; CONNECTION_ID_BYTES];
        #[expect(clippy::expect_used, reason = "a system without a random source can do no cryptography at all")]
        getrandom::fill(&mut bytes).expect("the system's random source");
        ConnectionId::new(&bytes)
    }

    fn cid_len(&self) -> usize {
        CONNECTION_ID_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}
