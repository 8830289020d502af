//! Skeleton.

pub mod local;
pub mod store;
