//! Frames and headers: what is well formed round-trips, what is not is refused with its reason.

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::*;
use crate::codec;
use crate::ids::{AgencyId, FederationId, KeyId, NodeId, PrekeyId};
use crate::label;
use crate::precedence::Precedence;
use crate::refusal::RefusalReason;
use crate::sign::Signer as _;
use crate::testing::mail::{CREATED, FEDERATION, Mail, agency, resigned};
use crate::time::Timestamp;

fn reason(mail: &Mail, bytes: &[u8]) -> Result<(), RefusalReason> {
    verify_bytes(Bytes::copy_from_slice(bytes), &FEDERATION, mail).map(|_| ()).map_err(|error| error.reason())
}

/// The reason why an envelope with this header is refused, though its sender signed it.
fn header_reason(mail: &Mail, bend: impl FnOnce(&mut Header)) -> Result<(), RefusalReason> {
    let sealed = mail.sealed(&["ncb.ee", "ncb.fr"]).envelope;
    let mut header = sealed.header().clone();
    bend(&mut header);
    let envelope = sealed.into_envelope();
    reason(mail, resigned(mail, header, envelope.wraps, envelope.body).encoded())
}

#[test]
fn what_is_sealed_verifies_from_its_bytes_and_from_its_parts() {
    let mail = Mail::new();
    let sealed = mail.sealed(&["ncb.fr", "ncb.ee"]).envelope;
    let again = verify_bytes(sealed.encoded().clone(), &FEDERATION, &mail).unwrap();
    assert_eq!(again.id(), sealed.id());
    assert_eq!(again.header(), sealed.header());
    assert_eq!(again.encoded(), sealed.encoded());
    assert_eq!(again.encoded_len(), sealed.envelope().encoded_len());
    let parts = verify(Envelope::decode(sealed.encoded()).unwrap(), &FEDERATION, &mail).unwrap();
    assert_eq!(parts.encoded(), sealed.encoded());
}

// Attack 1.
#[test]
fn a_flipped_bit_anywhere_in_an_envelope_is_refused() {
    let mail = Mail::new();
    let good = mail.sealed(&["ncb.ee"]).envelope.encoded().to_vec();
    assert_eq!(reason(&mail, &good), Ok(()));
    let mut bytes = good.clone();
    for index in 0..good.len() {
        for bit in 0..8 {
            bytes[index] ^= 1 << bit;
            let refused = reason(&mail, &bytes).expect_err("a flipped bit");
            let expected = [
                RefusalReason::BadSignature,
                RefusalReason::BadWrap,
                RefusalReason::Malformed,
                RefusalReason::UnknownSender,
                RefusalReason::UnsupportedSuite,
            ];
            assert!(expected.contains(&refused), "byte {index} bit {bit}: {refused}");
            bytes[index] ^= 1 << bit;
        }
    }
}

// Attack 2, [ENC-2].
#[test]
fn every_truncation_and_every_added_byte_is_malformed() {
    let mail = Mail::new();
    let good = mail.sealed(&["ncb.ee"]).envelope.encoded().to_vec();
    for length in 0..good.len() {
        assert_eq!(reason(&mail, &good[..length]), Err(RefusalReason::Malformed), "{length} bytes");
    }
    for byte in [0, 1, 0xff] {
        assert_eq!(reason(&mail, &[good.as_slice(), &[byte]].concat()), Err(RefusalReason::Malformed));
    }
}

// Attack 3, [ENC-1].
#[test]
fn an_overlong_varint_in_any_field_is_malformed() {
    let mail = Mail::new();
    let sealed = mail.sealed(&["ncb.ee"]).envelope;
    let header = &sealed.envelope().header;
    // Wherever a header holds a byte below 0x80, the same value with a redundant continuation byte.
    for index in 2..header.len() {
        let (before, after) = header.split_at(index);
        if after[0] < 0x80 {
            let bent = [before, &[after[0] | 0x80, 0], &after[1..]].concat();
            assert!(Header::decode(&bent).is_err(), "byte {index}");
        }
    }
    for (place, value) in [(0, sealed.envelope().header.len()), (1, 64)] {
        let mut out = Vec::new();
        let parts: [&[u8]; 2] = [header, sealed.envelope().signature.as_bytes()];
        for (index, part) in parts.into_iter().enumerate() {
            if index == 1 {
                out.push(1);
            }
            if index == place {
                push_varint(&mut out, value);
                *out.last_mut().unwrap() |= 0x80;
                out.push(0);
                out.extend_from_slice(part);
            } else {
                push_bytes(&mut out, part);
            }
        }
        assert_eq!(Envelope::decode(&out), Err(Malformed::NotCanonical { what: "envelope" }));
    }
}

