//! Prekeys and bundles, as they should be and as an attacker would like them.

use std::time::Duration;

use hkdf::Hkdf;
use proptest::prelude::*;
use sha2::Sha256;

use super::*;
use crate::codec;
use crate::envelope::{ContentKey, Wrap, chacha_seal, hpke_open};
use crate::ids::{FederationId, KeyId, NodeId};
use crate::refusal::RefusalReason;
use crate::sign::{Signature, Signer as _};
use crate::testing::mail::{CREATED, FEDERATION, Mail, agency};
use crate::testing::rng;
use crate::time::Timestamp;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3_600);
/// Midnight before `CREATED`.
const MIDNIGHT: Timestamp = Timestamp::from_millis(1_795_478_400_000);

fn entry(day: u32, id: u8) -> PrekeyEntry {
    let not_before = MIDNIGHT.after(DAY * day);
    PrekeyEntry { id: Hash([id; 32]), not_before, not_after: not_before.after(DAY), once: false }
}

fn bundle() -> PrekeyBundle {
    PrekeyBundle {
        version: PrekeyBundle::VERSION,
        federation: FEDERATION,
        agency: agency("ncb.ee"),
        epoch: 1,
        seq: 5,
        issued: CREATED,
        max_ttl_s: 7 * 86_400,
        keys: (0..35).map(|day| entry(day, day as u8)).collect(),
    }
}

/// Signed without a look at the rules.
fn signed(mail: &Mail, bundle: &PrekeyBundle) -> SignedBundle {
    let bytes = codec::encode(bundle);
    let message = [label::PREKEYS, &Hash::of(&[&bytes]).0].concat();
    let key = mail.key("ncb.ee");
    SignedBundle { bundle: bytes.into(), key: key.key_id(), signature: key.sign(&message).unwrap() }
}

fn refused(mail: &Mail, bend: impl FnOnce(&mut PrekeyBundle)) -> Result<(), RefusalReason> {
    let mut bundle = bundle();
    bend(&mut bundle);
    let signed = signed(mail, &bundle);
    verify_bundle(signed, &FEDERATION, mail, CREATED).map(|_| ()).map_err(|error| error.reason())
}

#[test]
fn a_bundle_round_trips_and_verifies() {
    let mail = Mail::new();
    let signed = sign_bundle(&bundle(), mail.key("ncb.ee")).unwrap();
    assert!(signed.bundle.len() < 2_000, "{} bytes for 35 keys", signed.bundle.len());
    let again = SignedBundle::decode(&signed.encode()).unwrap();
    let verified = verify_bundle(again, &FEDERATION, &mail, CREATED).unwrap();
    assert_eq!(verified.bundle(), &bundle());
    assert_eq!(verified.signed(), &signed);
}

// [PREKEY-3]
#[test]
fn the_key_of_the_day_is_chosen_and_an_hour_beyond_the_last_one_still_works() {
    let bundle = bundle();
    let chosen = |at| bundle.select(at).map(|key| key.id.0[0]);
    assert_eq!(chosen(CREATED), Some(0));
    assert_eq!(chosen(MIDNIGHT.after(DAY)), Some(1), "the end of a window is the next one's start");
    assert_eq!(chosen(Timestamp::from_millis(MIDNIGHT.after(DAY).as_millis() - 1)), Some(0));
    assert_eq!(chosen(MIDNIGHT.after(DAY * 34)), Some(34));
    assert_eq!(chosen(MIDNIGHT.after(DAY * 35 + HOUR)), Some(34));
    assert_eq!(chosen(MIDNIGHT.after(DAY * 35 + HOUR + Duration::from_millis(1))), None);
    assert_eq!(chosen(MIDNIGHT.before(HOUR)), Some(0));
    assert_eq!(chosen(MIDNIGHT.before(HOUR + Duration::from_millis(1))), None);
    let last = bundle.keys.last().unwrap();
    assert_eq!(bundle.expiry_max(last), MIDNIGHT.after(DAY * 42));
}

