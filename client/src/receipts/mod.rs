//! Receipts: those that this agency owes, and those that come in.

pub(crate) mod due;
pub(crate) mod fresh;
pub(crate) mod maker;
pub(crate) mod reminders;
mod take;
#[cfg(test)]
mod tests;

pub(crate) use maker::make_receipts;
