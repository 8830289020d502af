//! Skeleton.

pub mod api;
