//! Skeleton.

pub mod bundles;
pub mod local;
pub mod store;
