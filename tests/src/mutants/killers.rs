//! What is known to find each bug: a plan or a seed of the simulator, or a unit test. Where a seed no longer does, because what
//! seeds mean has changed, the hunt goes on from seed 0.

use liaison_protocol::mutant::Mutant;

/// What is known to find a bug.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Known {
    /// A plan that was written by hand, by its name.
    pub(super) plan: Option<&'static str>,
    pub(super) seed: Option<u64>,
    /// A part of a unit test's name.
    pub(super) unit: Option<&'static str>,
}

pub(super) fn known(mutant: Mutant) -> Known {
    Known { plan: plan(mutant), seed: seed(mutant), unit: unit(mutant) }
}

/// `cargo run … --bin mutants -- --seeds N --learn` prints this list anew.
const SEEDS: &str = include_str!("seeds.txt");

fn seed(mutant: Mutant) -> Option<u64> {
    let name = format!("{mutant:?}");
    SEEDS.lines().filter_map(|line| line.split_once(' ')).find(|(named, _)| *named == name)?.1.parse().ok()
}

const fn plan(mutant: Mutant) -> Option<&'static str> {
    match mutant {
        Mutant::SilenceIgnored => Some("lost behind whole daemons"),
        Mutant::HearsayIsWord => Some("a notice for a key that is lost"),
        Mutant::SubmissionKeyForgotten => Some("asked again after a crash"),
        _ => None,
    }
}

