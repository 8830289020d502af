//! Envelopes, good ones to begin with, and what is done to them.

use std::time::Duration;

use liaison_node::clock;
use liaison_protocol::envelope::Envelope;
use liaison_protocol::inner::{Content, ContentType, Message, Tlp};
use liaison_protocol::prekey::PrekeyPublic;
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::{AgencyId, FederationId, NodeId, Precedence, Signature, SigningKey, Timestamp};

/// What an envelope says of itself.
pub(crate) struct Draft {
    pub(crate) created: Timestamp,
    pub(crate) expires: Timestamp,
    pub(crate) precedence: Precedence,
}

impl Draft {
    /// Routine, for an hour from now.
    pub(crate) fn now() -> Self {
        let created = clock::now();
        Self { created, expires: created.after(Duration::from_secs(3600)), precedence: Precedence::Routine }
    }

    pub(crate) fn precedence(precedence: Precedence) -> Self {
        Self { precedence, ..Self::now() }
    }
}

/// Seals and signs as an honest sender does.
pub(crate) fn envelope(
    federation: FederationId,
    sender: &str,
    signer: &SigningKey,
    recipients: &[(AgencyId, PrekeyPublic)],
    draft: &Draft,
) -> Envelope {
    let sender: NodeId = sender.parse().unwrap();
    let message = Message {
        thread: None,
        in_reply_to: None,
        chain: None,
        info: vec![],
        subject: "Hostile".into(),
        tlp: Tlp::Green,
        handling: vec![],
        content_type: ContentType::Text,
        text: "Or is it?".into(),
        attachments: vec![],
    };
    let request = SealRequest {
        federation,
        sender: &sender,
        recipients,
        created: draft.created,
        expires: draft.expires,
        precedence: draft.precedence,
        content: &Content::Message(message),
    };
    let sealed = seal(&request, signer, &mut rand_core::UnwrapErr(getrandom::SysRng)).unwrap();
    sealed.envelope.into_envelope()
}

/// One bit of the signature is another.
pub(crate) fn with_forged_signature(envelope: &Envelope) -> Envelope {
    let mut signature: [u8; 64] = envelope.signature.as_bytes()[..].try_into().unwrap();
    signature[7] ^= 1;
    Envelope { signature: Signature::ed25519(signature), ..envelope.clone() }
}

/// One bit of the body is another.
pub(crate) fn with_tampered_body(envelope: &Envelope) -> Envelope {
    let mut body = envelope.body.to_vec();
    body[100] ^= 1;
    Envelope { body: body.into(), ..envelope.clone() }
}

/// One bit of the header is another, in `commit`, which nothing but the signature covers: another message id, and the old
/// signature.
pub(crate) fn with_tampered_header(envelope: &Envelope) -> Envelope {
    let mut header = liaison_protocol::Header::decode(&envelope.header).unwrap();
    header.commit.0[0] ^= 1;
    Envelope { header: header.encode().into(), ..envelope.clone() }
}

/// The first recipient's wrap is the second's, and the other way round.
pub(crate) fn with_swapped_wraps(envelope: &Envelope) -> Envelope {
    let wrap = |index: u16| {
        let bytes = envelope.wraps[usize::from(index)].bytes();
        liaison_protocol::envelope::Wrap::new(1 - index, bytes.to_vec().into()).unwrap()
    };
    Envelope { wraps: vec![wrap(1), wrap(0)], ..envelope.clone() }
}
