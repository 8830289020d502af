//! `envelope.json`: envelopes that a receiver takes, and those that it refuses, each with its code.

use liaison_protocol::envelope::{
    Envelope, Extension, Header, Recipient, VerifiedEnvelope, Wrap, message_id, signed_message, verify_bytes,
};
use liaison_protocol::open::open;
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::sign::Signature;
use liaison_protocol::{Hash, Precedence, RefusalReason, Signer as _, Timestamp};
use serde_json::{Value, json};

use super::seal::short;
use super::world::{CREATED, Draws, FEDERATION, Keys, agency, expires, hex, key_id, node, prekey, seed, signing_key};

pub(super) fn file() -> Value {
    let key = |name: &str| {
        json!({
            "node": name,
            "public": hex(signing_key(name).verifying_key().as_bytes()),
            "key_id": hex(key_id(name).0),
            "prekey_seed": hex(*seed("prekey", name)),
        })
    };
    let keys: Vec<_> = ["ncb.sg", "ncb.ee", "ncb.fr"].into_iter().map(key).collect();
    json!({
        "what": "sections 7 and 8. The receiver is in `federation` and knows the signing keys in `keys`. `refused` is \
                 the code of section 17; absent, the envelope is taken. `as` opens with the prekey of that agency.",
        "federation": hex(FEDERATION.0),
        "keys": keys,
        "received": received(),
        "opened": opened(),
    })
}

fn good() -> VerifiedEnvelope {
    let recipients = ["ncb.ee", "ncb.fr"].map(|name| (agency(name), prekey(name).public()));
    let request = SealRequest {
        federation: FEDERATION,
        sender: &node("ncb.sg"),
        recipients: &recipients,
        created: CREATED,
        expires: expires(),
        precedence: Precedence::Routine,
        content: &short(),
    };
    seal(&request, &signing_key("ncb.sg"), &mut Draws::new(10)).unwrap().envelope
}

/// What the header's sender signs after `bend`, whether or not it keeps the rules.
fn signed(bend: impl FnOnce(&mut Header)) -> Envelope {
    let good = good();
    let mut header = good.header().clone();
    bend(&mut header);
    signed_bytes(&good, header.sender.as_str(), header.encode())
}

fn signed_bytes(good: &VerifiedEnvelope, sender: &str, header: Vec<u8>) -> Envelope {
    let signature = signing_key(sender).sign(&signed_message(&message_id(&header))).unwrap();
    Envelope { header: header.into(), signature, ..good.envelope().clone() }
}

fn reason(bytes: &[u8]) -> Option<RefusalReason> {
    verify_bytes(bytes.to_vec().into(), &FEDERATION, &Keys).err().map(|error| error.reason())
}

fn one(what: &str, bytes: &[u8], expected: Option<RefusalReason>) -> Value {
    assert_eq!(reason(bytes), expected, "{what}");
    match expected {
        Some(reason) => json!({ "what": what, "envelope": hex(bytes), "refused": reason.code() }),
        None => json!({ "what": what, "envelope": hex(bytes) }),
    }
}

fn received() -> Vec<Value> {
    use RefusalReason::{BadSignature, BadWrap, Malformed, UnknownSender, UnsupportedSuite};
    let good = good();
    let envelope = good.envelope();
    let extension = |kind, critical| Extension { kind, critical, data: vec![1, 2] };
    let bent = |what, expected, bend: &dyn Fn(&mut Header)| one(what, &signed(bend).encode(), expected);
    let parts = |what, expected, envelope: Envelope| one(what, &envelope.encode(), expected);
    let mut cases = vec![
        one("to two", good.encoded(), None),
        one("to two, pruned to the second", good.prune(&[1]).encoded(), None),
        one("to two, pruned to none", good.prune(&[]).encoded(), None),
        bent("an extension that is not critical", None, &|h| h.extensions = vec![extension(7, false)]),
        bent("an extension that is", Some(UnsupportedSuite), &|h| h.extensions = vec![extension(7, true)]),
        bent("version 2", Some(UnsupportedSuite), &|h| h.version = 2),
        bent("suite 2", Some(UnsupportedSuite), &|h| h.suite = 2),
        bent("suite 65,535", Some(UnsupportedSuite), &|h| h.suite = 0xffff),
        bent("recipients in descending order", Some(Malformed), &|h| h.recipients.reverse()),
        bent("one recipient twice", Some(Malformed), &|h| h.recipients[1] = h.recipients[0].clone()),
        bent("no recipient", Some(Malformed), &|h| h.recipients.clear()),
        bent("extensions in descending order", Some(Malformed), &|h| {
            h.extensions = vec![extension(8, false), extension(7, false)];
        }),
        bent("expires before it was created", Some(Malformed), &|h| h.expires = Timestamp::ZERO),
        bent("lives for more than 30 days", Some(Malformed), &|h| h.expires = Timestamp::MAX),
        bent("a length that padding cannot give", Some(Malformed), &|h| h.body_len += 1),
        bent("another federation", Some(UnknownSender), &|h| h.federation.0[0] ^= 1),
        bent("a sender who is not in the roster", Some(UnknownSender), &|h| h.sender = node("ncb.xx")),
        bent("a key that is not the sender's", Some(UnknownSender), &|h| h.sender_key = key_id("ncb.fr")),
        bent("the hash of another wrap", Some(BadWrap), &|h| h.recipients[0].wrap_hash = Hash::ZERO),
        bent("the hash of another body", Some(BadSignature), &|h| h.body_hash = Hash::ZERO),
        parts("wraps swapped", Some(BadWrap), with_wraps(envelope, &[(0, 1), (1, 0)])),
        parts("wraps in descending order", Some(Malformed), with_wraps(envelope, &[(1, 1), (0, 0)])),
        parts("a wrap twice", Some(Malformed), with_wraps(envelope, &[(0, 0), (0, 0)])),
        parts("a wrap of recipient 2 of 2", Some(Malformed), with_wraps(envelope, &[(2, 0)])),
        parts("a signature with s + L", Some(BadSignature), malleable(envelope)),
        parts("a signature without its label", Some(BadSignature), unlabelled(envelope)),
        one("a byte too many", &[good.encoded(), [0].as_slice()].concat(), Some(Malformed)),
        one("a byte too few", &good.encoded()[..good.encoded_len() - 1], Some(Malformed)),
        one("a varint with a redundant byte", &redundant(&good), Some(Malformed)),
    ];
    let (what, header) = redundant_in_header(&good);
    cases.push(one(what, &signed_bytes(&good, "ncb.sg", header).encode(), Some(Malformed)));
    cases
}