// Attack 3.
#[test]
fn names_that_are_not_names_and_unknown_enum_values_are_malformed() {
    let mail = Mail::new();
    let header = mail.sealed(&["ncb.ee"]).envelope.into_envelope().header.to_vec();
    let sender = header.windows(6).position(|window| window == b"ncb.sg").unwrap();
    for bad in [0xff, b'A', b'_', b' ', 0] {
        let mut bent = header.clone();
        bent[sender] = bad;
        assert!(matches!(Header::decode(&bent), Err(HeaderError::Malformed(_))), "{bad}");
    }
    // Precedence and kind follow two six-byte times.
    let place = sender + 6 + 8 + 6 + 6;
    for (offset, values) in [(0, 4..=255), (1, 3..=255)] {
        for value in values {
            let mut bent = header.clone();
            bent[place + offset] = value;
            assert!(matches!(Header::decode(&bent), Err(HeaderError::Malformed(_))), "{offset} {value}");
        }
    }
}

#[test]
fn a_bool_is_zero_or_one() {
    let extension = Extension { kind: 9, critical: false, data: vec![1] };
    let good = codec::encode(&extension);
    assert_eq!(good, [9, 0, 1, 1]);
    assert!(codec::decode::<Extension>("extension", &[9, 2, 1, 1], 10).is_err());
}

// Attack 4, [ENC-3]. No list sets memory aside for what is only claimed: `Reader` slices, `bounded` grows by element.
#[test]
fn a_claimed_length_beyond_the_bytes_is_refused_before_any_of_it_is_set_aside() {
    let mail = Mail::new();
    let sealed = mail.sealed(&["ncb.ee"]).envelope;
    let header = sealed.envelope().header.to_vec();
    let claims: [&[u8]; 3] =
        [&[0xff, 0xff, 0xff, 0xff, 0x0f], &[0xff; 9], &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]];
    for claim in claims {
        for index in 2..header.len() {
            let bent = [&header[..index], claim, &header[index + 1..]].concat();
            assert!(Header::decode(&bent).is_err(), "byte {index}");
        }
        let frame = sealed.encoded();
        for index in [0, header.len() + 2, header.len() + 3, header.len() + 68, frame.len() - 530] {
            let bent = [&frame[..index], claim, &frame[index + 1..]].concat();
            assert!(reason(&mail, &bent).is_err(), "byte {index}");
        }
    }
}

// Attack 5, [HDR-2].
#[test]
fn recipients_unsorted_twice_none_or_too_many_are_malformed() {
    let mail = Mail::new();
    let malformed = Err(RefusalReason::Malformed);
    assert_eq!(header_reason(&mail, |h| h.recipients.reverse()), malformed);
    assert_eq!(header_reason(&mail, |h| h.recipients[1] = h.recipients[0].clone()), malformed);
    assert_eq!(header_reason(&mail, |h| h.recipients.clear()), malformed);
    let many = |count: usize| {
        move |h: &mut Header| {
            let recipient = h.recipients[0].clone();
            let name = |index: usize| Recipient { id: agency(&format!("a{index:04}")), ..recipient.clone() };
            h.recipients = (0..count).map(name).collect();
        }
    };
    assert_eq!(header_reason(&mail, many(1025)), malformed);
    // 1,024 are allowed; their wraps here are other recipients'.
    assert_eq!(header_reason(&mail, many(1024)), Err(RefusalReason::BadWrap));
}

