//! Frames with which two relays compare what went from one to the other (SPEC.md, "Conservation").

use serde::{Deserialize, Serialize};

use super::{FrameType, Payload, is_ascending};
use crate::bounded::list;
use crate::codec::Malformed;
use crate::hash::Hash;
use crate::ids::MessageId;
use crate::label;
use crate::time::Hour;

/// Hours in one frame: more than tallies are kept for.
pub const TALLY_HOURS_MAX: usize = 1024;
/// Items of one roll.
pub const ROLL_ITEMS_MAX: usize = 4096;

/// How many entries, and the sum of their hashes modulo 2^256: the same for the same entries in whatever order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Entries.
    pub count: u64,
    /// The sum, most significant byte first.
    pub sum: Hash,
}

/// Of nothing.
impl Default for Tally {
    fn default() -> Self {
        Self { count: 0, sum: Hash::ZERO }
    }
}

impl Tally {
    /// Of one entry.
    #[must_use]
    pub fn of(id: &MessageId, index: u16, attempt: u8) -> Self {
        let sum = Hash::of(&[label::TALLY, &id.0.0, &index.to_be_bytes(), &[attempt]]);
        Self { count: 1, sum }
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Self) {
        self.count = self.count.wrapping_add(other.count);
        let mut carry = false;
        for (sum, add) in self.sum.0.iter_mut().zip(&other.sum.0).rev() {
            let (once, over) = sum.overflowing_add(*add);
            let (twice, over_again) = once.overflowing_add(u8::from(carry));
            (*sum, carry) = (twice, over || over_again);
        }
    }
}

/// One hour's tally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HourTally {
    /// In which the releasing relay accepted custody, by its clock.
    pub hour: Hour,
    /// Of the entries.
    pub tally: Tally,
}

/// What the sender of this frame has released to the receiver, in some hours.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tallies {
    /// Strictly ascending by hour.
    #[serde(deserialize_with = "list::<_, _, TALLY_HOURS_MAX>")]
    pub hours: Vec<HourTally>,
}

/// What the answering relay has accepted instead, in those of the hours where it counted otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TalliesAnswer {
    /// Strictly ascending by hour.
    #[serde(deserialize_with = "list::<_, _, TALLY_HOURS_MAX>")]
    pub hours: Vec<HourTally>,
}

/// One entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RollItem {
    /// The message.
    pub id: MessageId,
    /// Which of the header's recipients.
    pub index: u16,
}

/// Which of these do you not remember?
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Roll {
    /// At least one; strictly ascending.
    #[serde(deserialize_with = "list::<_, _, ROLL_ITEMS_MAX>")]
    pub items: Vec<RollItem>,
}

/// These.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RollAnswer {
    /// Places in the roll's items, strictly ascending.
    #[serde(deserialize_with = "list::<_, _, ROLL_ITEMS_MAX>")]
    pub unknown: Vec<u16>,
}

/// One of the four.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// What was released.
    Tallies(Tallies),
    /// What was accepted, where it differs.
    TalliesAnswer(TalliesAnswer),
    /// What of this is not remembered?
    Roll(Roll),
    /// That.
    RollAnswer(RollAnswer),
}

// [FRAME-3]
fn check_hours(what: &'static str, hours: &[HourTally]) -> Result<(), Malformed> {
    super::control::at_most(what, hours, TALLY_HOURS_MAX)?;
    super::control::ascending(what, hours.iter().map(|hour| &hour.hour))
}

impl Payload for Tallies {
    const TYPE: FrameType = FrameType::Tallies;

    fn check(&self) -> Result<(), Malformed> {
        check_hours("tallies", &self.hours)
    }
}

impl Payload for TalliesAnswer {
    const TYPE: FrameType = FrameType::TalliesAnswer;

    fn check(&self) -> Result<(), Malformed> {
        check_hours("tallies answer", &self.hours)
    }
}

impl Payload for Roll {
    const TYPE: FrameType = FrameType::Roll;

    fn check(&self) -> Result<(), Malformed> {
        super::control::at_most("roll", &self.items, ROLL_ITEMS_MAX)?;
        if self.items.is_empty() {
            return Err(Malformed::Rule { what: "roll", rule: "at least one item" });
        }
        for item in &self.items {
            super::lane::check_indices("roll", &[item.index])?;
        }
        super::control::ascending("roll", self.items.iter())
    }
}

impl Payload for RollAnswer {
    const TYPE: FrameType = FrameType::RollAnswer;

    fn check(&self) -> Result<(), Malformed> {
        super::control::at_most("roll answer", &self.unknown, ROLL_ITEMS_MAX)?;
        if is_ascending(&self.unknown) && self.unknown.iter().all(|place| usize::from(*place) < ROLL_ITEMS_MAX) {
            return Ok(());
        }
        Err(Malformed::Rule { what: "roll answer", rule: "strictly ascending places in a roll" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_wrap_around_and_do_not_depend_on_the_order() {
        let all_ones = Tally { count: 1, sum: Hash([0xff; 32]) };
        let mut one = Hash::ZERO;
        one.0[31] = 1;
        let mut sum = all_ones;
        sum.add(&Tally { count: 1, sum: one });
        assert_eq!(sum, Tally { count: 2, sum: Hash::ZERO });
        let of = |n: u8| Tally::of(&MessageId(Hash([n; 32])), 0, 1);
        let add = |order: [u8; 3]| {
            order.iter().fold(Tally::default(), |mut sum, n| {
                sum.add(&of(*n));
                sum
            })
        };
        assert_eq!(add([1, 2, 3]), add([3, 1, 2]));
        assert_ne!(add([1, 2, 3]), add([1, 2, 4]));
    }
}
