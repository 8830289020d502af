//! Many real cores in one thread: network, disk, clock and crashes come from one seed.
//!
//! ```text
//!  Plan (swarm: each seed draws its own sizes and faults)
//!    └─► World: nodes with real cores and simulated disks ── events in order of time ──► Trace
//!                                                                                        └─► Checker
//! ```
//!
//! The cores, the codecs, sealing, signatures and verification are the product's own. A seed gives the same trace every
//! time.

mod checker;
mod disk;
mod fixture;
mod node;
mod plan;
mod rng;
mod world;

pub use checker::{Violation, check};
pub use plan::Plan;
pub use world::{Report, Submitted, run};
