//! New versions of the roster.

use std::time::Duration;

use liaison_protocol::AgencyId;
use liaison_protocol::precedence::Precedence;
use liaison_protocol::roster::{AgencyStatus, AgreementEntry, AnchorError, Party, Roster, RosterDocument, RosterError};

use crate::federation::Federation;
use crate::files::{self, Access, FileError};
use crate::keys::{self, KeyError};
use crate::{now, rng};

/// A roster could not be read, signed or written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// `roots.json`.
    #[error(transparent)]
    Anchor(#[from] AnchorError),
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A root key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The roster on disk, or the new one: nothing was written.
    #[error(transparent)]
    Roster(#[from] RosterError),
}

/// How long a roster holds, where nothing else is asked.
pub(crate) const VALIDITY: Duration = Duration::from_secs(60 * 86_400);

impl Federation {
    /// Signs what follows the roster on disk after `change`, and writes it where all nodes read it. Nodes take it on
    /// SIGHUP, and then pass it on to each other.
    ///
    /// # Errors
    /// [`PublishError`]; the roster on disk stays as it was.
    pub fn publish(&self, change: impl FnOnce(&mut RosterDocument)) -> Result<Roster, PublishError> {
        let current = self.roster()?;
        let signed = self.sign_next(&current, change)?;
        let next = Roster::verify_next(&signed, &current)?;
        files::write(&self.roster_path(), &signed, Access::Public)?;
        Ok(next)
    }

    /// Signs what follows `previous` after `change`, as any roster whatsoever: tests want older ones, forks and
    /// broken ones. Writes nothing.
    ///
    /// # Errors
    /// The root keys cannot be read.
    pub fn sign_next(
        &self,
        previous: &Roster,
        change: impl FnOnce(&mut RosterDocument),
    ) -> Result<Vec<u8>, PublishError> {
        let now = now().max(previous.issued());
        let mut document = RosterDocument::after(previous, now, now.after(VALIDITY));
        change(&mut document);
        let trusted = &previous.document().roots;
        let roots = keys::open_roots(&self.root_keys(), &trusted.keys, usize::from(trusted.threshold))?;
        Ok(document.sign(&roots.iter().collect::<Vec<_>>(), &mut rng()))
    }
}

/// Takes `agency` out of the roster, with the agreements that name it.
pub fn remove_agency(roster: &mut RosterDocument, agency: &AgencyId) {
    let party = Party::Agency(agency.clone());
    roster.agencies.retain(|entry| entry.id != *agency);
    roster.agreements.retain(|entry| entry.from != party && entry.to != party);
}

/// Suspends `agency`, or lets it take part again. No such agency: nothing happens.
pub fn set_status(roster: &mut RosterDocument, agency: &AgencyId, status: AgencyStatus) {
    roster.agencies.iter_mut().filter(|entry| entry.id == *agency).for_each(|entry| entry.status = status);
}

/// Lets `from` write to `to`, in place of what was agreed for this pair.
pub fn agree(roster: &mut RosterDocument, from: Party, to: Party, max_precedence: Precedence) {
    disagree(roster, &from, &to);
    roster.agreements.push(AgreementEntry { from, to, max_precedence, quota_bytes: None });
}

/// Ends the agreement for this pair. A wider one may still hold.
pub fn disagree(roster: &mut RosterDocument, from: &Party, to: &Party) {
    roster.agreements.retain(|entry| entry.from != *from || entry.to != *to);
}
