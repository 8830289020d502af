use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::testing::rng;

struct Vector(serde_json::Value);

impl Vector {
    fn published() -> Self {
        let json = include_str!("../../../vectors/published/composite-mldsa65-ed25519.json");
        Self(serde_json::from_str(json).unwrap())
    }

    fn field(&self, name: &str) -> Vec<u8> {
        STANDARD.decode(self.0[name].as_str().unwrap()).unwrap()
    }
}

#[test]
fn the_drafts_own_vector_verifies_with_and_without_context() {
    let vector = Vector::published();
    let key = RootPublic::from_bytes(&vector.field("pk")).unwrap();
    let (message, context) = (vector.field("m"), vector.field("ctx"));
    let (plain, with_context) = (vector.field("s"), vector.field("sWithContext"));
    assert_eq!(key.verify(b"", &message, &plain), Ok(()));
    assert_eq!(key.verify(&context, &message, &with_context), Ok(()));
    assert_eq!(key.verify(&context, &message, &plain), Err(BadRootSignature));
    assert_eq!(key.verify(b"", &message, &with_context), Err(BadRootSignature));
    assert_eq!(key.verify(b"", b"another message", &plain), Err(BadRootSignature));
}

#[test]
fn the_drafts_secret_key_gives_its_public_key() {
    let vector = Vector::published();
    let key = RootKey::from_secret(&vector.field("sk")).unwrap();
    assert_eq!(key.public().as_bytes().as_slice(), vector.field("pk"));
}

// [SIG-5]
#[test]
fn what_a_root_signs_verifies_and_either_half_alone_does_not() {
    let rng = &mut rng(1);
    let (key, other) = (RootKey::generate(rng), RootKey::generate(rng));
    let signature = key.sign(b"liaison/1 roster", b"text", rng).unwrap();
    assert_eq!(signature.len(), ROOT_SIGNATURE_BYTES);
    assert_eq!(key.public().verify(b"liaison/1 roster", b"text", &signature), Ok(()));
    let foreign = other.sign(b"liaison/1 roster", b"text", rng).unwrap();
    let (lattice, curve) = (ML_DSA_SIGNATURE_BYTES, ROOT_SIGNATURE_BYTES);
    let lattice_of_other = [&foreign[..lattice], &signature[lattice..curve]].concat();
    let curve_of_other = [&signature[..lattice], &foreign[lattice..curve]].concat();
    for mixed in [lattice_of_other, curve_of_other] {
        assert_eq!(key.public().verify(b"liaison/1 roster", b"text", &mixed), Err(BadRootSignature));
    }
}

#[test]
fn a_flipped_bit_anywhere_in_a_signature_is_refused() {
    let rng = &mut rng(2);
    let key = RootKey::generate(rng);
    let signature = key.sign(b"", b"text", rng).unwrap();
    for position in (0..signature.len()).step_by(97).chain([ROOT_SIGNATURE_BYTES - 1]) {
        let mut bad = signature.clone();
        bad[position] ^= 1;
        assert_eq!(key.public().verify(b"", b"text", &bad), Err(BadRootSignature), "byte {position}");
    }
    for bad in [&signature[..ROOT_SIGNATURE_BYTES - 1], &[signature.as_slice(), &[0]].concat(), &[]] {
        assert_eq!(key.public().verify(b"", b"text", bad), Err(BadRootSignature));
    }
}

#[test]
fn weak_and_non_canonical_ed25519_halves_are_refused() {
    let key = RootKey::generate(&mut rng(3));
    // The identity; a point of order 2; the identity again with y + p, which is not canonical (RFC 8032, 5.1.3).
    let identity = {
        let mut y = [0; 32];
        y[0] = 1;
        y
    };
    let order_two = {
        let mut y = [0xff; 32];
        y[0] = 0xec;
        y[31] = 0x7f;
        y
    };
    let non_canonical = {
        let mut y = [0xff; 32];
        y[0] = 0xee;
        y[31] = 0x7f;
        y
    };
    for point in [identity, order_two, non_canonical] {
        let mut bytes = *key.public().as_bytes();
        bytes[ML_DSA_PUBLIC_BYTES..].copy_from_slice(&point);
        assert_eq!(RootPublic::from_bytes(&bytes).unwrap_err(), RootKeyError::BadPoint);
    }
}
