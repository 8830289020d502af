//! How much of each frame type a peer may send (SPEC.md, "Budgets").
//!
//! The figures are for a federation of 10,000 agencies and 1,000 relays on its worst honest day, doubled: a peer that
//! keeps to the protocol never meets them.

use super::FrameType;
use crate::role::Role;

/// What a peer may send of one frame type: at once, and for each second afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Frames at once.
    pub frames: u32,
    /// Frames that come back each minute.
    pub frames_per_minute: u32,
    /// Bytes at once, headers included. The frame that uses up the last of them may be longer than what is left.
    pub bytes: u32,
    /// Bytes that come back each second.
    pub bytes_per_s: u32,
}

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

impl Budget {
    const fn new(frames: u32, frames_per_minute: u32, bytes: u32, bytes_per_s: u32) -> Self {
        Self { frames, frames_per_minute, bytes, bytes_per_s }
    }
}

impl FrameType {
    /// What a peer of this role may send of this type on the control stream, after its hello. `None`: nothing, and a
    /// frame of this type is a violation.
    // [FRAME-4] [FRAME-5]
    #[must_use]
    pub const fn budget(self, from: Role) -> Option<Budget> {
        match (self, from) {
            // Each is asked for, and this side asks at its own pace: [FRAME-6] [FRAME-7].
            (Self::Roster, _) => Some(Budget::new(64, 60, 32 * MIB, MIB)),
            (Self::Bundle, _) => Some(Budget::new(20_000, 6_000, 64 * MIB, 16 * MIB)),
            (Self::RosterRequest, _) => Some(Budget::new(64, 60, 4 * KIB, KIB)),
            (Self::RosterOffer | Self::Time, _) => Some(Budget::new(32, 12, 4 * KIB, KIB)),
            (Self::BundleOffer, _) => Some(Budget::new(600, 120, 4 * MIB, 64 * KIB)),
            (Self::BundleRequest, _) => Some(Budget::new(600, 240, 4 * MIB, 64 * KIB)),
            (Self::Inquiry, Role::Agency) => Some(Budget::new(4_000, 24_000, 512 * KIB, 64 * KIB)),
            (Self::Inquiry | Self::InquiryAnswer, _) => Some(Budget::new(20_000, 120_000, 8 * MIB, MIB)),
            (Self::Custody, Role::Relay) => Some(Budget::new(100_000, 600_000, 64 * MIB, 16 * MIB)),
            (Self::Reach | Self::Presence, Role::Relay) => Some(Budget::new(2_000, 1_200, 8 * MIB, 256 * KIB)),
            (Self::Tallies | Self::TalliesAnswer, Role::Relay) => Some(Budget::new(60, 60, 4 * MIB, 64 * KIB)),
            (Self::Roll | Self::RollAnswer, Role::Relay) => Some(Budget::new(8, 240, MIB, MIB)),
            (Self::Custody | Self::Presence | Self::Reach, _)
            | (Self::Tallies | Self::TalliesAnswer | Self::Roll | Self::RollAnswer, _)
            | (Self::Hello | Self::LaneOpen | Self::Transfer | Self::Acks, _) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::FRAME_HEADER_BYTES;

    #[test]
    fn what_only_relays_say_has_no_budget_at_an_agency() {
        let only_relays =
            |frame: &FrameType| frame.budget(Role::Relay).is_some() && frame.budget(Role::Agency).is_none();
        let types: Vec<_> = FrameType::ALL.into_iter().filter(only_relays).map(FrameType::as_str).collect();
        assert_eq!(types, ["custody", "reach", "tallies", "tallies answer", "roll", "roll answer", "presence"]);
    }

    #[test]
    fn the_longest_frame_of_a_type_is_within_its_budget() {
        for (frame, role) in FrameType::ALL.into_iter().flat_map(|frame| [(frame, Role::Agency), (frame, Role::Relay)])
        {
            let Some(budget) = frame.budget(role) else { continue };
            assert!(budget.bytes as usize >= FRAME_HEADER_BYTES + frame.payload_bytes_max(), "{frame:?}");
            assert!(budget.frames > 0 && budget.frames_per_minute > 0 && budget.bytes_per_s > 0);
        }
    }
}
