//! The system's random generator, and secrets drawn from it.

use getrandom::SysRng;
use rand_core::{CryptoRng, Rng, UnwrapErr};

/// The system's generator. It panics where the system has no randomness to give: nothing can be sealed then.
#[must_use]
pub(crate) fn system() -> impl CryptoRng {
    UnwrapErr(SysRng)
}

/// `N` random bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    UnwrapErr(SysRng).fill_bytes(&mut bytes);
    bytes
}