// Attack 6, [HDR-3].
#[test]
fn an_unknown_critical_extension_is_unsupported_and_any_other_passes_byte_for_byte() {
    let mail = Mail::new();
    let extension = |kind, critical| Extension { kind, critical, data: vec![1, 2, 3] };
    let with = |extensions: Vec<Extension>| move |h: &mut Header| h.extensions = extensions;
    assert_eq!(header_reason(&mail, with(vec![extension(7, true)])), Err(RefusalReason::UnsupportedSuite));
    assert_eq!(header_reason(&mail, with(vec![extension(7, false)])), Ok(()));
    let malformed = Err(RefusalReason::Malformed);
    assert_eq!(header_reason(&mail, with(vec![extension(8, false), extension(7, false)])), malformed);
    assert_eq!(header_reason(&mail, with(vec![extension(7, false); 2])), malformed);
    assert_eq!(header_reason(&mail, with((0..17).map(|kind| extension(kind, false)).collect())), malformed);
    let long = Extension { data: vec![0; limits::EXTENSION_BYTES_MAX + 1], ..extension(7, false) };
    assert_eq!(header_reason(&mail, with(vec![long])), malformed);

    let sealed = mail.sealed(&["ncb.ee", "ncb.fr"]).envelope;
    let mut header = sealed.header().clone();
    header.extensions = vec![extension(7, false)];
    let envelope = sealed.into_envelope();
    let sent = resigned(&mail, header, envelope.wraps, envelope.body);
    let relayed = verify_bytes(sent.encoded().clone(), &FEDERATION, &mail).unwrap().prune(&[1]);
    assert_eq!(relayed.envelope().header, sent.envelope().header);
    assert_eq!(relayed.header().extensions, [extension(7, false)]);
}

// Attack 7, [HDR-1].
#[test]
fn other_versions_and_suites_are_unsupported_whatever_follows_them() {
    let mail = Mail::new();
    for suite in [0, 2, 3, 0xffff] {
        assert_eq!(header_reason(&mail, |h| h.suite = suite), Err(RefusalReason::UnsupportedSuite), "{suite}");
    }
    for version in [0, 2, 255] {
        assert_eq!(header_reason(&mail, |h| h.version = version), Err(RefusalReason::UnsupportedSuite), "{version}");
    }
    let alien = [2, 1, 0xde, 0xad];
    assert_eq!(Header::decode(&alien), Err(HeaderError::Unsupported { version: 2, suite: 1 }));
}

// Attack 10, [LABEL-1].
#[test]
fn a_signature_of_another_header_or_under_another_label_is_refused() {
    let mail = Mail::new();
    let key = mail.key("ncb.sg");
    let one = mail.sealed(&["ncb.ee"]).envelope.into_envelope();
    let other = mail.sealed(&["ncb.fr"]).envelope.into_envelope();
    let refused = |signature| {
        let envelope = Envelope { signature, ..one.clone() };
        verify(envelope, &FEDERATION, &mail).map(|_| ()).map_err(|error| error.reason())
    };
    assert_eq!(refused(one.signature.clone()), Ok(()));
    assert_eq!(refused(other.signature), Err(RefusalReason::BadSignature));
    for label in [label::RECEIPT_SIG, label::PREKEYS, label::ENVELOPE_ID, b""] {
        let signature = key.sign(&[label, &one.id().0.0].concat()).unwrap();
        assert_eq!(refused(signature), Err(RefusalReason::BadSignature));
    }
    let composite = Signature::new(2, vec![0; limits::SIGNATURE_BYTES_MAX].into()).unwrap();
    assert_eq!(refused(composite), Err(RefusalReason::BadSignature));
}

// [ENV-3]
#[test]
fn only_the_roster_says_whose_key_signs() {
    let mail = Mail::new();
    let unknown = Err(RefusalReason::UnknownSender);
    assert_eq!(header_reason(&mail, |h| h.sender_key = KeyId([0; 8])), unknown);
    assert_eq!(header_reason(&mail, |h| h.federation = FederationId([0; 16])), unknown);
    let sealed = mail.sealed(&["ncb.ee"]).envelope;
    let mut stranger = Mail::new();
    stranger.keys.remove(&sealed.header().sender);
    assert_eq!(reason(&stranger, sealed.encoded()), unknown);
}

// [HDR-4]
#[test]
fn a_lifetime_is_neither_negative_nor_longer_than_thirty_days() {
    let mail = Mail::new();
    let malformed = Err(RefusalReason::Malformed);
    let expires = |expires| move |h: &mut Header| h.expires = expires;
    assert_eq!(header_reason(&mail, expires(CREATED)), Ok(()));
    assert_eq!(header_reason(&mail, expires(CREATED.after(limits::LIFETIME_MAX))), Ok(()));
    let late = Timestamp::from_millis(CREATED.after(limits::LIFETIME_MAX).as_millis() + 1);
    assert_eq!(header_reason(&mail, expires(late)), malformed);
    assert_eq!(header_reason(&mail, expires(Timestamp::MAX)), malformed);
    assert_eq!(header_reason(&mail, expires(Timestamp::from_millis(CREATED.as_millis() - 1))), malformed);
}

