//! Prekey bundles in a node: checked, kept, and dropped with their signer. [`crate::bundle_exchange`] has their way to it.
//!
//! Everything that leaves the store here has been asked of the roster in force ([`bundles::KnownBundle`]).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use liaison_core::op::{Op, Table};
use liaison_core::{Event, LinkKey, NodeKind};
use liaison_protocol::frame::Bundle;
use liaison_protocol::prekey::{BundleError, BundlePosition, PrekeyBundle, SignedBundle, VerifiedBundle, signer_of};
use liaison_protocol::roster::Roster;
use liaison_protocol::{AgencyId, Hash, KeyId, Timestamp, codec, limits};
use serde::{Deserialize, Serialize};

use crate::Driver;
use crate::agency::{ForeignBundle, OwnEvent};
use crate::bundles;
use crate::bundles::{AdmitError, KnownBundle};
use crate::output::Metric;
use crate::requests::Waiter;
use crate::store_error::StoreError;
use crate::view::Reads;

const PROOF_PREFIX: &[u8] = b"prekey-proof/";
/// Proofs kept: one for each agency and signing key, and no more than these. Past them there is the alarm alone.
const PROOFS_MAX: usize = 256;
/// So long an equivocation is an alarm; its proof is kept.
const ALARM: Duration = Duration::from_secs(7 * 86_400);

/// A node's knowledge of bundles beside its store.
#[derive(Default)]
pub(crate) struct Prekeys {
    /// Bundles whose commit is under way: the store does not show them yet.
    writing: BTreeMap<AgencyId, BundlePosition>,
    /// Agencies of the roster whose bundle has a signer that this roster does not know: the next one may.
    unknown_signer: BTreeSet<AgencyId>,
    equivocations: BTreeMap<AgencyId, Equivocation>,
    proofs: usize,
}

/// An agency that signed two bundles of one number.
#[derive(Clone, Copy)]
struct Equivocation {
    at: Timestamp,
    position: BundlePosition,
    signer: KeyId,
    issued: Timestamp,
}

/// Both bundles, for whoever judges.
#[derive(Serialize, Deserialize)]
struct Proof {
    at: Timestamp,
    first: Bytes,
    second: Bytes,
}

impl Prekeys {
    /// Reads the proofs that are kept.
    pub(crate) fn restore(store: &dyn Reads) -> Result<Self, StoreError> {
        let mut prekeys = Self::default();
        for (_, record) in store.scan(Table::Meta, PROOF_PREFIX, None, PROOFS_MAX)? {
            prekeys.proofs += 1;
            if let Some((agency, equivocation)) = read_proof(&record) {
                prekeys.equivocations.insert(agency, equivocation);
            }
        }
        Ok(prekeys)
    }

    /// Alarms about agencies that signed two bundles of one number, while their signers are valid.
    pub(crate) fn alarms(&self, roster: &Roster, now: Timestamp) -> Vec<String> {
        let stands = |(agency, found): &(&AgencyId, &Equivocation)| {
            now.since(found.at) < ALARM && signer_of(agency, found.signer, found.issued, roster, now).is_some()
        };
        let text = |(agency, found): (&AgencyId, &Equivocation)| {
            let BundlePosition { epoch, seq } = found.position;
            let key = found.signer;
            format!(
                "two prekey bundles of {agency} with one number (epoch {epoch}, number {seq}), signed by key {key}: its \
                 daemon runs twice, or its key is stolen; tell its operator"
            )
        };
        self.equivocations.iter().filter(stands).map(text).collect()
    }
}

fn read_proof(record: &[u8]) -> Option<(AgencyId, Equivocation)> {
    let proof: Proof = codec::decode("bundle proof", record, 4 * limits::BUNDLE_BYTES_MAX).ok()?;
    let signed = SignedBundle::decode(&proof.second).ok()?;
    let bundle: PrekeyBundle = codec::decode("bundle proof", &signed.bundle, limits::BUNDLE_BYTES_MAX).ok()?;
    let (position, issued) = (bundle.position(), bundle.issued);
    Some((bundle.agency, Equivocation { at: proof.at, position, signer: signed.key, issued }))
}

impl Driver {
    pub(crate) fn known_bundle(&self, agency: &AgencyId) -> Result<Option<KnownBundle>, StoreError> {
        bundles::get(&*self.store, agency, &self.roster, self.now())
    }

    pub(crate) fn is_own(&self, agency: &AgencyId) -> bool {
        self.kind == NodeKind::Daemon && *agency == self.me.to_agency()
    }

