//! A federation of one relay and two agencies, and mail between them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use certs_dev::{Federation, Kdf, Options};
use liaison_core::op::Op;
use liaison_protocol::codec::Fixed;
use liaison_protocol::envelope::Envelope;
use liaison_protocol::frame::Bundle;
use liaison_protocol::inner::{Content, ContentType, Message, Tlp};
use liaison_protocol::keyfile::{KeyRole, open_keys};
use liaison_protocol::prekey::{PrekeyBundle, PrekeyEntry, PrekeySecret, sign_bundle};
use liaison_protocol::roster::{Roster, RosterDocument};
use liaison_protocol::seal::{SealRequest, seal};
use liaison_protocol::sign::SigningKey;
use liaison_protocol::{NodeId, Precedence, Role, limits};
use rand_core::UnwrapErr;

use crate::link::LinkIdentity;
use crate::{bundles, clock};

/// See the module.
pub(super) struct Fed {
    _folder: tempfile::TempDir,
    files: Federation,
    pub(super) roster: Arc<Roster>,
    pub(super) relay: NodeId,
    pub(super) sender: NodeId,
    pub(super) recipient: NodeId,
    pub(super) relay_key: Arc<SigningKey>,
    pub(super) sender_key: SigningKey,
    prekey: PrekeySecret,
}

impl Fed {
    pub(super) fn new() -> Self {
        let folder = super::folder();
        let mut options = Options::new(folder.path().join("fed"));
        (options.regions, options.agencies, options.kdf) = (1, 2, Kdf::Fast);
        let files = certs_dev::make(&options).unwrap();
        let roster = Arc::new(files.roster().unwrap());
        let relay = files.relays[0].id.clone();
        let [sender, recipient] = [0, 1].map(|agency: usize| NodeId::from(&files.agencies[agency].id));
        let relay_key = Arc::new(signing_key(&files.relay_folder(&relay), "sign.key"));
        let sender_key = signing_key(&files.agency_folder(&sender.to_agency()), "identity.key");
        let prekey = PrekeySecret::generate(&mut UnwrapErr(getrandom::SysRng));
        Self { _folder: folder, files, roster, relay, sender, recipient, relay_key, sender_key, prekey }
    }

    /// The next roster, signed.
    pub(super) fn publish(&self, change: impl FnOnce(&mut RosterDocument)) -> Bytes {
        self.files.publish(change).unwrap().signed().clone()
    }

    pub(super) fn link_identity(&self, node: &NodeId) -> LinkIdentity {
        let folder = match self.roster.role(node).unwrap() {
            Role::Relay => self.files.relay_folder(node),
            Role::Agency => self.files.agency_folder(&node.to_agency()),
        };
        LinkIdentity::from_pem(&read(&folder, "link.cert.pem"), &read(&folder, "link.key.pem")).unwrap()
    }

    /// Today's key of the sender, so that a relay can write to it.
    pub(super) fn bundle_of_sender(&self) -> Op {
        bundles::put(&self.sender.to_agency(), &self.bundle(&self.sender_key, 1, 86_400))
    }

    /// A bundle of the sender with this number.
    pub(super) fn bundle(&self, signer: &SigningKey, seq: u64, max_ttl_s: u32) -> Bundle {
        let (now, key) = (clock::now(), self.prekey.public());
        let entry = PrekeyEntry {
            id: key.id(),
            not_before: now.before(Duration::from_secs(3600)),
            not_after: now.after(Duration::from_secs(3600)),
            once: false,
        };
        let bundle = PrekeyBundle {
            version: PrekeyBundle::VERSION,
            federation: self.roster.federation(),
            agency: self.sender.to_agency(),
            epoch: 1,
            seq,
            issued: now,
            max_ttl_s,
            keys: vec![entry],
        };
        let signed = sign_bundle(&bundle, signer).unwrap();
        Bundle { bundle: signed.encode().into(), keys: vec![Fixed(Box::new(*key.as_bytes()))] }
    }

    /// A roster that names this signing key of the sender, and no other.
    pub(super) fn replace_sender_key(&self, signer: &SigningKey) -> Roster {
        let replaced = self.files.publish(|roster| {
            let agency = roster.agencies.iter_mut().find(|agency| agency.id == self.sender.to_agency()).unwrap();
            agency.sign_keys[0].public = signer.verifying_key();
        });
        replaced.unwrap()
    }

    /// A letter from the sender to the recipient.
    pub(super) fn letter(&self, subject: &str) -> Envelope {
        let created = clock::now();
        let message = Message {
            thread: None,
            in_reply_to: None,
            chain: None,
            info: Vec::new(),
            subject: subject.into(),
            tlp: Tlp::Green,
            handling: Vec::new(),
            content_type: ContentType::Text,
            text: subject.into(),
            attachments: Vec::new(),
        };
        let request = SealRequest {
            federation: self.roster.federation(),
            sender: &self.sender,
            // Nobody opens it here: any key will do.
            recipients: &[(self.recipient.to_agency(), self.prekey.public())],
            created,
            expires: created.after(limits::LIFETIME_DEFAULT),
            precedence: Precedence::Routine,
            content: &Content::Message(message),
        };
        seal(&request, &self.sender_key, &mut UnwrapErr(getrandom::SysRng)).unwrap().envelope.into_envelope()
    }
}

fn read(folder: &Path, name: &str) -> Vec<u8> {
    std::fs::read(folder.join(name)).unwrap()
}

fn signing_key(folder: &Path, file: &str) -> SigningKey {
    let passphrase = read(folder, "passphrase");
    let keys = open_keys(passphrase.trim_ascii_end(), &read(folder, file)).unwrap();
    let key = keys.iter().find(|key| key.role == KeyRole::Signing).unwrap();
    SigningKey::from_seed(&key.secret.seed().unwrap())
}
