//! Everything that sealing takes, for any thread.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use liaison_node::clock;
use liaison_protocol::envelope::VerifiedEnvelope;
use liaison_protocol::inner::{Content, ContentType, Message, Tlp};
use liaison_protocol::prekey::PrekeyPublic;
use liaison_protocol::roster::Roster;
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::{AgencyId, FederationId, NodeId, Precedence, SigningKey};

/// How long its messages live.
const LIFETIME: Duration = Duration::from_secs(3600);

/// See the module.
#[derive(Clone)]
pub struct SealJob {
    federation: FederationId,
    sender: NodeId,
    recipients: Vec<(AgencyId, PrekeyPublic)>,
    signer: Arc<SigningKey>,
    precedence: Precedence,
    content: Content,
}

impl SealJob {
    /// Messages of `sender` with this much text.
    #[must_use]
    pub fn new(
        roster: &Roster,
        sender: &AgencyId,
        signer: &Arc<SigningKey>,
        recipients: Vec<(AgencyId, PrekeyPublic)>,
        precedence: Precedence,
        text_bytes: usize,
    ) -> Self {
        let content = Content::Message(Message {
            thread: None,
            in_reply_to: None,
            chain: None,
            info: Vec::new(),
            subject: "load".into(),
            tlp: Tlp::Green,
            handling: Vec::new(),
            content_type: ContentType::Text,
            text: "x".repeat(text_bytes),
            attachments: Vec::new(),
        });
        let (federation, sender, signer) = (roster.federation(), NodeId::from(sender), signer.clone());
        Self { federation, sender, recipients, signer, precedence, content }
    }

    /// One more message.
    ///
    /// # Errors
    /// It does not fit an envelope.
    pub fn seal(&self) -> Result<VerifiedEnvelope> {
        let created = clock::now();
        let request = SealRequest {
            federation: self.federation,
            sender: &self.sender,
            recipients: &self.recipients,
            created,
            expires: created.after(LIFETIME),
            precedence: self.precedence,
            content: &self.content,
        };
        Ok(seal(&request, &*self.signer, &mut rand_core::UnwrapErr(getrandom::SysRng))?.envelope)
    }
}
