//! Many real cores in one thread: network, disks, clocks, operators and crashes come from one seed.
//!
//! ```text
//!  seed ─► Plan (swarm: each seed draws its own sizes, mail and faults)
//!           └─► World: nodes with real cores and simulated disks ── events in order of time ──► Trace
//!                                                                                               └─► check
//!  a Plan that breaks something ─► shrink ─► a smaller one that still does
//! ```
//!
//! The cores, the codecs, sealing, signatures, verification, receipts and roster rules are the product's own. A seed
//! gives the same trace every time, byte for byte.

mod agency;
mod checker;
mod conserve;
mod disk;
mod draw;
mod faults;
mod figures;
mod fixture;
pub mod found;
mod hostile;
mod mail;
mod network;
mod node;
mod office;
mod perform;
mod plan;
mod records;
mod rng;
mod shrink;
mod trace;
mod world;

pub use checker::{Violation, check};
pub use figures::Figures;
pub use network::FrameFaults;
pub use plan::{Change, Fault, FaultKind, Homes, Mail, Offer, Pace, Place, Plan, Shape, Trick};
pub use shrink::shrink;
pub use trace::{AckFacts, Carried, Fact, MailKind, NodeNo, QueuePlace, Step, Told, Trace};
pub use world::{Report, run};