/// Wraps by (index, which of the good ones).
fn with_wraps(envelope: &Envelope, wraps: &[(u16, usize)]) -> Envelope {
    let wrap = |(index, which): &(u16, usize)| Wrap::new(*index, envelope.wraps[*which].bytes().clone()).unwrap();
    Envelope { wraps: wraps.iter().map(wrap).collect(), ..envelope.clone() }
}

/// The group's order, least significant byte first.
const ORDER: [u8; 32] = [
    0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0, 0,
    0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
];

fn malleable(envelope: &Envelope) -> Envelope {
    let mut bytes: [u8; 64] = envelope.signature.as_bytes().as_ref().try_into().unwrap();
    let mut carry = 0u16;
    for (byte, add) in bytes[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*byte) + u16::from(add) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    Envelope { signature: Signature::ed25519(bytes), ..envelope.clone() }
}

fn unlabelled(envelope: &Envelope) -> Envelope {
    let signature = signing_key("ncb.sg").sign(&envelope.id().0.0).unwrap();
    Envelope { signature, ..envelope.clone() }
}

/// The first length, in one byte more than it needs.
fn redundant(good: &VerifiedEnvelope) -> Vec<u8> {
    let [low, high, rest @ ..] = good.encoded().as_ref() else { unreachable!("an envelope") };
    [&[*low, *high | 0x80, 0], rest].concat()
}

/// The suite, in two bytes.
fn redundant_in_header(good: &VerifiedEnvelope) -> (&'static str, Vec<u8>) {
    let [version, suite, rest @ ..] = good.envelope().header.as_ref() else { unreachable!("a header") };
    ("a varint with a redundant byte in the header", [&[*version, *suite | 0x80, 0], rest].concat())
}

fn opened() -> Vec<Value> {
    let good = good();
    let stolen = {
        let mut header = good.header().clone();
        header.sender = node("ncb.fr");
        header.sender_key = key_id("ncb.fr");
        signed_bytes(&good, "ncb.fr", header.encode())
    };
    let low_order = {
        let mut wrap = good.envelope().wraps[0].bytes().to_vec();
        wrap[1088..1120].fill(0);
        let wrap = Wrap::new(0, wrap.into()).unwrap();
        let mut envelope = signed(|header| header.recipients[0].wrap_hash = wrap.hash());
        envelope.wraps[0] = wrap;
        envelope
    };
    let other_prekey = signed(|header| {
        let recipient = &mut header.recipients[0];
        *recipient = Recipient { prekey_id: prekey("ncb.sg").prekey_id(), ..recipient.clone() };
    });
    vec![
        opened_as("opens", "ncb.ee", good.envelope(), None),
        opened_as("opens for the second too", "ncb.fr", good.envelope(), None),
        opened_as("not a recipient", "ncb.sg", good.envelope(), Some(RefusalReason::UnknownRecipient)),
        opened_as("its wrap was left out", "ncb.ee", &good.envelope().prune(&[1]), Some(RefusalReason::BadWrap)),
        opened_as("another's wraps and body, signed by a thief", "ncb.ee", &stolen, Some(RefusalReason::BadWrap)),
        opened_as("an X25519 share of small order", "ncb.ee", &low_order, Some(RefusalReason::BadWrap)),
        opened_as(
            "a commitment to another key",
            "ncb.ee",
            &signed(|h| h.commit.0[0] ^= 1),
            Some(RefusalReason::BadWrap),
        ),
        opened_as("another prekey", "ncb.ee", &other_prekey, Some(RefusalReason::KeyUnavailable)),
        // The body's additional data names the recipients, but not the time: that is the inner one's to say.
        opened_as(
            "created differs inside",
            "ncb.ee",
            &signed(|h| h.created = Timestamp::from_millis(CREATED.as_millis() + 1)),
            Some(RefusalReason::Malformed),
        ),
    ]
}

fn opened_as(what: &str, name: &str, envelope: &Envelope, expected: Option<RefusalReason>) -> Value {
    let bytes = envelope.encode();
    let verified = verify_bytes(bytes.clone().into(), &FEDERATION, &Keys).unwrap();
    let refused = open(&verified, &agency(name), &prekey(name)).err().map(|error| error.reason());
    assert_eq!(refused, expected, "{what}");
    match expected {
        Some(reason) => json!({ "what": what, "as": name, "envelope": hex(bytes), "refused": reason.code() }),
        None => json!({ "what": what, "as": name, "envelope": hex(bytes) }),
    }
}