#[test]
fn keys_for_one_message_are_never_chosen() {
    let mut bundle = bundle();
    bundle.keys.iter_mut().for_each(|key| key.once = true);
    assert_eq!(bundle.select(CREATED), None);
}

// Attack 30.
#[test]
fn only_the_agencys_own_valid_key_signs_its_bundle() {
    let mail = Mail::new();
    let good = sign_bundle(&bundle(), mail.key("ncb.ee")).unwrap();
    let reason = |signed| verify_bundle(signed, &FEDERATION, &mail, CREATED).map(|_| ()).map_err(|e| e.reason());
    let foreign = sign_bundle(&bundle(), mail.key("ncb.fr")).unwrap();
    assert_eq!(reason(foreign.clone()), Err(RefusalReason::UnknownSender));
    assert_eq!(reason(SignedBundle { key: good.key, ..foreign }), Err(RefusalReason::BadSignature));
    let unlabelled = mail.key("ncb.ee").sign(&Hash::of(&[&good.bundle]).0).unwrap();
    assert_eq!(reason(SignedBundle { signature: unlabelled, ..good.clone() }), Err(RefusalReason::BadSignature));
    let zero = Signature::ed25519([0; 64]);
    assert_eq!(reason(SignedBundle { signature: zero, ..good.clone() }), Err(RefusalReason::BadSignature));
    assert_eq!(reason(good.clone()), Ok(()));

    // Valid when it was issued, revoked when it arrives; or the other way round.
    struct Window<'a>(&'a Mail, std::ops::Range<Timestamp>);
    impl crate::envelope::SenderKeys for Window<'_> {
        fn verifying_key(&self, sender: &NodeId, key: KeyId, at: Timestamp) -> Option<crate::sign::VerifyingKey> {
            self.0.verifying_key(sender, key, at).filter(|_| self.1.contains(&at))
        }
    }
    let later = CREATED.after(DAY);
    for window in [CREATED..later, later..Timestamp::MAX] {
        let refused = verify_bundle(good.clone(), &FEDERATION, &Window(&mail, window), later).unwrap_err();
        assert_eq!(refused.reason(), RefusalReason::UnknownSender);
    }
}

// Attack 29, [PREKEY-2].
#[test]
fn a_rollback_and_an_equivocation_show() {
    let mail = Mail::new();
    let verified = |epoch, seq, max_ttl_s| {
        let bundle = PrekeyBundle { epoch, seq, max_ttl_s, ..bundle() };
        verify_bundle(sign_bundle(&bundle, mail.key("ncb.ee")).unwrap(), &FEDERATION, &mail, CREATED).unwrap()
    };
    let known = verified(2, 5, 100);
    assert_eq!(verified(2, 6, 100).compare(&known), BundleOrder::Newer);
    assert_eq!(verified(3, 0, 100).compare(&known), BundleOrder::Newer);
    assert_eq!(verified(2, 4, 100).compare(&known), BundleOrder::Older);
    assert_eq!(verified(1, 9, 100).compare(&known), BundleOrder::Older);
    assert_eq!(verified(2, 5, 100).compare(&known), BundleOrder::Same);
    assert_eq!(verified(2, 5, 101).compare(&known), BundleOrder::Equivocation);
}

// [PREKEY-8]: a thief's last bundle is not the last one.
#[test]
fn numbers_that_run_ahead_of_the_clock_are_refused() {
    let mail = Mail::new();
    let (seconds, millis) = (CREATED.as_millis() / 1000, CREATED.as_millis());
    let ahead = limits::CLOCK_AHEAD_MAX.as_secs();
    let at = |epoch: u64, seq| refused(&mail, |b| (b.epoch, b.seq) = (u32::try_from(epoch).unwrap(), seq));
    assert_eq!(at(seconds + ahead, millis), Ok(()));
    for (epoch, seq) in [(seconds + ahead + 1, 1), (seconds, millis + 1), (u32::MAX.into(), u64::MAX)] {
        assert_eq!(at(epoch, seq), Err(RefusalReason::Malformed), "{epoch} {seq}");
    }
    let highest = PrekeyBundle { epoch: u32::MAX, seq: u64::MAX, ..bundle() };
    assert!(recall_bundle(signed(&mail, &highest), &FEDERATION, &mail, CREATED).is_err(), "kept by an older version");
}

