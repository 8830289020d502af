//! One envelope with what its recipient needs to open it, whole or damaged.

use bytes::Bytes;
use liaison_protocol::chunk::AttachmentKey;
use liaison_protocol::envelope::{
    Envelope, Extension, Header, SenderKeys, VerifiedEnvelope, message_id, signed_message, verify_bytes,
};
use liaison_protocol::inner::{Attachment, Content, ContentType, Inner, Message, SignedStatement, Supersedes, Tlp};
use liaison_protocol::open::open;
use liaison_protocol::prekey::PrekeySecret;
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::{
    AgencyId, FederationId, Hash, KeyId, MessageId, NodeId, Precedence, Signer as _, SigningKey, Timestamp,
    VerifyingKey, limits,
};
use rand_core::Rng;
use serde_json::{Value, json};

use crate::rng::TestRng;

/// How [`Case::damage`] changes an envelope, or what its recipient brings.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Mutation {
    /// A byte more.
    Append,
    /// Another commitment, signed.
    Commit,
    /// A critical extension, signed.
    CriticalExtension,
    /// One bit, anywhere.
    FlipBit,
    /// One bit of the header, signed again.
    FlipSignedBit,
    /// An extension that may be ignored, signed: it still opens.
    HarmlessExtension,
    /// Another nonce, signed.
    Nonce,
    /// The recipient is of another federation.
    OtherFederation,
    /// The recipient has another prekey.
    OtherPrekey,
    /// Somebody who is not a recipient.
    OtherRecipient,
    /// The roster knows another key of the sender.
    OtherSenderKey,
    /// No wrap.
    StripWraps,
    /// Another sender signs what the first one sealed.
    Thief,
    /// The end is missing.
    Truncate,
    /// Version 2, signed.
    Version,
}

impl Mutation {
    pub(crate) const ALL: [Self; 15] = [
        Self::Append,
        Self::Commit,
        Self::CriticalExtension,
        Self::FlipBit,
        Self::FlipSignedBit,
        Self::HarmlessExtension,
        Self::Nonce,
        Self::OtherFederation,
        Self::OtherPrekey,
        Self::OtherRecipient,
        Self::OtherSenderKey,
        Self::StripWraps,
        Self::Thief,
        Self::Truncate,
        Self::Version,
    ];
}

pub(crate) struct Case {
    envelope: Bytes,
    federation: FederationId,
    signing_seed: [u8; 32],
    sender_public: [u8; 32],
    recipient: AgencyId,
    prekey_seed: [u8; 32],
    content: Value,
    mutation: Option<Mutation>,
}

/// A roster that knows one key.
struct OneKey(VerifyingKey);

impl SenderKeys for OneKey {
    fn verifying_key(&self, _: &NodeId, key: KeyId, _: Timestamp) -> Option<VerifyingKey> {
        (self.0.key_id() == key).then_some(self.0)
    }
}

fn bytes32(rng: &mut TestRng) -> [u8; 32] {
    let mut bytes = [0; 32];
    rng.fill_bytes(&mut bytes);
    bytes
}

fn signing_key(seed: [u8; 32]) -> SigningKey {
    SigningKey::from_seed(&seed.into())
}

