//! The shell that relay and daemon share, with all their input and output.

pub mod clock;
pub mod config;
pub mod descriptors;
pub mod exit;
pub mod http;
pub mod link;
pub mod local;
pub mod metric;
pub mod operator;
pub mod run;
pub mod secrecy;
pub mod store;
pub mod text;

pub use liaison_driver::{audit, bundles, status};