// [PREKEY-8]
#[test]
fn above_whatever_is_taken_there_is_a_place_within_minutes() {
    let position = |epoch, seq| BundlePosition { epoch, seq };
    let seconds = u32::try_from(CREATED.as_millis() / 1000).unwrap();
    let next = |highest| BundlePosition::next(highest, Succession::Continue, CREATED).unwrap();
    let new = |highest| BundlePosition::next(highest, Succession::NewEpoch, CREATED).unwrap();
    assert_eq!(next(None), position(seconds, 1));
    assert_eq!(next(Some(position(7, 3))), position(7, 4));
    assert_eq!(new(Some(position(7, 3))), position(seconds, 1));
    assert_eq!(new(Some(position(seconds, 3))), position(seconds + 1, 1));
    // A clock that was years ahead has been set right: nobody else has taken that.
    assert_eq!(next(Some(position(u32::MAX, 3))), position(seconds, 1));
    // The highest that any node takes, from a thief who says that five minutes have passed.
    let ahead = limits::CLOCK_AHEAD_MAX;
    let stolen = CREATED.after(ahead);
    let highest = position(seconds + 2 * u32::try_from(ahead.as_secs()).unwrap(), stolen.as_millis());
    assert!(highest.is_within(stolen));
    for succession in [Succession::Continue, Succession::NewEpoch] {
        assert_eq!(BundlePosition::next(Some(highest), succession, CREATED), None, "not at once");
        let later = CREATED.after(ahead + Duration::from_secs(1));
        let above = BundlePosition::next(Some(highest), succession, later).unwrap();
        assert!(above > highest && above.is_within(later));
    }
}

// [PREKEY-7]
#[test]
fn a_bundle_that_is_kept_counts_no_longer_than_its_signer() {
    struct Until<'a>(&'a Mail, Timestamp);
    impl crate::envelope::SenderKeys for Until<'_> {
        fn verifying_key(&self, sender: &NodeId, key: KeyId, at: Timestamp) -> Option<crate::sign::VerifyingKey> {
            self.0.verifying_key(sender, key, at).filter(|_| at <= self.1)
        }
    }
    let mail = Mail::new();
    let kept = sign_bundle(&bundle(), mail.key("ncb.ee")).unwrap();
    let recalled = |end, at| recall_bundle(kept.clone(), &FEDERATION, &Until(&mail, end), at).is_ok();
    assert!(recalled(CREATED.after(DAY), CREATED.after(DAY)));
    assert!(!recalled(CREATED.after(DAY), CREATED.after(DAY * 2)), "its time is over");
    assert!(!recalled(Timestamp::ZERO, CREATED), "the roster names it no more");
}

// Attack 31, [PREKEY-1].
#[test]
fn a_key_that_its_bundle_does_not_name_is_not_used() {
    let mail = Mail::new();
    let key = mail.prekey("ncb.ee").public();
    let mut bundle = bundle();
    bundle.keys[3].id = key.id();
    assert_eq!(bundle.entry(&key), Some(&bundle.keys[3]));
    assert_eq!(bundle.keys[3].prekey_id(), key.prekey_id());
    let mut swapped = key.as_bytes().to_vec();
    swapped[700] ^= 1;
    if let Ok(swapped) = PrekeyPublic::from_bytes(&swapped) {
        assert_eq!(bundle.entry(&swapped), None);
    }
    assert_eq!(bundle.entry(&mail.prekey("ncb.fr").public()), None);
}

