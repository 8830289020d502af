//! Links: QUIC connections between nodes of one roster (SPEC.md, "Links"; docs/security.md, "Links").
//!
//! ```text
//!  run loop ◄── events ── Endpoint ── door ─► TLS, pinned keys ─► hello ─► registry ─► link task
//!     │                      │                                                          │ control
//!     │                      └─ dialer: one for each peer that we keep linked           │ lanes 0..=4
//!     └── LinkHandle: control, transfer, acks, close ───────────────────────────────────┘
//! ```
//!
//! Invariants:
//! - a link is up only after TLS proved the peer's key, the roster named it, and its hello was good;
//! - a peer has at most one link: its `Down` comes before the `Up` of the next;
//! - events of one lane come in the order in which they were sent;
//! - memory is bounded whatever peers do: frames by type, control frames by each peer's budgets, queues by bytes,
//!   received envelopes by [`Room`]; when the run loop is slow, streams are not read;
//! - every wait for a peer ends.
//!
//! quinn's types do not leave this module.

mod answers;
mod budget;
mod config;
mod dial;
mod door;
mod end;
mod endpoint;
mod handle;
mod identity;
mod lane;
mod liveness;
mod meter;
mod peers;
mod progress;
mod registry;
mod resolve;
mod rivals;
mod room;
mod schedule;
mod shake;
mod stream;
mod task;
mod tls;
mod transport;

use liaison_protocol::frame::{Acks, Agreed, ControlFrame, Hello, Transfer};
use liaison_protocol::{NodeId, Role};

pub use config::{EndpointConfig, Jitter, LinkLimits, LinkTiming, system_jitter};
pub use endpoint::{BindError, Endpoint};
pub use handle::{LinkHandle, LinkId, SendError};
pub use identity::{IdentityError, LinkIdentity};
pub use peers::Peers;
pub use rivals::Rivals;
pub use room::Room;
pub use tls::{CERTIFICATE_BYTES_MAX, CertificateRefusal, TlsSetupError};

/// What happens on links, for the run loop.
#[derive(Debug)]
pub enum LinkEvent {
    /// Acknowledgements of our transfers.
    Acks {
        /// Which link.
        link: LinkId,
        /// The lane's rank.
        rank: u8,
        /// The frame.
        acks: Acks,
    },
    /// A frame of the control stream.
    Control {
        /// Which link.
        link: LinkId,
        /// The frame.
        frame: ControlFrame,
    },
    /// Dialing failed. A refusal is told each time, silence once.
    DialFailed {
        /// Who was dialed.
        peer: NodeId,
        /// At which address, and why: a close code's or refusal's name, then words.
        reason: String,
    },
    /// The link is gone: its last event.
    Down {
        /// Which link.
        link: LinkId,
        /// Who was at the other end.
        peer: NodeId,
        /// Begins with the close code's name, or with `timeout` or `reset`.
        reason: String,
    },
    /// Two programs use the link key of this peer: their links have thrown each other out again and again.
    Rivals {
        /// Whose key.
        peer: NodeId,
        /// Where they are.
        rivals: Rivals,
    },
    /// An envelope. Nothing in it is verified.
    Transfer {
        /// Which link.
        link: LinkId,
        /// The lane's rank.
        rank: u8,
        /// The frame.
        transfer: Transfer,
        /// Drop it once the envelope is durable or refused.
        room: Room,
    },
    /// A link is up: its first event.
    Up {
        /// Which link.
        link: LinkId,
        /// Who is at the other end, proven.
        peer: NodeId,
        /// What the roster says it is.
        role: Role,
        /// What it said of itself; its roster may differ from ours.
        hello: Hello,
        /// The version and features of this link.
        agreed: Agreed,
        /// Whether we dialed.
        dialed: bool,
        /// To send with.
        handle: LinkHandle,
    },
}

#[cfg(test)]
mod tests;
