//! Published test vectors, through the very functions that seal, open, sign and verify envelopes.
//!
//! The files and where they come from: `vectors/published/PROVENANCE.md`.

use std::convert::Infallible;

use hkdf::Hkdf;
use hpke::kem::{X25519HkdfSha256, XWing};
use hpke::{Deserializable, Kem, Serializable};
use rand_core::{TryCryptoRng, TryRng};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use sha2::Sha256;
use x25519_dalek::{PublicKey, StaticSecret};

use crate::envelope::{chacha_open, chacha_seal, expand, hpke_open, hpke_seal};
use crate::keyfile::{xchacha_open, xchacha_seal};
use crate::prekey::{PrekeySecret, is_contributory};
use crate::sign::{Signature, Signer as _, SigningKey, VerifyingKey};
use crate::testing::mail::{hex, hex_seed};

#[derive(Deserialize)]
struct File<T> {
    cases: Vec<T>,
}

fn cases<T: DeserializeOwned>(json: &str) -> Vec<T> {
    serde_json::from_str::<File<T>>(json).unwrap().cases
}

/// Hands out the randomness that a vector names.
struct Replay(Vec<u8>);

impl TryRng for Replay {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.try_fill_bytes(&mut bytes).map(|()| u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.try_fill_bytes(&mut bytes).map(|()| u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        out.copy_from_slice(&self.0.drain(..out.len()).collect::<Vec<_>>());
        Ok(())
    }
}

impl TryCryptoRng for Replay {}

#[derive(Deserialize)]
#[expect(non_snake_case, reason = "the names of RFC 9180")]
struct HpkeCase {
    info: String,
    #[serde(default)]
    ikmE: String,
    skRm: String,
    pkRm: String,
    enc: String,
    encryptions: Vec<Encryption>,
}

#[derive(Deserialize)]
struct Encryption {
    aad: String,
    ct: String,
    pt: String,
}

fn hpke_opens<K: Kem>(case: &HpkeCase) {
    let secret = K::PrivateKey::from_bytes(&hex(&case.skRm)).unwrap();
    assert_eq!(K::sk_to_pk(&secret).to_bytes().as_slice(), hex(&case.pkRm));
    let first = &case.encryptions[0];
    let (enc, info, aad) = (hex(&case.enc), hex(&case.info), hex(&first.aad));
    let opened = hpke_open::<K>(&secret, &enc, &info, &aad, &hex(&first.ct)).unwrap();
    assert_eq!(*opened, hex(&first.pt));
}

#[test]
fn hpke_with_x_wing_seals_and_opens_the_vector_of_our_suite() {
    for case in cases::<HpkeCase>(include_str!("../vectors/published/hpke-pq.json")) {
        hpke_opens::<XWing>(&case);
        let public = <XWing as Kem>::PublicKey::from_bytes(&hex(&case.pkRm)).unwrap();
        let first = &case.encryptions[0];
        let mut randomness = Replay(hex(&case.ikmE));
        let (info, aad, plain) = (hex(&case.info), hex(&first.aad), hex(&first.pt));
        let sealed = hpke_seal::<XWing>(&public, &info, &aad, &plain, &mut randomness).unwrap();
        assert_eq!(sealed, [hex(&case.enc), hex(&first.ct)].concat());
    }
}

#[test]
fn hpke_opens_the_vector_of_rfc_9180_with_our_kdf_and_aead() {
    for case in cases::<HpkeCase>(include_str!("../vectors/published/rfc9180.json")) {
        hpke_opens::<X25519HkdfSha256>(&case);
    }
}

#[derive(Deserialize)]
struct XWingCase {
    seed: String,
    eseed: String,
    ss: String,
    pk: String,
    ct: String,
}

#[test]
fn prekeys_are_x_wing_keys() {
    for case in cases::<XWingCase>(include_str!("../vectors/published/x-wing.json")) {
        let secret = PrekeySecret::from_seed(&hex_seed(&case.seed));
        assert_eq!(secret.public().as_bytes().as_slice(), hex(&case.pk));
        let (shared, enc) = XWing::encap_with_rng(secret.public().hpke(), None, &mut Replay(hex(&case.eseed))).unwrap();
        assert_eq!(enc.to_bytes().as_slice(), hex(&case.ct));
        assert_eq!(shared.0.as_slice(), hex(&case.ss));
        let shared = XWing::decap(secret.hpke(), None, &enc).ok().unwrap();
        assert_eq!(shared.0.as_slice(), hex(&case.ss));
    }
}

#[derive(Deserialize)]
struct Rfc8032Case {
    name: String,
    seed: String,
    public: String,
    message: String,
    signature: String,
}

#[test]
fn signatures_are_those_of_rfc_8032() {
    for case in cases::<Rfc8032Case>(include_str!("../vectors/published/rfc8032.json")) {
        let key = SigningKey::from_seed(&hex_seed(&case.seed));
        assert_eq!(key.verifying_key().as_bytes().as_slice(), hex(&case.public), "{}", case.name);
        let signature = key.sign(&hex(&case.message)).unwrap();
        assert_eq!(signature.as_bytes().as_ref(), hex(&case.signature), "{}", case.name);
        key.verifying_key().verify(&hex(&case.message), &signature).unwrap();
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ed25519Case {
    tc_id: u32,
    pk: String,
    msg: String,
    sig: String,
    result: String,
}

#[test]
fn wycheproof_ed25519() {
    for case in cases::<Ed25519Case>(include_str!("../vectors/published/wycheproof-ed25519.json")) {
        let key = VerifyingKey::from_bytes(&hex(&case.pk).try_into().unwrap()).unwrap();
        let verified = Signature::new(1, hex(&case.sig).into())
            .is_ok_and(|signature| key.verify(&hex(&case.msg), &signature).is_ok());
        assert_eq!(verified, case.result == "valid", "case {}", case.tc_id);
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct X25519Case {
    tc_id: u32,
    public: String,
    private: String,
    shared: String,
}

#[test]
fn wycheproof_x25519_and_the_shares_that_contribute_nothing() {
    let mut refused = 0;
    for case in cases::<X25519Case>(include_str!("../vectors/published/wycheproof-x25519.json")) {
        let public: [u8; 32] = hex(&case.public).try_into().unwrap();
        let shared = StaticSecret::from(*hex_seed(&case.private)).diffie_hellman(&PublicKey::from(public));
        assert_eq!(shared.as_bytes().as_slice(), hex(&case.shared), "case {}", case.tc_id);
        assert_eq!(is_contributory(&public), shared.as_bytes() != &[0; 32], "case {}", case.tc_id);
        refused += usize::from(!is_contributory(&public));
    }
    assert_eq!(refused, 31);
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AeadCase {
    tc_id: u32,
    key: String,
    iv: String,
    aad: String,
    msg: String,
    ct: String,
    tag: String,
    result: String,
}

/// Nonces of another length cannot be expressed.
fn aead_cases<const N: usize>(json: &str, run: impl Fn(&AeadCase, [u8; 32], [u8; N])) {
    for case in cases::<AeadCase>(json) {
        match hex(&case.iv).try_into() {
            Ok(nonce) => run(&case, hex(&case.key).try_into().unwrap(), nonce),
            Err(_) => assert_eq!(case.result, "invalid", "case {}", case.tc_id),
        }
    }
}

#[test]
fn wycheproof_chacha20_poly1305() {
    let json = include_str!("../vectors/published/wycheproof-chacha20-poly1305.json");
    aead_cases(json, |case, key, nonce| {
        let sealed = [hex(&case.ct), hex(&case.tag)].concat();
        let opened = chacha_open(&key, nonce, &hex(&case.aad), &sealed);
        assert_eq!(opened.is_ok(), case.result == "valid", "case {}", case.tc_id);
        let mut plain = hex(&case.msg);
        chacha_seal(&key, nonce, &hex(&case.aad), &mut plain).unwrap();
        assert_eq!(plain == sealed, case.result == "valid", "case {}", case.tc_id);
    });
}

#[test]
fn wycheproof_xchacha20_poly1305() {
    let json = include_str!("../vectors/published/wycheproof-xchacha20-poly1305.json");
    aead_cases(json, |case, key, nonce| {
        let sealed = [hex(&case.ct), hex(&case.tag)].concat();
        let opened = xchacha_open(&key, nonce, &hex(&case.aad), &sealed);
        assert_eq!(opened.is_ok(), case.result == "valid", "case {}", case.tc_id);
        let mut plain = hex(&case.msg);
        xchacha_seal(&key, nonce, &hex(&case.aad), &mut plain).unwrap();
        assert_eq!(plain == sealed, case.result == "valid", "case {}", case.tc_id);
    });
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HkdfCase {
    tc_id: u32,
    ikm: String,
    salt: String,
    info: String,
    size: usize,
    okm: String,
    result: String,
}

#[test]
fn wycheproof_hkdf_sha256() {
    for case in cases::<HkdfCase>(include_str!("../vectors/published/wycheproof-hkdf-sha256.json")) {
        if case.size > 255 * 32 {
            assert_eq!(case.result, "invalid");
            continue;
        }
        let mut okm = vec![0; case.size];
        let info = hex(&case.info);
        // In two parts, as labels and context come.
        let (label, context) = info.split_at(info.len() / 2);
        expand(&Hkdf::<Sha256>::new(Some(&hex(&case.salt)), &hex(&case.ikm)), &[label, context], &mut okm);
        assert_eq!(okm, hex(&case.okm), "case {}", case.tc_id);
    }
}