// Attack 32, [PREKEY-6].
#[test]
fn bundles_that_break_a_rule_are_malformed() {
    let mail = Mail::new();
    let malformed = Err(RefusalReason::Malformed);
    assert_eq!(refused(&mail, |_| {}), Ok(()));
    assert_eq!(refused(&mail, |b| b.version = 2), malformed);
    assert_eq!(refused(&mail, |b| b.keys.clear()), malformed);
    assert_eq!(refused(&mail, |b| b.keys = (2..66).map(|day| entry(day, 0)).collect()), malformed, "66 days ahead");
    assert_eq!(refused(&mail, |b| b.keys = (0..10_000).map(|day| entry(day, 0)).collect()), malformed);
    assert_eq!(refused(&mail, |b| b.keys[0].not_after = MIDNIGHT.after(DAY * 3_650)), malformed, "ten years");
    assert_eq!(refused(&mail, |b| b.keys[0].not_after = b.keys[0].not_before), malformed, "an empty window");
    assert_eq!(refused(&mail, |b| b.keys.swap(1, 2)), malformed);
    assert_eq!(refused(&mail, |b| b.keys[1] = b.keys[0]), malformed);
    assert_eq!(refused(&mail, |b| b.keys[1].not_before = b.keys[1].not_before.before(HOUR)), malformed, "overlap");
    assert_eq!(refused(&mail, |b| b.max_ttl_s = 31 * 86_400), malformed);
    assert_eq!(refused(&mail, |b| b.issued = CREATED.after(limits::CLOCK_AHEAD_MAX * 2)), Err(RefusalReason::Clock));
    let federation = FederationId([1; 16]);
    assert_eq!(refused(&mail, |b| b.federation = federation), Err(RefusalReason::UnknownSender));
    assert!(sign_bundle(&PrekeyBundle { keys: vec![], ..bundle() }, mail.key("ncb.ee")).is_err());
}

/// Points whose product with every scalar is zero (RFC 7748 §6.1, with the encodings that are not reduced).
fn low_order_shares() -> Vec<[u8; 32]> {
    [
        "0000000000000000000000000000000000000000000000000000000000000000",
        "0100000000000000000000000000000000000000000000000000000000000000",
        "e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800",
        "5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157",
        "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
        "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
    ]
    .map(|text| crate::testing::mail::hex(text).try_into().unwrap())
    .into()
}

// Attack 16, [PREKEY-1].
#[test]
fn a_prekey_with_a_share_of_small_order_is_refused() {
    let mail = Mail::new();
    let good = mail.prekey("ncb.ee").public();
    for share in low_order_shares() {
        let bytes = [&good.as_bytes()[..1184], &share].concat();
        assert_eq!(PrekeyPublic::from_bytes(&bytes), Err(PrekeyError::LowOrder), "{share:02x?}");
    }
}

/// RFC 9180 §5.1 with the KEM's shared secret given: what whoever knows that secret can compute.
fn base_key_and_nonce(shared: &[u8], info: &[u8]) -> ([u8; 32], [u8; 12]) {
    let suite = [b"HPKE".as_slice(), &[0x64, 0x7a, 0, 1, 0, 3]].concat();
    let extract = |salt: &[u8], name: &[u8], ikm: &[u8]| {
        Hkdf::<Sha256>::extract(Some(salt), &[b"HPKE-v1", suite.as_slice(), name, ikm].concat()).0
    };
    let context = [&[0][..], &extract(b"", b"psk_id_hash", b""), &extract(b"", b"info_hash", info)].concat();
    let secret = Hkdf::<Sha256>::from_prk(&extract(shared, b"secret", b"")).unwrap();
    let expand = |name: &[u8], out: &mut [u8]| {
        let length = (out.len() as u16).to_be_bytes();
        secret.expand_multi_info(&[&length, b"HPKE-v1", &suite, name, &context], out).unwrap();
    };
    let (mut key, mut nonce) = ([0; 32], [0; 12]);
    expand(b"key", &mut key);
    expand(b"base_nonce", &mut nonce);
    (key, nonce)
}

