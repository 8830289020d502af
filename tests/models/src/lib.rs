//! Small models of what must never go wrong, explored to the last state.
//!
//! [`custody`] is custody transfer with resubmission; [`meeting`] is two copies of one message that meet; [`rosters`] is the
//! spreading of rosters with forks, and [`prekeys`] that of prekey bundles whose signing key was stolen, both around the
//! product's own decisions. Each has planted bugs as switches: a checker that does not find them proves nothing.

#![expect(clippy::expect_used, clippy::indexing_slicing, reason = "a model fails loudly, where the test can be read")]

pub mod custody;
pub mod meeting;
pub mod prekeys;
pub mod rosters;

#[path = "../../src/draw.rs"]
#[expect(unreachable_pub, dead_code, reason = "shared with the other tests, which use more of it")]
mod draw;
