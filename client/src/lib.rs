//! An agency's side of Liaison: what its daemon keeps and does, and how programs ask it.

pub mod api;
pub mod at_rest;
pub mod prekeys;
