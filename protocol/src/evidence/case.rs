//! One message, judged from its rosters up to its receipts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::AttemptFile;
use super::archive::Entry;
use super::manifest::{self, EVIDENCE_TYPE};
use super::told::Told;
use super::verdict::{Fact, Verdict};
use super::verify::{EvidenceError, Files};
use crate::codec;
use crate::envelope::{self, ContentKey, Envelope, Header, VerifiedEnvelope, message_id, signed_message};
use crate::ids::{AgencyId, KeyId, MessageId, NodeId};
use crate::inner::{Content, Inner, Message, SignedStatement};
use crate::limits;
use crate::open::{OpenError, open_with_key};
use crate::prekey::{PrekeyEntry, SignedBundle, verify_bundle};
use crate::receipt::{ChainFinding, SignedReceipt, Statement, audit, verify_statement};
use crate::roster::{Dsse, History, Roster, RosterVersion, text};
use crate::sign::Signature;
use crate::time::Timestamp;

/// Clocks of different nodes may differ by this much before times are called out of order.
pub(super) const CLOCK_TOLERANCE: Duration = limits::CLOCK_AHEAD_MAX;
/// Bytes of an encoded later envelope at most.
const ATTEMPT_BYTES_MAX: usize = limits::HEADER_BYTES_MAX + limits::SIGNATURE_BYTES_MAX + limits::BODY_BYTES_MAX + 64;
/// Bytes of an encoded statement at most.
const STATEMENT_BYTES_MAX: usize = 1024 * 1024;

/// An envelope's signed part.
#[derive(Clone)]
struct Sealed {
    id: MessageId,
    header: Header,
    signature: Signature,
}

/// One message and what is known about it so far.
pub(super) struct Case {
    /// The envelope that the bundle is about.
    sealed: Sealed,
    /// Later envelopes of the same message.
    attempts: Vec<Sealed>,
    rosters: BTreeMap<RosterVersion, Roster>,
    facts: Vec<Fact>,
    /// Nodes whose removal from later rosters has been told.
    removed: BTreeSet<(NodeId, KeyId)>,
}

impl Case {
    pub(super) fn new(files: &Files, history: History) -> Result<Self, EvidenceError> {
        let rosters: BTreeMap<RosterVersion, Roster> =
            history.rosters.into_iter().map(|roster| (roster.version(), roster)).collect();
        let (id, header) = (message_id(&files.header), Header::decode(&files.header)?);
        let what = "signature.bin";
        let signature = codec::decode(what, &files.signature, limits::SIGNATURE_BYTES_MAX + 8);
        let signature = signature.map_err(|error| EvidenceError::Malformed { file: what.into(), error })?;
        let mut facts = Vec::new();
        if let (Some(first), Some(last)) = (rosters.keys().next(), rosters.keys().next_back()) {
            facts.push(Fact::Rosters { first: *first, last: *last });
        }
        facts.extend(history.by_first_roots.map(|through| Fact::RostersByFirstRoots { through }));
        let sealed = Sealed { id, header, signature };
        Ok(Self { sealed, attempts: Vec::new(), rosters, facts, removed: BTreeSet::new() })
    }

    pub(super) fn verdict(self, content: Option<Inner>) -> Verdict {
        let message = content.as_ref().map_or(self.sealed.id, |content| first_of(self.sealed.id, content));
        Verdict { message, facts: self.facts, content }
    }

    /// The latest roster in the bundle that was issued by `at`.
    fn roster_at(&self, at: Timestamp) -> Option<&Roster> {
        self.rosters.values().rev().find(|roster| roster.issued() <= at.after(CLOCK_TOLERANCE))
    }

    pub(super) fn exporter(&mut self, checked: &manifest::Checked) -> Result<(), EvidenceError> {
        let exporter = checked.manifest.exporter();
        if !checked.manifest.is_about(&self.sealed.id) {
            return Err(EvidenceError::Manifest { detail: "it names another message than header.bin".into() });
        }
        let Some((key_id, signature)) = manifest::signature(&checked.dsse)? else { return Ok(()) };
        let refused = || EvidenceError::ExporterSignature { exporter: exporter.clone() };
        let at = checked.manifest.exported();
        let roster = self.roster_at(at).ok_or_else(refused)?;
        let key = text_key_id(key_id).and_then(|key| roster.sign_key(exporter, key, at)).ok_or_else(refused)?;
        let pae = Dsse::pae(EVIDENCE_TYPE, &checked.dsse.payload);
        key.verify(&pae, &signature).map_err(|_| refused())?;
        self.facts.push(Fact::Exported { exporter: exporter.clone() });
        self.facts.push(Fact::Time { event: "exported", by: exporter.clone(), at });
        Ok(())
    }

