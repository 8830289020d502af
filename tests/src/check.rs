//! One thing that must hold, with its figures: a line of a table.

use std::fmt;

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// Of what.
    pub what: String,
    /// Whether it does.
    pub holds: bool,
    /// The figures.
    pub detail: String,
}

impl fmt::Display for Check {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.holds { "sound" } else { "BROKEN" };
        write!(f, "{:<30} {verdict:<6}  {}", self.what, self.detail)
    }
}