// tidy: one flat match
const fn unit(mutant: Mutant) -> Option<&'static str> {
    Some(match mutant {
        Mutant::MergedReleased => "what_was_said_to_be_held_while_it_was_sent_is_kept_whatever_the_answer",
        Mutant::PassedBetweenRelays => "what_another_relay_brings_back_is_taken_unless_it_ended_here",
        Mutant::LeavingIsHeld => "what_is_just_leaving_is_not_said_to_be_held",
        Mutant::LeaningAcknowledged => "a_copy_of_what_a_full_disk_did_not_take_is_not_said_to_be_held",
        Mutant::ChunksSentOnce => {
            "chunks_go_again_after_a_day_to_a_recipient_that_has_the_message_and_signs_for_nothing"
        }
        Mutant::LostChunksIgnored => "a_chunk_that_a_relay_has_lost_is_sent_once_more_to_whom_it_was_lost",
        Mutant::BodyHashUnchecked | Mutant::SignatureUnchecked => "a_flipped_bit_anywhere_in_an_envelope_is_refused",
        Mutant::WrapHashUnchecked => "a_relay_may_leave_wraps_out_and_can_neither_swap_nor_repeat_nor_invent_them",
        Mutant::CommitmentUnchecked => "a_second_content_key_fails_the_commitment_before_the_body_is_touched",
        Mutant::InnerUnchecked => "what_stands_inside_must_be_what_stands_outside",
        Mutant::PaddingUnchecked => "padding_that_is_not_exactly_right_fails_like_everything_else",
        Mutant::NonCanonicalDecoded => "an_overlong_varint_in_any_field_is_malformed",
        Mutant::RecipientsUnordered => "recipients_unsorted_twice_none_or_too_many_are_malformed",
        Mutant::ReceiptIssuerUnchecked => "a_delivery_receipt_of_anyone_but_the_recipient_is_refused",
        Mutant::LeafUnchecked => "every_fact_of_a_leaf_is_signed",
        Mutant::EquivocationUnseen => "two_receipts_of_one_number_are_proof_and_a_gap_is_a_warning",
        Mutant::NewRootsUnsigned => "new_roots_need_the_old_threshold_and_the_new_one",
        Mutant::RootSignatureUnchecked | Mutant::SignerCountsTwice | Mutant::ThresholdShortByOne => {
            "fewer_than_k_distinct_valid_root_signatures_are_refused"
        }
        Mutant::RosterNotNewer | Mutant::RosterPredecessorIgnored => {
            "older_and_equal_versions_and_a_wrong_predecessor_are_refused"
        }
        Mutant::ForkFollowed => "a_fork_is_proven_and_stops_updates_until_it_is_settled",
        Mutant::JumpUnlimited => "a_jump_of_more_than_a_thousand_versions_needs_an_operator",
        Mutant::PresenceIgnored => "reach_an_agency_that_is_linked_to_its_second_home_relay_only",
        Mutant::RemovedMailWaits => "removing_an_agency_ends_all_that_waits_for_it_in_notices_at_once",
        Mutant::LoopTaken => "a_home_relay_does_not_take_back_for_an_agency_that_is_not_linked_to_it",
        Mutant::HopsUnbounded => "two_home_relays_do_not_play_ball_for_ever_however_often_the_agency_moves",
        Mutant::FlashReserveForAll => "flash_has_a_reserve_of_its_own",
        Mutant::OneWayOnly => "each_other_home_gets_what_nobody_signs_for_once_whatever_is_claimed",
        Mutant::HoldStopsEveryPeer => "what_the_first_home_cannot_take_now_goes_by_the_second_at_once",
        Mutant::UnsignedLetsGo => "a_relay_lets_go_only_to_a_relay_that_has_signed_for_this_very_transfer",
        Mutant::ClockRefusesForGood => "what_comes_from_the_future_is_refused_for_now_whoever_sent_it",
        Mutant::ShareIgnored => "one_sender_neither_uses_up_a_queue_nor_its_reserve_of_flash",
        Mutant::BackoffIgnoresThePeer => "the_peers_own_time_is_never_undercut",
        Mutant::FederationUnchecked => "only_the_roster_says_whose_key_signs",
        Mutant::KeyTimeUnchecked => "signing_keys_hold_only_in_their_time",
        Mutant::LifetimeUnbounded => "a_lifetime_is_neither_negative_nor_longer_than_thirty_days",
        Mutant::ReceiptSignatureUnchecked => "a_delivery_receipt_of_anyone_but_the_recipient_is_refused",
        Mutant::ReceiptTimeUnchecked => "a_read_receipt_needs_its_delivery_and_times_follow_one_another",
        Mutant::LeaseIgnored => "a_store_that_is_put_back_repeats_no_receipts_number",
        Mutant::FaultTriedAgain => "a_fault_ends_the_writer_and_reaches_its_owner_and_all_who_wait",
        Mutant::HandedOverIsDurable => "whichever_batch_is_torn_by_a_power_cut_nothing_is_lost",
        Mutant::DamageCutOff => "a_flipped_bit_in_the_journal_is_a_fault_or_costs_the_last_batch",
        Mutant::AnyBatchFollows => "an_envelope_that_looks_like_a_batch_never_stops_a_start_after_a_power_cut",
        Mutant::OutOfOrderCutOff => "a_flipped_bit_in_a_batchs_number_never_costs_a_batch",
        Mutant::ProofsInACircle => "each_proof_goes_on_once_and_what_is_remembered_is_bounded",
        Mutant::OtherFormatOpened => "an_unknown_format_is_refused_in_words",
        Mutant::SubmissionKeyForgotten | Mutant::SubmissionContentIgnored => {
            "one_key_names_one_message_also_after_a_restart"
        }
        Mutant::SubmissionKeysTakeNoTurns => "keys_that_are_used_at_once_take_turns",
        Mutant::OutboxKeepsNoWraps => "until_its_receipt_is_in_a_message_can_be_sent_again_as_it_was",
        Mutant::OldKeySealed => "a_newer_key_is_sealed_to_from_the_next_message_on",
        Mutant::RevokedSignerCounts => "a_bundle_that_is_kept_counts_no_longer_than_its_signer",
        Mutant::BundleNumbersUnbounded => "numbers_that_run_ahead_of_the_clock_are_refused",
        Mutant::ForeignBundleIgnored => "a_foreign_bundle_is_published_above_with_an_alarm_everywhere",
        Mutant::UploadOffsetIgnored => "an_upload_goes_on_after_a_restart_where_it_stopped",
        Mutant::DamagedAttachmentSignedFor => {
            "an_attachment_that_is_not_what_its_message_announces_is_never_signed_for"
        }
        Mutant::ReceiptBeforeAttachments => "a_file_in_odd_pieces_arrives_whole_and_is_receipted_only_then",
        Mutant::InboxWithoutEvent | Mutant::NumbersStartAnew => {
            "the_event_stream_goes_on_after_a_restart_where_it_stopped"
        }
        Mutant::OpenNumbersShown => "readers_see_no_number_past_an_open_one",
        Mutant::CopyIsSecondMessage => "a_copy_is_no_second_message",
        Mutant::FeedTakesNoTurns => "a_chunk_that_is_lost_while_the_feed_is_ending_waits_for_that_and_is_sent_again",
        Mutant::CopyReceiptedInPart => "a_message_sealed_anew_is_receipted_when_its_attachments_are_here",
        Mutant::ForgottenWhileAlive => "what_is_read_stays_until_nothing_of_it_can_come",
        Mutant::AnyoneSupersedes => "nobody_supersedes_the_message_of_another_sender",
        Mutant::RecallInTwoCommits => "what_is_called_back_leaves_the_queue_in_the_commit_that_says_so",
        Mutant::HandOverForgotten => "what_is_not_handed_over_is_offered_again_after_a_restart",
        Mutant::SpentPrekeyKept => "a_spent_key_opens_nothing_any_more_and_leaves_no_slot",
        Mutant::SlotsRunOut => "a_clock_that_jumps_again_and_again",
        Mutant::UnannouncedUnbounded => "chunks_that_no_message_announces_have_a_budget",
        Mutant::ChunkNotCounted => "a_chunk_of_two_messages_goes_with_the_last",
        Mutant::RecordOpensAnywhere => "a_record_opens_only_where_it_was_written_and_unaltered",
        _ => return link_unit(mutant),
    })
}

