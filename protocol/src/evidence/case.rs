//! One message, judged from its rosters up to its receipts.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::archive::Entry;
use super::manifest::{self, EVIDENCE_TYPE};
use super::told::Told;
use super::verdict::{Fact, Verdict};
use super::verify::{EvidenceError, Files};
use crate::codec;
use crate::envelope::{self, ContentKey, Envelope, Header, message_id, signed_message};
use crate::ids::{AgencyId, KeyId, MessageId, NodeId};
use crate::inner::{Inner, SignedStatement};
use crate::limits;
use crate::open::{OpenError, open_with_key};
use crate::prekey::{PrekeyEntry, SignedBundle, verify_bundle};
use crate::receipt::{ChainFinding, SignedReceipt, Statement, audit, verify_statement};
use crate::roster::{Dsse, History, Roster, RosterVersion, text};
use crate::sign::Signature;
use crate::time::Timestamp;

/// Clocks of different nodes may differ by this much before times are called out of order.
pub(super) const CLOCK_TOLERANCE: Duration = limits::CLOCK_AHEAD_MAX;
/// Bytes of an encoded statement at most.
const STATEMENT_BYTES_MAX: usize = 1024 * 1024;

/// One message and what is known about it so far.
pub(super) struct Case {
    id: MessageId,
    header: Header,
    signature: Signature,
    rosters: BTreeMap<RosterVersion, Roster>,
    facts: Vec<Fact>,
    /// Nodes whose removal from later rosters has been told.
    removed: BTreeSet<(NodeId, KeyId)>,
}

impl Case {
    pub(super) fn new(files: &Files, history: History) -> Result<Self, EvidenceError> {
        let rosters: BTreeMap<RosterVersion, Roster> =
            history.rosters.into_iter().map(|roster| (roster.version(), roster)).collect();
        let header = Header::decode(&files.header)?;
        let what = "signature.bin";
        let signature = codec::decode(what, &files.signature, limits::SIGNATURE_BYTES_MAX + 8);
        let signature = signature.map_err(|error| EvidenceError::Malformed { file: what.into(), error })?;
        let mut facts = Vec::new();
        if let (Some(first), Some(last)) = (rosters.keys().next(), rosters.keys().next_back()) {
            facts.push(Fact::Rosters { first: *first, last: *last });
        }
        facts.extend(history.by_first_roots.map(|through| Fact::RostersByFirstRoots { through }));
        Ok(Self { id: message_id(&files.header), header, signature, rosters, facts, removed: BTreeSet::new() })
    }

    pub(super) fn verdict(self, content: Option<Inner>) -> Verdict {
        Verdict { message: self.id, facts: self.facts, content }
    }

    /// The latest roster in the bundle that was issued by `at`.
    fn roster_at(&self, at: Timestamp) -> Option<&Roster> {
        self.rosters.values().rev().find(|roster| roster.issued() <= at.after(CLOCK_TOLERANCE))
    }

    pub(super) fn exporter(&mut self, checked: &manifest::Checked) -> Result<(), EvidenceError> {
        let exporter = checked.manifest.exporter();
        if !checked.manifest.is_about(&self.id) {
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
        let Header { sender, sender_key, created, precedence, .. } = self.header.clone();
        let missing = || EvidenceError::RosterMissing {
            file: "header.bin".into(),
            need: format!("the one in force at {created}"),
        };
        let in_force = |roster: &&Roster| created <= roster.expires().after(limits::ROSTER_GRACE);
        let roster = self.roster_at(created).filter(in_force).ok_or_else(missing)?;
        if roster.federation() != self.header.federation {
            return Err(EvidenceError::Federation { found: self.header.federation });
        }
        let (version, issued) = (roster.version(), roster.issued());
        let Some(key) = roster.sign_key(&sender, sender_key, created) else {
            return Err(EvidenceError::UnknownSender { sender, key: sender_key, roster: version });
        };
        if key.verify(&signed_message(&self.id), &self.signature).is_err() {
            return Err(EvidenceError::Signature { sender });
        }
        self.facts.push(Fact::Signed { sender: sender.clone(), roster: version });
        let recipients = self.header.recipients.iter().map(|recipient| recipient.id.clone()).collect();
        self.facts.push(Fact::Addressed { recipients, precedence });
        self.facts.push(Fact::Time { event: "signed", by: sender.clone(), at: created });
        if !self.rosters.contains_key(&RosterVersion(version.0.saturating_add(1))) {
            self.facts.push(Fact::RostersLeftOut { used: version, issued });
        }
        self.tell_removal(&sender, sender_key, version, created);
        Ok(())
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
        let envelope = Envelope {
            header: files.header.clone(),
            signature: self.signature.clone(),
            wraps: Vec::new(),
            body: body.clone(),
        };
        let roster = self.roster_at(self.header.created).ok_or(EvidenceError::Body)?;
        let verified = envelope::verify(envelope, &self.header.federation, roster).map_err(|_| EvidenceError::Body)?;
        self.facts.push(Fact::BodyIntact { bytes: body.len() });
        let Some(opening) = &files.opening else { return Ok(None) };
        let key = ContentKey::from_slice(opening).ok_or(EvidenceError::Opening(OpenError::BadWrap))?;
        let inner = open_with_key(&verified, &key).map_err(EvidenceError::Opening)?;
        self.facts.push(Fact::Opened);
        Ok(Some(inner))
    }

    pub(super) fn bundle(&mut self, file: &Entry) -> Result<(), EvidenceError> {
        let name = || file.name.clone();
        let signed = SignedBundle::decode(&file.data);
        let signed = signed.map_err(|error| EvidenceError::Malformed { file: name(), error })?;
        let created = self.header.created;
        let roster = self.roster_at(created).ok_or_else(|| EvidenceError::BundleUnused { file: name() })?;
        // Judged at its time of issue, but never after the message: `at` is when the sender used it.
        let verified = verify_bundle(signed, &self.header.federation, roster, created);
        let verified = verified.map_err(|error| EvidenceError::Bundle { file: name(), error })?;
        let bundle = verified.bundle();
        let mut recipients = self.header.recipients.iter().filter(|recipient| recipient.id == bundle.agency);
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
        let mut told = Told::new(self.header.created);
        for (receipt, statement) in statements {
            let facts = told.facts(&self.header, &receipt, &statement);
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
        let is_recipient = |agency: &AgencyId| self.header.recipient_index(agency).is_some();
        let exists = |index: &u16| usize::from(*index) < self.header.recipients.len();
        match statement {
            Statement::Custody(_, leaves) => {
                leaves.iter().all(|leaf| leaf.id == self.id && leaf.indices.iter().all(exists))
            }
            Statement::Delivered(_, leaves) => {
                leaves.iter().all(|leaf| leaf.id == self.id && is_recipient(&leaf.recipient))
            }
            Statement::Read(_, facts) => facts.id == self.id && is_recipient(&facts.recipient),
            Statement::Refused(_, facts) => facts.id == self.id && is_recipient(&facts.recipient),
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

/// A key id in lower-case hex.
fn text_key_id(text: &str) -> Option<KeyId> {
    text::from_hex(text).map(KeyId)
}
