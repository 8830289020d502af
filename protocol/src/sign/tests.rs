//! Keys and signatures that other verifiers accept, and this one must not.

use super::*;
use crate::testing::mail::hex;
use crate::testing::rng;

fn key() -> SigningKey {
    SigningKey::generate(&mut rng(1))
}

fn array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().unwrap()
}

/// The eight points of small order, and the encodings of them that are not canonical.
fn weak_keys() -> Vec<[u8; 32]> {
    let canonical = [
        "0100000000000000000000000000000000000000000000000000000000000000",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0000000000000000000000000000000000000000000000000000000000000080",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ];
    let others = [
        "0100000000000000000000000000000000000000000000000000000000000080",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ];
    canonical.into_iter().chain(others).map(array).collect()
}

// Attack 8, [SIG-1].
#[test]
fn weak_keys_are_refused_and_even_so_their_universal_signature_does_not_verify() {
    // R is the identity, s is zero: plain `verify` accepts it for every message.
    let mut bytes = [0; 64];
    bytes[0] = 1;
    let universal = Signature::ed25519(bytes);
    let mut accepted_by_the_plain_rule = 0;
    for weak in weak_keys() {
        assert!(VerifyingKey::from_bytes(&weak).is_err(), "{weak:02x?}");
        let Ok(imported) = ed25519_dalek::VerifyingKey::from_bytes(&weak) else { continue };
        for message in [b"pay".as_slice(), b"do not pay"] {
            assert_eq!(VerifyingKey(imported).verify(message, &universal), Err(BadSignature));
            let plain = ed25519_dalek::Signature::from_bytes(&bytes);
            let accepted = ed25519_dalek::Verifier::verify(&imported, message, &plain).is_ok();
            accepted_by_the_plain_rule += usize::from(accepted);
        }
    }
    assert!(accepted_by_the_plain_rule > 0, "the attack is real");
}

// Attack 9, [SIG-2].
#[test]
fn a_signature_with_the_order_added_to_s_is_refused() {
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let key = key();
    let good = key.sign(b"message").unwrap();
    key.verifying_key().verify(b"message", &good).unwrap();
    let mut bytes: [u8; 64] = good.as_bytes().as_ref().try_into().unwrap();
    let mut carry = 0u16;
    for (byte, add) in bytes[32..].iter_mut().zip(order) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum as u8;
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    assert_eq!(key.verifying_key().verify(b"message", &Signature::ed25519(bytes)), Err(BadSignature));
}

// Attack 9.
#[test]
fn encodings_of_points_that_are_not_canonical_are_refused_as_keys_and_as_r() {
    let key = key();
    let good = key.sign(b"message").unwrap();
    // y from p to 2^255 - 1, with either sign: the only encodings that are not reduced.
    for low in 0xed..=0xff {
        for high in [0x7f, 0xff] {
            let mut point = [0xff; 32];
            (point[0], point[31]) = (low, high);
            assert!(VerifyingKey::from_bytes(&point).is_err(), "{low:x} {high:x}");
            let mut bytes: [u8; 64] = good.as_bytes().as_ref().try_into().unwrap();
            bytes[..32].copy_from_slice(&point);
            assert_eq!(key.verifying_key().verify(b"message", &Signature::ed25519(bytes)), Err(BadSignature));
        }
    }
}

// Attack 10: the Ed25519 half of a composite signature signs other bytes, and cannot be passed off as algorithm 1.
#[test]
fn half_of_a_composite_signature_is_no_signature() {
    let key = key();
    let message = b"liaison/1 envelope-sig\0 and an id";
    let composite_message = [b"CompositeAlgorithmSignatures2025".as_slice(), message].concat();
    let half = key.sign(&composite_message).unwrap();
    assert_eq!(key.verifying_key().verify(message, &half), Err(BadSignature));
    let whole = [[0; 3309].as_slice(), half.as_bytes()].concat();
    let composite = Signature::new(ALG_COMPOSITE, whole.into()).unwrap();
    assert_eq!(key.verifying_key().verify(&composite_message, &composite), Err(BadSignature));
}

// [SIG-4]
#[test]
fn a_signature_has_the_length_of_its_algorithm() {
    for (alg, length) in [(0, 64), (1, 0), (1, 63), (1, 65), (1, 3373), (2, 64), (2, 3372), (3, 64), (255, 3373)] {
        assert!(Signature::new(alg, vec![0; length].into()).is_err(), "{alg} {length}");
    }
    let good = Signature::ed25519([7; 64]);
    let bytes = crate::codec::encode(&good);
    assert_eq!(bytes.len(), 66);
    assert_eq!(crate::codec::decode("signature", &bytes, 100), Ok(good));
    let bad = [[2, 64].as_slice(), &[7; 64]].concat();
    assert!(crate::codec::decode::<Signature>("signature", &bad, 100).is_err());
}

#[test]
fn a_seed_gives_the_same_key_again() {
    let key = key();
    let again = SigningKey::from_seed(&key.seed());
    assert_eq!(again.verifying_key(), key.verifying_key());
    assert_eq!(again.key_id(), key.verifying_key().key_id());
    let public = *key.verifying_key().as_bytes();
    assert_eq!(VerifyingKey::from_bytes(&public), Ok(key.verifying_key()));
}