fn prekey(seed: [u8; 32]) -> PrekeySecret {
    PrekeySecret::from_seed(&seed.into())
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

impl Case {
    /// An envelope of any content, to one to four recipients, one of whom opens it.
    pub(crate) fn random(rng: &mut TestRng) -> Self {
        let names: Vec<AgencyId> =
            (0..=rng.below(4)).map(|n| format!("agency-{n}.x{}", n * 7).parse().unwrap()).collect();
        let seeds: Vec<[u8; 32]> = names.iter().map(|_| bytes32(rng)).collect();
        let recipients: Vec<_> =
            names.iter().zip(&seeds).rev().map(|(name, seed)| (name.clone(), prekey(*seed).public())).collect();
        let (signing_seed, chosen) = (bytes32(rng), rng.below(names.len()));
        let content = random_content(rng, &names);
        let created = Timestamp::from_millis(1_790_000_000_000 + rng.below(1_000_000_000) as u64);
        let mut federation = FederationId([0; 16]);
        rng.fill_bytes(&mut federation.0);
        let request = SealRequest {
            federation,
            sender: &"sender.one".parse().unwrap(),
            recipients: &recipients,
            created,
            expires: created.after(limits::LIFETIME_DEFAULT),
            precedence: Precedence::DRAIN_ORDER[rng.below(4)],
            content: &content,
        };
        let sealed = seal(&request, &signing_key(signing_seed), rng).unwrap();
        Self {
            envelope: sealed.envelope.encoded().clone(),
            federation,
            signing_seed,
            sender_public: *signing_key(signing_seed).verifying_key().as_bytes(),
            recipient: names[chosen].clone(),
            prekey_seed: seeds[chosen],
            content: inner_json("sender.one", &names, created, &content),
            mutation: None,
        }
    }

    pub(crate) fn id(&self) -> MessageId {
        Envelope::decode(&self.envelope).unwrap().id()
    }

    pub(crate) const fn mutation(&self) -> Option<Mutation> {
        self.mutation
    }

    /// What `open_envelope.py` takes.
    pub(crate) fn to_json(&self) -> Value {
        json!({
            "envelope": hex(&self.envelope),
            "federation": hex(&self.federation.0),
            "sender_public": hex(&self.sender_public),
            "recipient": self.recipient.as_str(),
            "prekey_seed": hex(&self.prekey_seed),
        })
    }

    /// What a whole envelope opens to: what was put in.
    pub(crate) fn expected(&self) -> Value {
        json!({ "id": self.id().to_string(), "inner": self.content })
    }

    /// Our own verdict, in the words of `open_envelope.py`.
    pub(crate) fn open(&self) -> Value {
        let keys = OneKey(VerifyingKey::from_bytes(&self.sender_public).unwrap());
        let refused = |reason: liaison_protocol::RefusalReason| json!({ "refused": reason.as_str() });
        let verified = match verify_bytes(self.envelope.clone(), &self.federation, &keys) {
            Ok(verified) => verified,
            Err(error) => return refused(error.reason()),
        };
        match open(&verified, &self.recipient, &prekey(self.prekey_seed)) {
            Ok(opened) => opened_json(&verified, &opened.inner),
            Err(error) => refused(error.reason()),
        }
    }

    /// The same envelope, damaged.
    pub(crate) fn damage(&self, mutation: Mutation, rng: &mut TestRng) -> Self {
        let mut case = Self {
            envelope: self.envelope.clone(),
            content: Value::Null,
            recipient: self.recipient.clone(),
            mutation: Some(mutation),
            ..*self
        };
        match mutation {
            Mutation::Append => case.edit(|bytes| bytes.push(0)),
            Mutation::Truncate => case.edit(|bytes| bytes.truncate(rng.below(bytes.len()))),
            Mutation::FlipBit => case.edit(|bytes| flip(bytes, rng)),
            Mutation::OtherFederation => case.federation.0[0] ^= 1,
            Mutation::OtherPrekey => case.prekey_seed[0] ^= 1,
            Mutation::OtherRecipient => case.recipient = "somebody.else".parse().unwrap(),
            Mutation::OtherSenderKey => case.sender_public = *signing_key(bytes32(rng)).verifying_key().as_bytes(),
            Mutation::StripWraps => {
                case.envelope = Envelope::decode(&case.envelope).unwrap().prune(&[]).encode().into()
            }
            Mutation::FlipSignedBit => case.sign_again(|header| flip(header, rng)),
            Mutation::Commit => case.sign_header(|header| header.commit.0[0] ^= 1),
            Mutation::Nonce => case.sign_header(|header| header.nonce[0] ^= 1),
            Mutation::Thief => case.sign_header(|header| header.sender = "thief.one".parse().unwrap()),
            Mutation::Version => case.sign_header(|header| header.version = 2),
            Mutation::CriticalExtension => case.sign_header(|header| header.extensions.push(extension(true))),
            Mutation::HarmlessExtension => case.sign_header(|header| header.extensions.push(extension(false))),
        }
        case
    }

    fn edit(&mut self, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.envelope.to_vec();
        edit(&mut bytes);
        self.envelope = bytes.into();
    }

    fn sign_header(&mut self, edit: impl FnOnce(&mut Header)) {
        self.sign_again(|bytes| {
            let mut header = Header::decode(bytes).unwrap();
            edit(&mut header);
            *bytes = header.encode();
        });
    }

    /// Changes the header's bytes and signs them as the sender would.
    fn sign_again(&mut self, edit: impl FnOnce(&mut Vec<u8>)) {
        let mut envelope = Envelope::decode(&self.envelope).unwrap();
        let mut header = envelope.header.to_vec();
        edit(&mut header);
        let message = signed_message(&message_id(&header));
        envelope.signature = signing_key(self.signing_seed).sign(&message).unwrap();
        envelope.header = header.into();
        self.envelope = envelope.encode().into();
    }
}

fn flip(bytes: &mut [u8], rng: &mut TestRng) {
    let at = rng.below(bytes.len());
    bytes[at] ^= 1 << rng.below(8);
}

fn extension(critical: bool) -> Extension {
    Extension { kind: 900, critical, data: b"later".to_vec() }
}

fn random_content(rng: &mut TestRng, recipients: &[AgencyId]) -> Content {
    let blob = |rng: &mut TestRng| {
        let mut bytes = vec![0; rng.below(300)];
        rng.fill_bytes(&mut bytes);
        Bytes::from(bytes)
    };
    let statement = |rng: &mut TestRng| SignedStatement { receipt: blob(rng), proofs: vec![blob(rng), blob(rng)] };
    match rng.below(6) {
        0 => Content::Receipts(vec![statement(rng), statement(rng)]),
        1 => Content::Notice(statement(rng)),
        _ => Content::Message(random_message(rng, recipients)),
    }
}

fn random_message(rng: &mut TestRng, recipients: &[AgencyId]) -> Message {
    let id = |rng: &mut TestRng| MessageId(Hash(bytes32(rng)));
    let thread = (rng.below(2) == 0).then(|| id(rng));
    let chain = (rng.below(3) == 0).then(|| {
        let sent = Timestamp::from_millis(rng.next_u64());
        Supersedes { first: id(rng), previous: id(rng), sent }
    });
    Message {
        thread,
        in_reply_to: thread,
        chain,
        info: recipients.iter().skip(1).cloned().collect(),
        subject: "Fall 1142: Zugänge 🔒".chars().take(rng.below(20)).collect(),
        tlp: Tlp::ALL[rng.below(Tlp::ALL.len())],
        handling: ["5x5x5: A1", "no-forward"].iter().take(rng.below(3)).map(|code| (*code).into()).collect(),
        content_type: ContentType::ALL[rng.below(ContentType::ALL.len())],
        text: "ä€𝄞 line\n".repeat(rng.below(3000)),
        attachments: (0..rng.below(3)).map(|_| random_attachment(rng)).collect(),
    }
}

fn random_attachment(rng: &mut TestRng) -> Attachment {
    let chunk_count = rng.below(5) as u32;
    let full = u64::from(chunk_count) * limits::CHUNK_BYTES as u64;
    Attachment {
        name: "hits.csv".into(),
        total_len: full.saturating_sub(rng.below(1000) as u64),
        chunk_count,
        key: AttachmentKey::generate(rng),
        chunk_hashes: (0..chunk_count).map(|_| Hash(bytes32(rng))).collect(),
        sha256: Hash(bytes32(rng)),
    }
}

fn opened_json(envelope: &VerifiedEnvelope, inner: &Inner) -> Value {
    let inner = inner_json(inner.sender.as_str(), &inner.recipients, inner.created, &inner.content);
    json!({ "id": envelope.id().to_string(), "inner": inner })
}

fn inner_json(sender: &str, recipients: &[AgencyId], created: Timestamp, content: &Content) -> Value {
    let mut recipients: Vec<&str> = recipients.iter().map(AgencyId::as_str).collect();
    recipients.sort_unstable();
    json!({
        "sender": sender,
        "recipients": recipients,
        "created": created.as_millis(),
        "content": content_json(content),
    })
}

fn content_json(content: &Content) -> Value {
    let statement = |statement: &SignedStatement| {
        json!({
            "receipt": hex(&statement.receipt),
            "proofs": statement.proofs.iter().map(|proof| hex(proof)).collect::<Vec<_>>(),
        })
    };
    match content {
        Content::Receipts(statements) => json!({ "receipts": statements.iter().map(statement).collect::<Vec<_>>() }),
        Content::Notice(notice) => json!({ "notice": statement(notice) }),
        Content::Message(message) => json!({ "message": message_json(message) }),
    }
}

fn message_json(message: &Message) -> Value {
    let id = |id: &MessageId| id.0.to_string();
    json!({
        "thread": message.thread.as_ref().map(id),
        "in_reply_to": message.in_reply_to.as_ref().map(id),
        "chain": message.chain.map(|chain| {
            json!({ "first": id(&chain.first), "previous": id(&chain.previous), "sent": chain.sent.as_millis() })
        }),
        "info": message.info.iter().map(AgencyId::as_str).collect::<Vec<_>>(),
        "subject": message.subject,
        "tlp": message.tlp.as_str(),
        "handling": message.handling,
        "content_type": message.content_type.as_str(),
        "text": message.text,
        "attachments": message.attachments.iter().map(attachment_json).collect::<Vec<_>>(),
    })
}

fn attachment_json(attachment: &Attachment) -> Value {
    json!({
        "name": attachment.name,
        "total_len": attachment.total_len,
        "chunk_count": attachment.chunk_count,
        "key": hex(attachment.key.as_bytes()),
        "chunk_hashes": attachment.chunk_hashes.iter().map(Hash::to_string).collect::<Vec<_>>(),
        "sha256": attachment.sha256.to_string(),
    })
}