// [HDR-5], [HDR-6]
#[test]
fn a_body_has_a_padded_length_and_a_chunk_names_no_wraps() {
    let mail = Mail::new();
    let malformed = Err(RefusalReason::Malformed);
    for length in [0, 15, 16, 527, 529, 16 + 1025, limits::BODY_BYTES_MAX as u32 + 1, u32::MAX] {
        assert_eq!(header_reason(&mail, |h| h.body_len = length), malformed, "{length}");
    }
    assert_eq!(header_reason(&mail, |h| h.kind = Kind::Chunk), malformed);
}

// Attacks 13 and 14, [ENV-1], [ENV-2], [ENV-4].
#[test]
fn a_relay_may_leave_wraps_out_and_can_neither_swap_nor_repeat_nor_invent_them() {
    let mail = Mail::new();
    let sealed = mail.sealed(&["ncb.ee", "ncb.fr"]).envelope;
    for branch in [&[][..], &[0], &[1], &[0, 1], &[1, 7]] {
        let pruned = sealed.prune(branch);
        assert_eq!(reason(&mail, pruned.encoded()), Ok(()), "{branch:?}");
        assert_eq!(pruned.id(), sealed.id());
        assert_eq!(pruned.encoded_len(), pruned.envelope().encoded_len());
    }
    let good = sealed.into_envelope();
    let refused = |wraps: Vec<Wrap>| {
        let envelope = Envelope { wraps, ..good.clone() };
        verify(envelope, &FEDERATION, &mail).map(|_| ()).map_err(|error| error.reason())
    };
    let [first, second] = good.wraps.as_slice() else { panic!("two wraps") };
    let moved = |wrap: &Wrap, index| Wrap::new(index, wrap.bytes().clone()).unwrap();
    assert_eq!(refused(vec![moved(second, 0), moved(first, 1)]), Err(RefusalReason::BadWrap));
    assert_eq!(refused(vec![second.clone(), first.clone()]), Err(RefusalReason::Malformed));
    assert_eq!(refused(vec![first.clone(), first.clone()]), Err(RefusalReason::Malformed));
    assert_eq!(refused(vec![moved(first, 2)]), Err(RefusalReason::Malformed));
}

#[test]
fn a_body_of_another_envelope_is_refused() {
    let mail = Mail::new();
    let good = mail.sealed(&["ncb.ee"]).envelope.into_envelope();
    let other = mail.draft(&["ncb.ee"]).finish(&mail).into_envelope();
    let bent = Envelope { body: other.body, ..good };
    assert_eq!(verify(bent, &FEDERATION, &mail).unwrap_err(), EnvelopeError::BodyMismatch);
}

#[test]
fn decoding_shared_bytes_copies_nothing() {
    let mail = Mail::new();
    let bytes = mail.sealed(&["ncb.ee"]).envelope.encoded().clone();
    let envelope = Envelope::decode_shared(bytes.clone()).unwrap();
    let within = |part: &Bytes| bytes.as_ptr_range().contains(&part.as_ptr());
    assert!(within(&envelope.header) && within(&envelope.body));
    assert!(within(envelope.signature.as_bytes()) && within(envelope.wraps[0].bytes()));
}

#[test]
fn padme_gives_the_lengths_of_the_specification() {
    for (length, padded) in [(0, 0), (1, 1), (2, 2), (9, 10), (513, 544), (1000, 1024), (1_048_575, 1_048_576)] {
        assert_eq!(padding::padme(length), padded);
    }
    assert!((1..1 << 20).all(|length| padding::padme(length) >= length));
    assert!((512..1 << 20).all(|length| padding::padme(padding::padme(length)) == padding::padme(length)));
    assert!((129..1 << 20).all(|length| padding::padme(length) * 100 <= length * 112), "12 % at most");
    let sizes = (512..=1 << 20).filter(|length| padding::is_padded_len(*length)).count();
    assert_eq!(sizes, 241);
}

