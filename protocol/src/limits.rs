//! Every bound of the protocol, in one place (SPEC.md, "Limits").

use std::time::Duration;

/// A header, encoded.
pub const HEADER_BYTES_MAX: usize = 256 * 1024;
/// A sealed body before its tag: padded plaintext.
pub const BODY_PLAIN_BYTES_MAX: usize = 1024 * 1024;
/// A sealed body with its tag.
pub const BODY_BYTES_MAX: usize = BODY_PLAIN_BYTES_MAX + AEAD_TAG_BYTES;
/// Smallest padded plaintext.
pub const BODY_PLAIN_BYTES_MIN: usize = 512;
/// ChaCha20-Poly1305's tag.
pub const AEAD_TAG_BYTES: usize = 16;
/// Recipients of one envelope.
pub const RECIPIENTS_MAX: usize = 1024;
/// HPKE `enc` with X-Wing: 1,088 of ML-KEM-768 and 32 of X25519.
pub const ENC_BYTES: usize = 1120;
/// One wrap: `enc`, then the sealed content key and its tag.
pub const WRAP_BYTES: usize = ENC_BYTES + 32 + AEAD_TAG_BYTES;
/// Extensions of a header, and the bytes of one.
pub const EXTENSIONS_MAX: usize = 16;
/// Bytes of one extension.
pub const EXTENSION_BYTES_MAX: usize = 4096;
/// A signature, of either algorithm: composite is 3,309 + 64.
pub const SIGNATURE_BYTES_MAX: usize = 3373;
/// An envelope with all its wraps: header, signature, wraps with their indices, body, and the lengths of all these.
pub const ENVELOPE_BYTES_MAX: usize =
    HEADER_BYTES_MAX + SIGNATURE_BYTES_MAX + RECIPIENTS_MAX * (WRAP_BYTES + 2) + BODY_BYTES_MAX + 16;
/// A frame on a lane: the header, all wraps, a body, and room for the rest.
pub const LANE_FRAME_BYTES_MAX: usize = 2_621_440;
/// A frame on the control stream, but for a roster.
pub const CONTROL_FRAME_BYTES_MAX: usize = 1024 * 1024;
/// A roster's payload.
pub const ROSTER_BYTES_MAX: usize = 16 * 1024 * 1024;
/// An expired roster still carries custody for this long, with alarms.
pub const ROSTER_GRACE: Duration = Duration::from_secs(14 * 86_400);
/// Relays that one envelope may pass.
pub const HOPS_MAX: usize = 4;
/// Times that a custody inquiry may be passed on: by the relays that an envelope may pass, and by a home relay of the
/// recipient.
pub const INQUIRY_HOPS_MAX: u8 = 5;
/// Submissions of one envelope, the first among them.
pub const ATTEMPTS_MAX: u8 = 16;
/// Plaintext of one chunk of an attachment.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// Chunks of one message, over all its attachments: their hashes must fit its body.
pub const CHUNKS_MAX: usize = 24_576;
/// A subject.
pub const SUBJECT_BYTES_MAX: usize = 1024;
/// Handling codes of one message, beside its TLP.
pub const HANDLING_MAX: usize = 32;
/// One handling code.
pub const HANDLING_BYTES_MAX: usize = 64;
/// Attachments of one message.
pub const ATTACHMENTS_MAX: usize = 256;
/// An attachment's name.
pub const ATTACHMENT_NAME_BYTES_MAX: usize = 255;
/// Signed statements in one envelope, and proofs under one of them.
pub const STATEMENTS_MAX: usize = 1024;
/// Longest lifetime of an envelope.
pub const LIFETIME_MAX: Duration = Duration::from_secs(30 * 86_400);
/// Lifetime where the sender names none.
pub const LIFETIME_DEFAULT: Duration = Duration::from_secs(7 * 86_400);
/// How far ahead of us a sender's clock may be.
pub const CLOCK_AHEAD_MAX: Duration = Duration::from_secs(5 * 60);
/// Ids are remembered this long past their message's expiry.
pub const DEDUPE_MARGIN: Duration = Duration::from_secs(86_400);
/// Keys in a prekey bundle.
pub const PREKEYS_MAX: usize = 64;
/// A calendar key's window.
pub const PREKEY_WINDOW_MAX: Duration = Duration::from_secs(86_400);
/// How far outside a key's window a sender whose clock differs may still choose it.
pub const PREKEY_TOLERANCE: Duration = Duration::from_secs(3_600);
/// A prekey bundle, encoded: 64 keys of 32 + 2 × 10 + 1 bytes, and what precedes them.
pub const BUNDLE_BYTES_MAX: usize = 4096;
/// Calendar keys that a daemon publishes ahead.
pub const PREKEY_DAYS_AHEAD: u32 = 35;
/// A public X-Wing key.
pub const PREKEY_BYTES: usize = 1216;
/// Leaves of one receipt's tree.
pub const RECEIPT_BATCH_MAX: usize = 1 << 20;
/// Free text of a refusal.
pub const DETAIL_BYTES_MAX: usize = 256;
/// Agencies in a roster.
pub const AGENCIES_MAX: usize = 10_000;
/// Relays in a roster.
pub const RELAYS_MAX: usize = 1_000;

const _: () = assert!(ENVELOPE_BYTES_MAX + 16_384 <= LANE_FRAME_BYTES_MAX);
const _: () = assert!(CHUNKS_MAX * 32 < BODY_PLAIN_BYTES_MAX - 128 * 1024);