    /// [EVID-4] The sender's key, by the roster of the time.
    pub(super) fn sender(&mut self) -> Result<(), EvidenceError> {
        let sealed = self.sealed.clone();
        let (version, issued) = self.signed("header.bin", &sealed)?;
        let Header { sender, sender_key, created, precedence, recipients, .. } = sealed.header;
        self.facts.push(Fact::Signed { sender: sender.clone(), roster: version });
        let recipients = recipients.into_iter().map(|recipient| recipient.id).collect();
        self.facts.push(Fact::Addressed { recipients, precedence });
        self.facts.push(Fact::Time { event: "signed", by: sender.clone(), at: created });
        self.tell_left_out(version, issued);
        self.tell_removal(&sender, sender_key, version, created);
        Ok(())
    }

    /// [EVID-4] Verifies the sender's signature over one envelope. Gives the roster that lists the key.
    fn signed(&self, file: &str, sealed: &Sealed) -> Result<(RosterVersion, Timestamp), EvidenceError> {
        let Header { sender, sender_key, created, federation, .. } = &sealed.header;
        let missing =
            || EvidenceError::RosterMissing { file: file.into(), need: format!("the one in force at {created}") };
        let in_force = |roster: &&Roster| *created <= roster.expires().after(limits::ROSTER_GRACE);
        let roster = self.roster_at(*created).filter(in_force).ok_or_else(missing)?;
        if roster.federation() != *federation {
            return Err(EvidenceError::Federation { found: *federation });
        }
        let version = roster.version();
        let Some(key) = roster.sign_key(sender, *sender_key, *created) else {
            return Err(EvidenceError::UnknownSender { sender: sender.clone(), key: *sender_key, roster: version });
        };
        if key.verify(&signed_message(&sealed.id), &sealed.signature).is_err() {
            return Err(EvidenceError::Signature { sender: sender.clone() });
        }
        Ok((version, roster.issued()))
    }

    /// Tells, once for each roster, that the bundle lacks the next one.
    fn tell_left_out(&mut self, used: RosterVersion, issued: Timestamp) {
        let fact = Fact::RostersLeftOut { used, issued };
        if !self.rosters.contains_key(&RosterVersion(used.0.saturating_add(1))) && !self.facts.contains(&fact) {
            self.facts.push(fact);
        }
    }

    /// Tells, once, if a roster after `since` no longer lists the key of a signature made at `at`.
    fn tell_removal(&mut self, signer: &NodeId, key: KeyId, since: RosterVersion, at: Timestamp) {
        let lists = |roster: &Roster| {
            let relay = roster.relay(signer).is_some_and(|relay| relay.sign_key.key_id() == key);
            let agency = roster.agency(&signer.to_agency());
            relay || agency.is_some_and(|agency| agency.sign_keys.iter().any(|entry| entry.id == key))
        };
        let mut later = self.rosters.values().filter(|roster| roster.version() > since);
        let Some((roster, issued)) =
            later.find(|roster| !lists(roster)).map(|roster| (roster.version(), roster.issued()))
        else {
            return;
        };
        if self.removed.insert((signer.clone(), key)) {
            let signer = signer.clone();
            let after = issued.after(CLOCK_TOLERANCE) < at;
            self.facts.push(if after {
                Fact::SignedAfterRemoval { signer, roster }
            } else {
                Fact::SignerLaterRemoved { signer, roster }
            });
        }
    }

    pub(super) fn content(&mut self, files: &Files) -> Result<Option<Inner>, EvidenceError> {
        let Some(body) = &files.body else {
            let lonely = |_| EvidenceError::FileMissing { name: "body.bin".into() };
            return files.opening.as_ref().map_or(Ok(None), |opening| Err(lonely(opening)));
        };
        let verified = self.with_body(files.header.clone(), &self.sealed, body.clone())?;
        self.facts.push(Fact::BodyIntact { bytes: body.len() });
        let Some(opening) = &files.opening else { return Ok(None) };
        let key = ContentKey::from_slice(opening).ok_or(EvidenceError::Opening(OpenError::BadWrap))?;
        let inner = open_with_key(&verified, &key).map_err(EvidenceError::Opening)?;
        self.facts.push(Fact::Opened);
        Ok(Some(inner))
    }