prop_compose! {
    fn any_name()(name in "[a-z0-9]{3,20}(\\.[a-z0-9]{1,10}){0,3}") -> String { name }
}

prop_compose! {
    fn any_header()(
        federation: [u8; 16], sender in any_name(), key: [u8; 8], created in 0..1u64 << 45,
        lifetime in 0..=limits::LIFETIME_MAX.as_millis() as u64, precedence in 0u8..4, nonce: [u8; 32],
        recipients in btree_map(any_name(), any::<([u8; 16], [u8; 32])>(), 1..20),
        commit: [u8; 32], body_hash: [u8; 32], length in 0usize..limits::BODY_PLAIN_BYTES_MAX - 1,
        extensions in btree_map(any::<u16>(), vec(any::<u8>(), 0..40), 0..4),
    ) -> Header {
        let recipient = |(name, (prekey, hash)): (String, _)|
            Recipient { id: agency(&name), prekey_id: PrekeyId(prekey), wrap_hash: Hash(hash) };
        Header {
            version: VERSION, suite: SUITE, federation: FederationId(federation),
            sender: sender.parse::<NodeId>().unwrap(), sender_key: KeyId(key),
            created: Timestamp::from_millis(created), expires: Timestamp::from_millis(created + lifetime),
            precedence: Precedence::try_from(precedence).unwrap(), kind: Kind::Sealed, nonce,
            recipients: recipients.into_iter().map(recipient).collect(),
            commit: Hash(commit), body_hash: Hash(body_hash),
            body_len: (padding::padded_len(length) + limits::AEAD_TAG_BYTES) as u32,
            extensions: extensions.into_iter().map(|(kind, data)| Extension { kind, critical: false, data }).collect(),
        }
    }
}

proptest! {
    #[test]
    fn headers_round_trip_and_every_truncation_fails(header in any_header()) {
        let bytes = header.encode();
        prop_assert_eq!(Header::decode(&bytes), Ok(header));
        for length in 0..bytes.len() {
            prop_assert!(Header::decode(&bytes[..length]).is_err());
        }
    }

    #[test]
    fn a_mutated_header_that_still_decodes_encodes_to_the_same_bytes(
        header in any_header(), edits in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = header.encode();
        for (index, byte) in edits {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(header) = Header::decode(&bytes) {
            prop_assert_eq!(header.encode(), bytes);
        }
    }

    // [ERR-1]
    #[test]
    fn arbitrary_bytes_never_panic_and_what_decodes_encodes_to_the_same_bytes(bytes in vec(any::<u8>(), 0..3000)) {
        if let Ok(header) = Header::decode(&bytes) {
            prop_assert_eq!(header.encode(), bytes.clone());
        }
        if let Ok(envelope) = Envelope::decode(&bytes) {
            prop_assert_eq!(envelope.encode(), bytes);
        }
    }

    #[test]
    fn frames_round_trip(
        header in vec(any::<u8>(), 0..300), signature: [u8; 32], body in vec(any::<u8>(), 0..300),
        wraps in vec(any::<u16>(), 0..4),
    ) {
        let wrap = |index: u16| Wrap::new(index % 1024, vec![index as u8; limits::WRAP_BYTES].into()).unwrap();
        let signature = Signature::ed25519([signature, signature].concat().try_into().unwrap());
        let wraps = wraps.into_iter().map(wrap).collect();
        let envelope = Envelope { header: header.into(), signature, wraps, body: body.into() };
        let bytes = envelope.encode();
        prop_assert_eq!(bytes.len(), envelope.encoded_len());
        prop_assert_eq!(Envelope::decode(&bytes), Ok(envelope));
    }

    #[test]
    fn padding_comes_off_exactly_as_it_went_on(message in vec(any::<u8>(), 0..3000)) {
        let padded = padding::pad(&message).unwrap();
        prop_assert!(padding::is_padded_len(padded.len()));
        prop_assert_eq!(padding::unpad(&padded), Some(message.as_slice()));
    }
}

#[test]
fn an_agency_name_that_is_no_recipient_has_no_index() {
    let mail = Mail::new();
    let header = mail.sealed(&["ncb.ee", "ncb.fr"]).envelope;
    assert_eq!(header.header().recipient_index(&agency("ncb.fr")), Some(1));
    assert_eq!(header.header().recipient_index(&"ncb.sg".parse::<AgencyId>().unwrap()), None);
}
