//! Names, keys and randomness of the vectors.

use std::convert::Infallible;
use std::time::Duration;

use liaison_protocol::envelope::SenderKeys;
use liaison_protocol::prekey::PrekeySecret;
use liaison_protocol::{AgencyId, FederationId, Hash, KeyId, NodeId, Signer as _, SigningKey, Timestamp, VerifyingKey};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroizing;

pub(super) const FEDERATION: FederationId = FederationId(*b"federation-of-ve");
/// 2026-11-24T12:00:00Z.
pub(super) const CREATED: Timestamp = Timestamp::from_millis(1_795_521_600_000);

pub(super) fn expires() -> Timestamp {
    CREATED.after(Duration::from_secs(7 * 86_400))
}

pub(super) fn hex(bytes: impl AsRef<[u8]>) -> String {
    bytes.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

pub(super) fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

pub(super) fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

/// SHA-256 of what the seed is for and whose it is.
pub(super) fn seed(purpose: &str, name: &str) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(Hash::of(&[b"vector seed: ", purpose.as_bytes(), b" of ", name.as_bytes()]).0)
}

pub(super) fn signing_key(name: &str) -> SigningKey {
    SigningKey::from_seed(&seed("signing key", name))
}

pub(super) fn prekey(name: &str) -> PrekeySecret {
    PrekeySecret::from_seed(&seed("prekey", name))
}

/// Every node signs with [`signing_key`]; `ncb.xx` is in no roster.
pub(super) struct Keys;

impl SenderKeys for Keys {
    fn verifying_key(&self, sender: &NodeId, key: KeyId, _at: Timestamp) -> Option<VerifyingKey> {
        let known = signing_key(sender.as_str()).verifying_key();
        (known.key_id() == key && sender.as_str() != "ncb.xx").then_some(known)
    }
}

pub(super) fn key_id(name: &str) -> KeyId {
    signing_key(name).key_id()
}

/// Repeatable bytes, SHA-256(u64be(seed) || u64be(counter)) for each 32 of them, which remembers what was drawn.
pub(super) struct Draws {
    seed: u64,
    counter: u64,
    pub(super) log: Vec<Vec<u8>>,
}

impl Draws {
    pub(super) const fn new(seed: u64) -> Self {
        Self { seed, counter: 0, log: Vec::new() }
    }
}

impl TryRng for Draws {
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
        for part in out.chunks_mut(32) {
            let block = Hash::of(&[&self.seed.to_be_bytes(), &self.counter.to_be_bytes()]).0;
            part.copy_from_slice(&block[..part.len()]);
            self.counter += 1;
        }
        self.log.push(out.to_vec());
        Ok(())
    }
}

impl TryCryptoRng for Draws {}
