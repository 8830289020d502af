//! The benchmark: two real relay processes, and two agencies' nodes in this process.

mod hold;
mod line;
mod loopback;
mod measure;
mod ways;
pub mod yardsticks;

pub use hold::{outage, queued};
pub use line::Line;
pub use measure::{Load, Measured, Sealing, pipeline};
pub use ways::ways;
