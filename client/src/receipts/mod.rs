//! Receipts: those that this agency owes, and those that come in.

pub(crate) mod due;
pub(crate) mod maker;
mod take;

pub(crate) use maker::make_receipts;
