//! Fixtures of unit tests: a repeatable random generator (SHA-256 over a seed and a counter), a federation, and its mail.

pub(crate) mod federation;
pub(crate) mod mail;

use std::convert::Infallible;

use rand_core::{TryCryptoRng, TryRng};

use crate::hash::Hash;

/// See [`rng`].
pub(crate) struct TestRng {
    seed: u64,
    counter: u64,
}

/// The same bytes for the same `seed`, on every run.
pub(crate) fn rng(seed: u64) -> TestRng {
    TestRng { seed, counter: 0 }
}

impl TryRng for TestRng {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes)?;
        Ok(u64::from_be_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        for chunk in out.chunks_mut(32) {
            let Hash(block) = Hash::of(&[&self.seed.to_be_bytes(), &self.counter.to_be_bytes()]);
            self.counter += 1;
            chunk.copy_from_slice(&block[..chunk.len()]);
        }
        Ok(())
    }
}

impl TryCryptoRng for TestRng {}