    fn with_body(&self, header: Bytes, sealed: &Sealed, body: Bytes) -> Result<VerifiedEnvelope, EvidenceError> {
        let envelope = Envelope { header, signature: sealed.signature.clone(), wraps: Vec::new(), body };
        let roster = self.roster_at(sealed.header.created).ok_or(EvidenceError::Body)?;
        envelope::verify(envelope, &sealed.header.federation, roster).map_err(|_| EvidenceError::Body)
    }

    /// [EVID-8] A later envelope of the same message: the same rules, sender, recipients and content.
    pub(super) fn attempt(&mut self, file: &Entry, content: Option<&Inner>) -> Result<(), EvidenceError> {
        let wrong = |detail: &str| EvidenceError::Attempt { file: file.name.clone(), detail: detail.into() };
        let content = content.ok_or_else(|| wrong("a later envelope needs the message that opening.bin opens"))?;
        let AttemptFile { header: bytes, signature, body, opening } =
            codec::decode("attempt", &file.data, ATTEMPT_BYTES_MAX)
                .map_err(|error| EvidenceError::Malformed { file: file.name.clone(), error })?;
        let header = Header::decode(&bytes).map_err(|error| wrong(&error.to_string()))?;
        let sealed = Sealed { id: message_id(&bytes), header, signature };
        let (version, issued) = self.signed(&file.name, &sealed)?;
        let to = |header: &Header| header.recipients.iter().map(|recipient| recipient.id.clone()).collect::<Vec<_>>();
        if sealed.header.sender != self.sealed.header.sender || to(&sealed.header) != to(&self.sealed.header) {
            return Err(wrong("it has another sender or other recipients than header.bin"));
        }
        let verified = self.with_body(bytes, &sealed, body);
        let verified = verified.map_err(|_| wrong("its body is not the body that was signed"))?;
        let key = ContentKey::from_slice(&opening).ok_or(EvidenceError::Opening(OpenError::BadWrap))?;
        let inner = open_with_key(&verified, &key).map_err(|error| wrong(&error.to_string()))?;
        if !is_same_message(self.sealed.id, content, sealed.id, &inner) {
            return Err(wrong("it is not the same message, sealed anew"));
        }
        self.tell_left_out(version, issued);
        let Header { sender, sender_key, created, .. } = sealed.header.clone();
        self.facts.push(Fact::Attempt { envelope: sealed.id });
        self.facts.push(Fact::Time { event: "sealed anew", by: sender.clone(), at: created });
        self.tell_removal(&sender, sender_key, version, created);
        self.attempts.push(sealed);
        Ok(())
    }

    pub(super) fn bundle(&mut self, file: &Entry) -> Result<(), EvidenceError> {
        let name = || file.name.clone();
        let signed = SignedBundle::decode(&file.data);
        let signed = signed.map_err(|error| EvidenceError::Malformed { file: name(), error })?;
        let created = self.sealed.header.created;
        let roster = self.roster_at(created).ok_or_else(|| EvidenceError::BundleUnused { file: name() })?;
        // Judged at its time of issue, but never after the message: `at` is when the sender used it.
        let verified = verify_bundle(signed, &self.sealed.header.federation, roster, created);
        let verified = verified.map_err(|error| EvidenceError::Bundle { file: name(), error })?;
        let bundle = verified.bundle();
        let mut recipients = self.sealed.header.recipients.iter().filter(|recipient| recipient.id == bundle.agency);
        let in_time = |key: &&PrekeyEntry| {
            created.after(limits::PREKEY_TOLERANCE) >= key.not_before
                && created <= key.not_after.after(limits::PREKEY_TOLERANCE)
        };
        let used = |prekey| bundle.keys.iter().filter(in_time).any(|key| key.prekey_id() == prekey);
        if !recipients.any(|recipient| used(recipient.prekey_id)) {
            return Err(EvidenceError::BundleUnused { file: name() });
        }
        self.facts.push(Fact::SealedTo { recipient: bundle.agency.clone() });
        Ok(())
    }

