//! `seal.json`: messages, receipts and a notice, with every input and every step between.

use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, KeyInit};
use hkdf::Hkdf;
use liaison_protocol::chunk::AttachmentKey;
use liaison_protocol::inner::{Attachment, Content, ContentType, Inner, Message, SignedStatement, Supersedes, Tlp};
use liaison_protocol::open::open;
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::{Hash, MessageId, NodeId, Precedence, VerifiedEnvelope, codec};
use serde_json::{Value, json};
use sha2::Sha256;

use super::world::{CREATED, Draws, FEDERATION, agency, expires, hex, node, prekey, seed, signing_key};

pub(super) fn file() -> Value {
    json!({
        "what": "section 8. `draws` are the random bytes in the order in which they are used: content key, nonce, then \
                 64 for each wrap (32 for ML-KEM, 32 for X25519). The signing key's and the prekeys' seeds open all.",
        "cases": [
            case("a short text to one", 1, "ncb.sg", &["ncb.ee"], Precedence::Flash, &short()),
            case("all fields, to three", 2, "ncb.sg", &["ncb.fr", "ncb.de", "ncb.ee"], Precedence::Routine, &long()),
            case("receipts", 3, "ncb.ee", &["ncb.sg"], Precedence::Priority, &receipts()),
            case("a notice of a relay", 4, "eu-1", &["ncb.sg"], Precedence::Immediate, &notice()),
        ],
    })
}

fn case(what: &str, number: u64, sender: &str, to: &[&str], precedence: Precedence, content: &Content) -> Value {
    let mut draws = Draws::new(number);
    let recipients: Vec<_> = to.iter().map(|name| (agency(name), prekey(name).public())).collect();
    let request = SealRequest {
        federation: FEDERATION,
        sender: &node(sender),
        recipients: &recipients,
        created: CREATED,
        expires: expires(),
        precedence,
        content,
    };
    let sealed = seal(&request, &signing_key(sender), &mut draws).unwrap();
    let envelope = &sealed.envelope;
    let header = envelope.header();
    let inner = Inner {
        version: Inner::VERSION,
        sender: header.sender.clone(),
        recipients: header.recipients.iter().map(|recipient| recipient.id.clone()).collect(),
        created: CREATED,
        content: content.clone(),
    };
    assert!(to.iter().all(|name| open(envelope, &agency(name), &prekey(name)).unwrap().inner == inner));
    let plain = codec::encode(&inner);
    json!({
        "what": what,
        "federation": hex(FEDERATION.0),
        "sender": sender,
        "signing_seed": hex(*seed("signing key", sender)),
        "signing_public": hex(signing_key(sender).verifying_key().as_bytes()),
        "created": CREATED.as_millis(),
        "expires": expires().as_millis(),
        "precedence": u8::from(precedence),
        "draws": draws.log.iter().map(hex).collect::<Vec<_>>(),
        "content_key": hex(sealed.content_key.as_bytes()),
        "nonce": hex(header.nonce),
        "inner": hex(&plain),
        "keys": keys(envelope, &plain, sealed.content_key.as_bytes()),
        "recipients": wraps(envelope, &draws),
        "header": hex(&envelope.envelope().header),
        "message_id": envelope.id().to_string(),
        "signature": hex(envelope.envelope().signature.as_bytes()),
        "body": hex(&envelope.envelope().body),
        "envelope": hex(envelope.encoded()),
    })
}

