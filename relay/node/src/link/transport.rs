//! QUIC's own settings: windows, streams, timers, resets.

use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use liaison_protocol::frame::LANES;
use quinn::crypto::{CryptoError, HmacKey};
use quinn::{ConnectionId, ConnectionIdGenerator, EndpointConfig, ServerConfig, TransportConfig, VarInt};
use sha2::Sha256;

use super::config::LinkTiming;
use super::identity::LinkIdentity;

/// Bytes that a peer may have under way on one stream: 32 Mbit/s over 250 ms.
const STREAM_WINDOW: u32 = 1024 * 1024;
/// Bytes that a peer may have under way on a link: what an agency can make us hold.
const LINK_WINDOW: u32 = 2 * 1024 * 1024;
/// The same, once the peer proved to be a relay: every stream can use its window to the full.
pub(super) const RELAY_LINK_WINDOW: u32 = 12 * STREAM_WINDOW;
/// Bytes that we keep for sending again. More than all streams' windows, so that bulk never keeps flash from being
/// handed to QUIC, where priorities rule.
const SEND_WINDOW: u64 = 12 * STREAM_WINDOW as u64;
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
fn transport(timing: &LinkTiming, streams: u8) -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport
        .keep_alive_interval(Some(timing.keep_alive))
        .max_idle_timeout(timing.idle.try_into().ok())
        .initial_rtt(INITIAL_RTT)
        .max_concurrent_bidi_streams(VarInt::from(streams))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW))
        .receive_window(VarInt::from_u32(LINK_WINDOW))
        .send_window(SEND_WINDOW);
    transport
}

/// For links that we dial. Whoever dials probes: a peer that has restarted answers the next packet with a reset, and
/// mail that waits there for us moves within that time, not within the keep-alive's.
pub(super) fn dialing(timing: &LinkTiming) -> Arc<TransportConfig> {
    let mut transport = transport(timing, LANES);
    transport.keep_alive_interval(Some(timing.keep_alive.min(timing.probe)));
    Arc::new(transport)
}

/// For links that peers dial.
pub(super) fn listening(tls: quinn::crypto::rustls::QuicServerConfig, timing: &LinkTiming) -> ServerConfig {
    let mut server = ServerConfig::with_crypto(Arc::new(tls));
    server
        .transport_config(Arc::new(transport(timing, LANES + 1)))
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
