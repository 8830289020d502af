//! The place of a bundle among those of its agency, and the bound that the clock sets to it.

use serde::{Deserialize, Serialize};

use crate::limits;
use crate::mutant::{Mutant, planted};
use crate::time::Timestamp;

/// A bundle's `(epoch, seq)`: of two bundles that count, the higher one replaces the lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BundlePosition {
    /// Raised when the agency has lost private keys, or has met a bundle that it did not make.
    pub epoch: u32,
    /// Raised with every bundle of an epoch.
    pub seq: u64,
}

/// How a bundle follows those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Succession {
    /// The keys before it are still held.
    Continue,
    /// Keys were lost, or others have published in the agency's name.
    NewEpoch,
}

impl BundlePosition {
    /// [PREKEY-8] Whether a bundle that was issued at `issued` may stand here. So nobody, a thief of the signing key
    /// included, uses up the numbers: five minutes later there are higher ones.
    #[must_use]
    pub fn is_within(self, issued: Timestamp) -> bool {
        let seconds = issued.after(limits::CLOCK_AHEAD_MAX).as_millis() / 1000;
        planted(Mutant::BundleNumbersUnbounded) || u64::from(self.epoch) <= seconds && self.seq <= issued.as_millis()
    }

    /// Where the agency's next bundle stands, issued at `now`, after the highest that it knows of. `None`: what it knows
    /// of runs ahead of its clock; there is a place in some minutes.
    ///
    /// A new epoch is the time in seconds: higher than any before it, also where the old one was lost with the disk
    /// ([PREKEY-5]).
    #[must_use]
    pub fn next(highest: Option<Self>, succession: Succession, now: Timestamp) -> Option<Self> {
        let clock = u32::try_from(now.as_millis() / 1000).unwrap_or(u32::MAX);
        // Nobody whose clock is right has taken one that is further ahead: this clock was, and has been set back.
        let highest = highest.filter(|highest| highest.is_within(now.after(limits::CLOCK_AHEAD_MAX)));
        let Some(highest) = highest else { return Some(Self { epoch: clock, seq: 1 }) };
        let same = highest.seq.checked_add(1).map(|seq| Self { epoch: highest.epoch, seq });
        let new = highest.epoch.checked_add(1).map(|floor| Self { epoch: clock.max(floor), seq: 1 });
        let wishes = match succession {
            Succession::Continue => [same, new],
            Succession::NewEpoch => [new, same],
        };
        wishes.into_iter().flatten().find(|position| position.is_within(now))
    }
}