    /// A bundle of a peer after its check on a worker. Whether it is on its way into the store.
    pub(crate) fn handle_bundle_checked(
        &mut self,
        link: LinkKey,
        frame: &Bundle,
        outcome: Result<KnownBundle, AdmitError>,
    ) -> bool {
        let outcome = match outcome {
            Ok(known) => match self.still_newer(known) {
                Ok(outcome) => outcome,
                Err(error) => {
                    self.fail(error);
                    return false;
                }
            },
            Err(error) => Err(error),
        };
        match outcome {
            Ok(known) if self.is_own(&known.bundle().agency) => self.met_foreign(known.verified()),
            Ok(known) => {
                let (agency, position) = (known.bundle().agency.clone(), known.position());
                self.prekeys.unknown_signer.remove(&agency);
                self.prekeys.writing.insert(agency.clone(), position);
                let ops = vec![bundles::put(&agency, frame)];
                let ticket = self.ticket(Waiter::Bundle { agency, position, link });
                self.apply(Event::Records { ticket, ops });
                return true;
            }
            Err(AdmitError::NotNewer { .. }) => {}
            Err(AdmitError::Equivocation(second)) => {
                if self.is_own(&second.bundle().agency) {
                    self.met_foreign(&second);
                }
                self.note_equivocation(&second);
            }
            Err(error) => {
                if let AdmitError::NotVerified(BundleError::UnknownSigner { agency, .. }) = &error
                    && self.roster.agency(agency).is_some()
                {
                    self.prekeys.unknown_signer.insert(agency.clone());
                }
                tracing::warn!(%error, "a prekey bundle was refused");
            }
        }
        false
    }

    /// Since a worker looked, the roster may have changed, and another bundle may have come.
    fn still_newer(&self, known: KnownBundle) -> Result<Result<KnownBundle, AdmitError>, StoreError> {
        let (now, bundle) = (self.now(), known.bundle());
        let agency = bundle.agency.clone();
        if !known.counts(&self.roster, now) {
            let error = BundleError::UnknownSigner { agency, key: known.signer() };
            return Ok(Err(error.into()));
        }
        if self.prekeys.writing.get(&agency).is_some_and(|writing| *writing >= known.position()) {
            return Ok(Err(AdmitError::NotNewer { agency }));
        }
        Ok(known.newer_than(self.known_bundle(&agency)?.as_ref(), now))
    }

    /// Somebody else publishes in this agency's name ([PREKEY-9]).
    fn met_foreign(&mut self, verified: &VerifiedBundle) {
        let (bundle, signed) = (verified.bundle(), verified.signed());
        let hash = Hash::of(&[&signed.bundle]);
        let foreign = ForeignBundle { position: bundle.position(), issued: bundle.issued, signer: signed.key, hash };
        self.progress(OwnEvent::ForeignBundle(foreign));
    }

    /// [PREKEY-2] Keeps both, and stays on the first.
    fn note_equivocation(&mut self, second: &VerifiedBundle) {
        let (agency, now) = (&second.bundle().agency, self.now());
        let (position, signer, issued) = (second.bundle().position(), second.signed().key, second.bundle().issued);
        let BundlePosition { epoch, seq } = position;
        let key = [PROOF_PREFIX, agency.as_str().as_bytes(), b"/", &signer.0].concat();
        let (kept, first) = match (self.store.get(Table::Meta, &key), self.known_bundle(agency)) {
            (Ok(kept), Ok(first)) => (kept, first),
            (Err(error), _) | (_, Err(error)) => return self.fail(error),
        };
        let seen = self.prekeys.equivocations.get(agency).is_some_and(|seen| seen.position == position);
        self.prekeys.equivocations.insert(agency.clone(), Equivocation { at: now, position, signer, issued });
        if !seen {
            tracing::error!(%agency, epoch, seq, key = %signer, "two prekey bundles of one number: its daemon runs twice, or its key is stolen");
            self.measure(Metric::PrekeyEquivocation);
        }
        if let (None, Some(first), true) = (kept, first, self.prekeys.proofs < PROOFS_MAX) {
            self.prekeys.proofs += 1;
            let proof = Proof { at: now, first: first.frame().bundle.clone(), second: second.signed().encode().into() };
            self.commit_records(vec![Op::Put { table: Table::Meta, key, value: codec::encode(&proof).into() }]);
        }
    }

    /// It is durable; or the disk was full.
    pub(crate) fn bundle_written(&mut self, agency: AgencyId, position: BundlePosition, link: LinkKey, done: bool) {
        if self.prekeys.writing.get(&agency) == Some(&position) {
            self.prekeys.writing.remove(&agency);
        }
        self.bundle_stored(&agency, position, link, done);
        if done {
            self.progress(OwnEvent::Bundle { agency });
        }
    }

    /// A roster has taken effect: bundles whose signer it has ended go, and peers are asked for what may stand now.
    pub(crate) fn follow_signers(&mut self) {
        let ended = match bundles::ended(&*self.store, &self.roster) {
            Ok(ended) => ended,
            Err(error) => return self.fail(error),
        };
        // What is being written may be good: if it is not, it reads as none. What this agency made is its own affair.
        let ended =
            ended.into_iter().filter(|agency| !self.prekeys.writing.contains_key(agency) && !self.is_own(agency));
        let ended: Vec<AgencyId> = ended.collect();
        for agency in &ended {
            tracing::warn!(%agency, "the roster has ended the signer of its prekeys: nothing is sealed to them any more");
        }
        self.commit_records(ended.iter().map(bundles::delete).collect());
        self.forget_bundles(&ended);
        let mut wanted = std::mem::take(&mut self.prekeys.unknown_signer);
        wanted.extend(ended);
        wanted.retain(|agency| self.roster.agency(agency).is_some());
        self.want_bundles(&wanted);
    }
}