const fn link_unit(mutant: Mutant) -> Option<&'static str> {
    Some(match mutant {
        Mutant::RostersUnasked => "a_roster_is_taken_once_for_each_question_and_otherwise_closes_the_link_by_its_head",
        Mutant::BudgetUncounted => "over_budget_the_control_stream_waits_and_dialing_anew_refills_nothing",
        Mutant::CrossingAbandoned | Mutant::UpBeforeDown => "two_relays_that_dial_each_other_at_once_keep_one_link",
        Mutant::DeafLinkTrusted | Mutant::ProbesGiveUp => "what_was_cut_moves_again_in_time_however_long_it_was_cut",
        Mutant::SilenceUncounted => "an_idle_peer_that_vanishes_is_noticed_after_fifteen_seconds",
        Mutant::ResetIsEnd | Mutant::SequenceUnchecked | Mutant::StandstillEndless => {
            "every_misdeed_ends_the_link_with_its_code_and_in_its_time"
        }
        Mutant::LaneMustOpenAtOnce => "bulk_that_waits_behind_all_else_does_not_end_its_link",
        Mutant::BatchReordered | Mutant::LastWordsUnread | Mutant::PeaceCutsOff => {
            "what_is_said_before_a_peaceful_end_arrives_also_at_a_node_that_is_behind"
        }
        Mutant::StreamsDroppedFirst => "links_keep_their_promises_through_whatever_a_seed_does",
        Mutant::OldAnswersCount => "a_peer_that_is_heard_and_does_not_hear_is_dialed_anew",
        Mutant::OldRefusalsDelay => "when_a_link_ends_that_the_peer_dialed_its_earlier_refusals_count_no_more",
        Mutant::ProbesAskForNothing => {
            "what_quic_repeats_into_silence_is_a_demand_and_a_probe_for_a_larger_mtu_is_none"
        }
        Mutant::DoubtByOldRoundTrips => "a_link_that_came_up_late_is_doubted_as_soon_as_any",
        Mutant::LanesShareOneWindow => "what_waits_on_lanes_never_keeps_the_control_stream_waiting",
        Mutant::RoomUncounted => "envelopes_are_read_only_while_there_is_room_for_them",
        _ => return None,
    })
}