fn lp8(text: &str) -> Vec<u8> {
    [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat()
}

fn context(sender: &NodeId) -> Vec<u8> {
    [[0, 1].as_slice(), &FEDERATION.0, &lp8(sender.as_str())].concat()
}

/// Section 8, "Keys of one envelope", from its text; the body must open with what comes out.
fn keys(envelope: &VerifiedEnvelope, plain: &[u8], content_key: &[u8]) -> Value {
    let header = envelope.header();
    let ctx = context(&header.sender);
    let (prk, hkdf) = Hkdf::<Sha256>::extract(Some(&header.nonce), content_key);
    let expand = |label: &[u8]| {
        let mut key = [0; 32];
        hkdf.expand(&[label, &ctx].concat(), &mut key).unwrap();
        key
    };
    let (body_key, commit) = (expand(b"liaison/1 body-key\0"), expand(b"liaison/1 commit\0"));
    let names: Vec<u8> = header.recipients.iter().flat_map(|recipient| lp8(recipient.id.as_str())).collect();
    let aad = [b"liaison/1 body\0".as_slice(), &ctx, &header.nonce, &Hash::of(&[&names]).0].concat();
    let cipher = ChaCha20Poly1305::new(&body_key.into());
    let payload = Payload { msg: &envelope.envelope().body, aad: &aad };
    let padded = cipher.decrypt(&[0; 12].into(), payload).unwrap();
    assert_eq!(commit, header.commit.0);
    assert!(padded.starts_with(plain) && padded[plain.len()] == 0x80);
    json!({
        "ctx": hex(ctx),
        "prk": hex(prk),
        "body_key": hex(body_key),
        "commit": hex(commit),
        "body_aad": hex(aad),
        "padded_len": padded.len(),
    })
}

fn wraps(envelope: &VerifiedEnvelope, draws: &Draws) -> Vec<Value> {
    let header = envelope.header();
    let one = |(index, wrap): (usize, &liaison_protocol::envelope::Wrap)| {
        let recipient = &header.recipients[index];
        let name = lp8(recipient.id.as_str());
        let ctx = context(&header.sender);
        let info = [b"liaison/1 wrap\0".as_slice(), &ctx, &name, &recipient.prekey_id.0, &header.nonce].concat();
        json!({
            "id": recipient.id.as_str(),
            "prekey_seed": hex(*seed("prekey", recipient.id.as_str())),
            "prekey_public": hex(prekey(recipient.id.as_str()).public().as_bytes()),
            "prekey_id": hex(recipient.prekey_id.0),
            "encapsulation": hex(&draws.log[2 + index]),
            "info": hex(info),
            "wrap": hex(wrap.bytes()),
            "wrap_hash": hex(recipient.wrap_hash.0),
        })
    };
    envelope.envelope().wraps.iter().enumerate().map(one).collect()
}

pub(super) fn short() -> Content {
    Content::Message(Message {
        thread: None,
        in_reply_to: None,
        chain: None,
        info: Vec::new(),
        subject: "Red notice".into(),
        tlp: Tlp::Red,
        handling: Vec::new(),
        content_type: ContentType::Text,
        text: "Arrived at 14:05.".into(),
        attachments: Vec::new(),
    })
}

fn long() -> Content {
    let id = |byte| MessageId(Hash([byte; 32]));
    Content::Message(Message {
        thread: Some(id(1)),
        in_reply_to: Some(id(2)),
        chain: Some(Supersedes { first: id(3), previous: id(4), sent: CREATED }),
        info: vec![agency("ncb.de"), agency("ncb.fr")],
        subject: "Überprüfung ✓".into(),
        tlp: Tlp::AmberStrict,
        handling: vec!["NOFORN".into(), "ORCON".into()],
        content_type: ContentType::Stix,
        text: "{\"type\":\"bundle\"}\n".repeat(40),
        attachments: vec![Attachment {
            name: "scan.pdf".into(),
            total_len: 300_000,
            chunk_count: 2,
            key: AttachmentKey::from_bytes(&seed("attachment", "scan.pdf")),
            chunk_hashes: vec![Hash([5; 32]), Hash([6; 32])],
            sha256: Hash([7; 32]),
        }],
    })
}

fn statement(byte: u8) -> SignedStatement {
    SignedStatement { receipt: vec![byte; 40].into(), proofs: vec![vec![byte; 5].into(), vec![byte; 6].into()] }
}

fn receipts() -> Content {
    Content::Receipts(vec![statement(8), statement(9)])
}

fn notice() -> Content {
    Content::Notice(statement(10))
}