    pub(super) fn receipts(&mut self, files: &[Entry]) -> Result<(), EvidenceError> {
        let mut statements = Vec::new();
        for file in files {
            statements.push(self.statement(file)?);
        }
        let mut by_issuer: BTreeMap<NodeId, Vec<SignedReceipt>> = BTreeMap::new();
        for (receipt, statement) in &statements {
            let body = statement.body();
            by_issuer.entry(body.issuer.clone()).or_default().push(receipt.clone());
            self.tell_removal(&body.issuer, body.issuer_key, body.roster_version, body.time);
        }
        statements.sort_by_key(|(_, statement)| statement.body().time);
        let mut told = Told::new(self.sealed.header.created);
        for (receipt, statement) in statements {
            let facts = told.facts(&self.sealed.header, &receipt, &statement);
            self.facts.extend(facts);
        }
        self.bracket(&told.custody);
        for (issuer, receipts) in by_issuer {
            let findings = audit(&receipts).unwrap_or_default();
            if findings.iter().any(|finding| matches!(finding, ChainFinding::Equivocation(_))) {
                self.facts.push(Fact::Equivocation { issuer });
            }
        }
        Ok(())
    }

    /// [EVID-4] [EVID-5] Verifies one receipt under the roster that it names, and that it is about this message alone.
    fn statement(&self, file: &Entry) -> Result<(SignedReceipt, Statement), EvidenceError> {
        let name = || file.name.clone();
        let malformed = |error| EvidenceError::Malformed { file: name(), error };
        let packed: SignedStatement = codec::decode("receipt", &file.data, STATEMENT_BYTES_MAX).map_err(malformed)?;
        let receipt = SignedReceipt::decode(&packed.receipt).map_err(malformed)?;
        let version = receipt.decode_body().map_err(malformed)?.roster_version;
        let Some(roster) = self.rosters.get(&version) else {
            return Err(EvidenceError::RosterMissing { file: name(), need: format!("version {version}") });
        };
        let verified = verify_statement(&packed, roster);
        let statement = verified.map_err(|error| EvidenceError::Receipt { file: name(), error })?;
        if self.concerns(&statement) {
            Ok((receipt, statement))
        } else {
            Err(EvidenceError::OtherMessage { file: name() })
        }
    }

    fn concerns(&self, statement: &Statement) -> bool {
        let is_recipient = |agency: &AgencyId| self.sealed.header.recipient_index(agency).is_some();
        let exists = |index: &u16| usize::from(*index) < self.sealed.header.recipients.len();
        // All envelopes have the same recipients, in the same order.
        let is_here = |id: MessageId| id == self.sealed.id || self.attempts.iter().any(|attempt| attempt.id == id);
        match statement {
            Statement::Custody(_, leaves) => {
                leaves.iter().all(|leaf| is_here(leaf.id) && leaf.indices.iter().all(exists))
            }
            Statement::Delivered(_, leaves) => {
                leaves.iter().all(|leaf| is_here(leaf.id) && is_recipient(&leaf.recipient))
            }
            Statement::Read(_, facts) => is_here(facts.id) && is_recipient(&facts.recipient),
            Statement::Refused(_, facts) => is_here(facts.id) && is_recipient(&facts.recipient),
        }
    }

    /// Independent witnesses of the time: relays of different regions.
    fn bracket(&mut self, custody: &[(NodeId, RosterVersion, Timestamp)]) {
        let region = |(relay, version, _): &(NodeId, RosterVersion, Timestamp)| {
            self.rosters.get(version)?.relay(relay).map(|relay| relay.region.clone())
        };
        let regions = custody.iter().filter_map(region).collect::<BTreeSet<_>>().len();
        let times = custody.iter().map(|(_, _, at)| *at);
        if let (2.., Some(from), Some(to)) = (regions, times.clone().min(), times.max()) {
            self.facts.push(Fact::Bracketed { regions, from, to });
        }
    }
}

/// The name of the message that the envelope `id` carries: the first envelope of its chain.
fn first_of(id: MessageId, content: &Inner) -> MessageId {
    match &content.content {
        Content::Message(message) => message.chain.map_or(id, |chain| chain.first),
        Content::Receipts(_) | Content::Notice(_) => id,
    }
}

/// Whether two envelopes carry one message: the same in all but `chain`, and of one chain.
fn is_same_message(id: MessageId, content: &Inner, later: MessageId, again: &Inner) -> bool {
    let (Content::Message(one), Content::Message(other)) = (&content.content, &again.content) else { return false };
    let other_bare = Message { chain: one.chain, ..other.clone() };
    first_of(id, content) == first_of(later, again) && *one == other_bare
}

/// A key id in lower-case hex.
fn text_key_id(text: &str) -> Option<KeyId> {
    text::from_hex(text).map(KeyId)
}
