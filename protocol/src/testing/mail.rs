//! Three agencies that write to each other, each with a signing key and one prekey.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::rng;
use crate::codec;
use crate::envelope::{
    BodyKeys, ContentKey, Envelope, Header, Kind, Recipient, SUITE, SenderKeys, VERSION, VerifiedEnvelope, Wrap,
    padding,
};
use crate::hash::Hash;
use crate::ids::{AgencyId, FederationId, KeyId, NodeId};
use crate::inner::{Content, ContentType, Inner, Message, Tlp};
use crate::precedence::Precedence;
use crate::prekey::{PrekeyPublic, PrekeySecret};
use crate::seal::{SealRequest, Sealed, seal};
use crate::sign::{Signer as _, SigningKey, VerifyingKey};
use crate::time::Timestamp;

pub(crate) const FEDERATION: FederationId = FederationId([0xfe; 16]);
/// 2026-11-24T12:00:00Z.
pub(crate) const CREATED: Timestamp = Timestamp::from_millis(1_795_521_600_000);

pub(crate) fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

/// `ncb.sg` writes; `ncb.ee` and `ncb.fr` read.
pub(crate) struct Mail {
    pub(crate) keys: BTreeMap<NodeId, SigningKey>,
    pub(crate) prekeys: BTreeMap<AgencyId, PrekeySecret>,
}

impl Mail {
    pub(crate) fn new() -> Self {
        let rng = &mut rng(11);
        let names = ["ncb.ee", "ncb.fr", "ncb.sg"];
        let keys = names.map(|name| (name.parse().unwrap(), SigningKey::generate(rng)));
        let prekeys = names.map(|name| (agency(name), PrekeySecret::generate(rng)));
        Self { keys: keys.into(), prekeys: prekeys.into() }
    }

    pub(crate) fn key(&self, name: &str) -> &SigningKey {
        &self.keys[&name.parse().unwrap()]
    }

    pub(crate) fn prekey(&self, name: &str) -> &PrekeySecret {
        &self.prekeys[&agency(name)]
    }

    pub(crate) fn recipients(&self, names: &[&str]) -> Vec<(AgencyId, PrekeyPublic)> {
        names.iter().map(|name| (agency(name), self.prekey(name).public())).collect()
    }

    /// A text from `ncb.sg`.
    pub(crate) fn sealed(&self, to: &[&str]) -> Sealed {
        let content = content("meeting at noon");
        let sender = "ncb.sg".parse().unwrap();
        let recipients = self.recipients(to);
        let request = SealRequest {
            federation: FEDERATION,
            sender: &sender,
            recipients: &recipients,
            created: CREATED,
            expires: CREATED.after(Duration::from_secs(86_400)),
            precedence: Precedence::Immediate,
            content: &content,
        };
        seal(&request, self.key("ncb.sg"), &mut rng(12)).unwrap()
    }

    /// As `sealed`, in parts that a test may bend before [`Draft::finish`].
    pub(crate) fn draft(&self, to: &[&str]) -> Draft {
        let content_key = ContentKey::generate(&mut rng(13));
        let recipient = |name: &&str| Recipient {
            id: agency(name),
            prekey_id: self.prekey(name).prekey_id(),
            wrap_hash: Hash::ZERO,
        };
        let mut header = Header {
            version: VERSION,
            suite: SUITE,
            federation: FEDERATION,
            sender: "ncb.sg".parse().unwrap(),
            sender_key: self.key("ncb.sg").key_id(),
            created: CREATED,
            expires: CREATED.after(Duration::from_secs(86_400)),
            precedence: Precedence::Routine,
            kind: Kind::Sealed,
            nonce: [7; 32],
            recipients: to.iter().map(recipient).collect(),
            commit: Hash::ZERO,
            body_hash: Hash::ZERO,
            body_len: 0,
            extensions: Vec::new(),
        };
        header.commit = BodyKeys::derive(&header, &content_key).commit();
        let inner = Inner {
            version: Inner::VERSION,
            sender: header.sender.clone(),
            recipients: header.recipients.iter().map(|recipient| recipient.id.clone()).collect(),
            created: header.created,
            content: content("meeting at noon"),
        };
        Draft { header, content_key, inner, wrap_keys: BTreeMap::new() }
    }
}

impl SenderKeys for Mail {
    fn verifying_key(&self, sender: &NodeId, key: KeyId, _at: Timestamp) -> Option<VerifyingKey> {
        self.keys.get(sender).map(SigningKey::verifying_key).filter(|known| known.key_id() == key)
    }
}

pub(crate) struct Draft {
    pub(crate) header: Header,
    pub(crate) content_key: ContentKey,
    pub(crate) inner: Inner,
    /// Wrapped to a recipient in place of the content key.
    pub(crate) wrap_keys: BTreeMap<u16, ContentKey>,
}

impl Draft {
    /// Padded as it should be.
    pub(crate) fn finish(self, mail: &Mail) -> VerifiedEnvelope {
        let padded = padding::pad(&codec::encode(&self.inner)).unwrap();
        self.finish_with(mail, &padded)
    }

    /// Seals `padded`, whatever it is, and signs as the header's sender.
    pub(crate) fn finish_with(mut self, mail: &Mail, padded: &[u8]) -> VerifiedEnvelope {
        let mut body = padded.to_vec();
        BodyKeys::derive(&self.header, &self.content_key).seal(&self.header, &mut body).unwrap();
        self.header.body_hash = Hash::of(&[&body]);
        self.header.body_len = u32::try_from(body.len()).unwrap();
        let mut wraps = Vec::new();
        for index in 0..u16::try_from(self.header.recipients.len()).unwrap() {
            let recipient = &self.header.recipients[usize::from(index)];
            let info = self.header.wrap_info(&recipient.id, recipient.prekey_id);
            let key = self.wrap_keys.get(&index).unwrap_or(&self.content_key);
            let prekey = mail.prekeys[&recipient.id].public();
            wraps.push(Wrap::seal(index, &prekey, &info, key, &mut rng(14)).unwrap());
        }
        self.header.recipients.iter_mut().zip(&wraps).for_each(|(r, wrap)| r.wrap_hash = wrap.hash());
        resigned(mail, self.header, wraps, body.into())
    }
}

/// What the header's sender would have signed, without asking whether the header keeps the rules.
pub(crate) fn resigned(mail: &Mail, header: Header, wraps: Vec<Wrap>, body: Bytes) -> VerifiedEnvelope {
    let bytes = Bytes::from(header.encode());
    let message = crate::envelope::signed_message(&crate::envelope::message_id(&bytes));
    let signature = mail.keys[&header.sender].sign(&message).unwrap();
    VerifiedEnvelope::sealed(header, Envelope { header: bytes, signature, wraps, body })
}

pub(crate) fn content(text: &str) -> Content {
    Content::Message(Message {
        thread: None,
        in_reply_to: None,
        chain: None,
        info: Vec::new(),
        subject: "S".into(),
        tlp: Tlp::Amber,
        handling: Vec::new(),
        content_type: ContentType::Text,
        text: text.into(),
        attachments: Vec::new(),
    })
}

/// 32 bytes of hex.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digit = |index| u8::from_str_radix(&text[index..index + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(digit).collect()
}

/// 32 bytes of hex, as a seed.
pub(crate) fn hex_seed(text: &str) -> Zeroizing<[u8; 32]> {
    Zeroizing::new(hex(text).try_into().unwrap())
}
