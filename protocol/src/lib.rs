//! What two independent implementations of Liaison must agree on.
//!
//! Identifiers, the roster, envelopes, sealing, prekeys, receipts, evidence and wire frames: bytes in, checked
//! values out, and back. Nothing here does I/O, reads a clock or draws randomness of its own: time and random
//! generators are arguments. `SPEC.md` beside this crate is the normative text; section names are quoted at the code
//! that keeps them.
//!
//! ```text
//!  bytes from a peer ─► codec ─► Envelope ─► verify (roster) ─► VerifiedEnvelope ─► open (prekey) ─► Inner
//!  Inner ─► seal (prekeys) ─► sign ─► Envelope ─► codec ─► bytes
//! ```
//!
//! Invariants: ids, hashes and signatures cover the bytes as received ([ENC-4]); a decoder refuses whatever it would not have
//! encoded itself; every length is bounded in [`limits`] before anything is allocated.

pub mod attachment_key;
pub mod bounded;
pub mod chunk;
pub mod codec;
pub mod envelope;
pub mod evidence;
pub mod frame;
pub mod hash;
pub mod ids;
pub mod inner;
pub mod keyfile;
pub mod label;
pub mod limits;
#[doc(hidden)]
pub mod mutant;
pub mod open;
pub mod precedence;
pub mod prekey;
#[cfg(test)]
mod published;
pub mod receipt;
pub mod refusal;
pub mod role;
pub mod roster;
pub mod seal;
pub mod sign;
#[cfg(test)]
mod testing;
pub mod time;

pub use codec::Malformed;
pub use envelope::{Envelope, EnvelopeError, Header, VerifiedEnvelope};
pub use hash::Hash;
pub use ids::{AgencyId, FederationId, KeyId, MessageId, NodeId, PrekeyId, Region};
pub use precedence::Precedence;
pub use refusal::RefusalReason;
pub use role::Role;
pub use roster::{Roster, RosterVersion};
pub use sign::{Signature, Signer, SigningKey, VerifyingKey};
pub use time::{Hour, Timestamp};
