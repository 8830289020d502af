//! Padmé: hides a length at a cost of at most 12 % (Nikitin et al., PETS 2019; SPEC.md, "Padding").

use zeroize::Zeroizing;

use crate::limits::{BODY_PLAIN_BYTES_MAX, BODY_PLAIN_BYTES_MIN};
use crate::mutant::{Mutant, planted};

/// The marker between a message and its zeros.
const MARK: u8 = 0x80;

/// Padmé's length for `length`: at least as large, with only its leading bits set.
#[must_use]
pub const fn padme(length: usize) -> usize {
    if length < 2 {
        return length;
    }
    let exponent = length.ilog2();
    let mantissa_bits = exponent.ilog2() + 1;
    let mask = (1usize << (exponent - mantissa_bits)) - 1;
    (length + mask) & !mask
}

/// Length of a message of `length` bytes once padded.
#[must_use]
pub const fn padded_len(length: usize) -> usize {
    let padded = padme(length + 1);
    if padded < BODY_PLAIN_BYTES_MIN { BODY_PLAIN_BYTES_MIN } else { padded }
}

/// Whether a padded message can have this length.
#[must_use]
pub const fn is_padded_len(length: usize) -> bool {
    length >= BODY_PLAIN_BYTES_MIN && length <= BODY_PLAIN_BYTES_MAX && padme(length) == length
}

/// `message || 0x80 || zeros`, or `None` if that is more than [`BODY_PLAIN_BYTES_MAX`].
#[must_use]
pub fn pad(message: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let length = padded_len(message.len());
    if length > BODY_PLAIN_BYTES_MAX {
        return None;
    }
    // Room for the tag, so that sealing in place does not move the plaintext and leave a copy behind.
    let mut padded = Zeroizing::new(Vec::with_capacity(length + crate::limits::AEAD_TAG_BYTES));
    padded.extend_from_slice(message);
    padded.push(MARK);
    padded.resize(length, 0);
    Some(padded)
}

/// [PAD-1] The message, or `None` unless the padding is exactly what [`pad`] makes.
#[must_use]
pub fn unpad(padded: &[u8]) -> Option<&[u8]> {
    let mark = padded.iter().rposition(|byte| *byte != 0)?;
    let message = padded.get(..mark)?;
    if planted(Mutant::PaddingUnchecked) {
        return Some(message);
    }
    (padded.get(mark) == Some(&MARK) && padded_len(message.len()) == padded.len()).then_some(message)
}