// Attack 16, [SEAL-3]: the wrap is made so that plain HPKE opens it, and ours must not.
#[test]
fn a_wrap_with_a_share_of_small_order_is_refused_though_hpke_would_open_it() {
    let mail = Mail::new();
    let prekey = mail.prekey("ncb.ee");
    let key = ContentKey::generate(&mut rng(3));
    let info = b"info";
    let honest = Wrap::seal(0, &prekey.public(), info, &key, &mut rng(4)).unwrap();
    for share in low_order_shares() {
        let enc = [&honest.bytes()[..1088], &share].concat();
        let parsed = <XWing as Kem>::EncappedKey::from_bytes(&enc).unwrap();
        // The sender computes it from ML-KEM's secret and a zero; here the recipient's key gives the same.
        let shared = XWing::decap(prekey.hpke(), None, &parsed).ok().unwrap();
        let (aead_key, nonce) = base_key_and_nonce(&shared.0, info);
        let mut sealed = key.as_bytes().to_vec();
        chacha_seal(&aead_key, nonce, b"", &mut sealed).unwrap();
        let opened = hpke_open::<XWing>(prekey.hpke(), &enc, info, b"", &sealed).unwrap();
        assert_eq!(opened.as_slice(), key.as_bytes(), "the trap is real");

        let wrap = Wrap::new(0, [enc, sealed].concat().into()).unwrap();
        assert!(wrap.open(prekey, info).is_err(), "{share:02x?}");
    }
    assert!(honest.open(prekey, info).is_ok());
}

// Attack 17, [PREKEY-1].
#[test]
fn an_ml_kem_coefficient_out_of_range_is_refused() {
    let mail = Mail::new();
    let good = mail.prekey("ncb.ee").public();
    // Twelve bits a coefficient, 768 of them; 3,329 is the first that is out of range.
    for (coefficient, value) in [(0, 3_329u16), (1, 4_095), (400, 3_329), (767, 3_330)] {
        let mut bytes = good.as_bytes().to_vec();
        let at = coefficient / 2 * 3;
        if coefficient % 2 == 0 {
            bytes[at] = value as u8;
            bytes[at + 1] = (bytes[at + 1] & 0xf0) | (value >> 8) as u8;
        } else {
            bytes[at + 1] = (bytes[at + 1] & 0x0f) | (value << 4) as u8;
            bytes[at + 2] = (value >> 4) as u8;
        }
        assert_eq!(PrekeyPublic::from_bytes(&bytes), Err(PrekeyError::NotAKey), "{coefficient}");
    }
    for length in [0, 1215, 1217] {
        assert_eq!(PrekeyPublic::from_bytes(&vec![9; length]), Err(PrekeyError::NotAKey));
    }
}

#[test]
fn a_seed_gives_the_same_prekey_again() {
    let mail = Mail::new();
    let secret = mail.prekey("ncb.ee");
    let again = PrekeySecret::from_seed(secret.seed());
    assert_eq!(again.public(), secret.public());
    assert_eq!(again.prekey_id(), secret.public().prekey_id());
    assert_eq!(PrekeyPublic::from_bytes(secret.public().as_bytes()), Ok(secret.public()));
}

proptest! {
    #[test]
    fn a_mutated_bundle_never_panics_and_never_verifies(index: prop::sample::Index, byte: u8) {
        let mail = Mail::new();
        let good = sign_bundle(&bundle(), mail.key("ncb.ee")).unwrap();
        let mut bytes = good.encode();
        let index = index.index(bytes.len());
        prop_assume!(bytes[index] != byte);
        bytes[index] = byte;
        if let Ok(signed) = SignedBundle::decode(&bytes) {
            prop_assert_eq!(signed.encode(), bytes);
            prop_assert!(verify_bundle(signed, &FEDERATION, &mail, CREATED).is_err());
        }
    }

    #[test]
    fn arbitrary_bytes_are_no_bundle_and_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        if let Ok(signed) = SignedBundle::decode(&bytes) {
            prop_assert_eq!(signed.encode(), bytes);
        }
    }

    #[test]
    fn every_truncation_of_a_bundle_fails(length: prop::sample::Index) {
        let bytes = sign_bundle(&bundle(), Mail::new().key("ncb.ee")).unwrap().encode();
        prop_assert!(SignedBundle::decode(&bytes[..length.index(bytes.len())]).is_err());
    }
}
