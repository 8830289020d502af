//! Randomness: the system's, or one that can be repeated where time can be, too.

use std::convert::Infallible;
use std::sync::Arc;

use getrandom::SysRng;
use rand_core::{Rng, TryCryptoRng, TryRng, UnwrapErr};

/// Where ids, nonces and keys come from. The outside world, so tests bring their own.
pub trait Entropy: Send + Sync + 'static {
    /// Fills all of it.
    fn fill(&self, octets: &mut [u8]);
}

/// The system's generator. It panics where the system has no randomness to give: nothing can be sealed then.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, octets: &mut [u8]) {
        UnwrapErr(SysRng).fill_bytes(octets);
    }
}

/// A generator over any [`Entropy`]. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Random(Arc<dyn Entropy>);

impl Random {
    pub(crate) const fn new(entropy: Arc<dyn Entropy>) -> Self {
        Self(entropy)
    }

    /// `N` random bytes.
    pub(crate) fn bytes<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.0.fill(&mut bytes);
        bytes
    }
}

impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(u32::from_le_bytes(self.bytes()))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(u64::from_le_bytes(self.bytes()))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for Random {}
