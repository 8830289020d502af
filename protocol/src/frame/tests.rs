//! Round trips, every truncation, every rule, arbitrary bytes.

use bytes::Bytes;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::codec::Fixed;
use crate::hash::Hash;
use crate::ids::{AgencyId, FederationId, MessageId, NodeId};
use crate::limits::RECIPIENTS_MAX;
use crate::role::Role;
use crate::time::{Hour, Timestamp};

fn node() -> impl Strategy<Value = NodeId> {
    "[a-z][a-z0-9]{2,10}(\\.[a-z0-9]{1,5})?".prop_map(|name| name.parse().expect("the grammar of names"))
}

fn agency() -> impl Strategy<Value = AgencyId> {
    node().prop_map(|node| node.to_agency())
}

fn bytes(max: usize) -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..max).prop_map(Bytes::from)
}

fn indices(min: usize) -> impl Strategy<Value = Vec<u16>> {
    btree_set(0..RECIPIENTS_MAX as u16, min..9).prop_map(|set| set.into_iter().collect())
}

fn id() -> impl Strategy<Value = MessageId> {
    any::<[u8; 32]>().prop_map(|bytes| MessageId(Hash(bytes)))
}

fn hello() -> impl Strategy<Value = Frame> {
    let parts =
        (1u16..9, 0u16..9, any::<[u8; 16]>(), node(), any::<bool>(), any::<u32>(), btree_set(any::<u16>(), 0..9));
    parts.prop_map(|(version_min, more, federation, node, relay, roster_version, features)| {
        Frame::Hello(Hello {
            version_min,
            version_max: version_min + more,
            federation: FederationId(federation),
            node,
            role: if relay { Role::Relay } else { Role::Agency },
            roster_version,
            roster_hash: Hash::of(&[&federation]),
            features: features.into_iter().collect(),
        })
    })
}

fn transfer() -> impl Strategy<Value = Frame> {
    let parts = (1u64.., 1u8..=16, indices(1), vec(node(), 0..=PATH_MAX), any::<u64>(), bytes(3000));
    parts.prop_map(|(seq, attempt, branch, path, millis, envelope)| {
        let accepted = Timestamp::from_millis(millis);
        Frame::Transfer(Transfer { seq, attempt, branch, path, accepted, envelope })
    })
}

fn ack() -> impl Strategy<Value = Ack> {
    let parts = (1u64.., indices(1), any::<[u8; 3]>(), "\\PC{0,60}", any::<u32>(), option::of(bytes(200)));
    parts.prop_map(|(seq, all, split, detail, retry_after_ms, proof)| {
        let outcome = |index: &u16| split[usize::from(*index) % 3] % 3;
        let of = |wanted: u8| all.iter().filter(|index| outcome(index) == wanted).copied().collect::<Vec<u16>>();
        let refused = |index| Refused { index, reason: 4, detail: detail.clone(), retry_after_ms };
        Ack { seq, taken: of(0), duplicate: of(1), refused: of(2).into_iter().map(refused).collect(), proof }
    })
}

fn control() -> impl Strategy<Value = ControlFrame> {
    let state = prop_oneof![
        Just(CustodyState::Held),
        Just(CustodyState::Unknown),
        Just(CustodyState::Delivered),
        node().prop_map(|to| CustodyState::Released { to }),
    ];
    let proof = (id(), indices(1), bytes(400), bytes(100), bytes(100))
        .prop_map(|(id, indices, receipt, proof, leaf)| CustodyProof { id, indices, receipt, proof, leaf });
    let hours = btree_set(0u32..9, 0..5).prop_map(|hours| {
        let tally = |hour| HourTally { hour: Hour(hour), tally: Tally { count: u64::from(hour), sum: Hash::ZERO } };
        hours.into_iter().map(tally).collect::<Vec<_>>()
    });
    let items = btree_set((id(), 0u16..1024), 1..5)
        .prop_map(|items| items.into_iter().map(|(id, index)| RollItem { id, index }).collect());
    prop_oneof![
        hours.clone().prop_map(|hours| ControlFrame::Comparison(Comparison::Tallies(Tallies { hours }))),
        hours.prop_map(|hours| ControlFrame::Comparison(Comparison::TalliesAnswer(TalliesAnswer { hours }))),
        items.prop_map(|items| ControlFrame::Comparison(Comparison::Roll(Roll { items }))),
        btree_set(0u16..4096, 0..5).prop_map(|places| {
            let unknown = places.into_iter().collect();
            ControlFrame::Comparison(Comparison::RollAnswer(RollAnswer { unknown }))
        }),
        any::<u32>().prop_map(|after| ControlFrame::RosterRequest(RosterRequest { after })),
        any::<u64>().prop_map(|now| ControlFrame::Time(Time { now: Timestamp::from_millis(now) })),
        bytes(500).prop_map(|bytes| ControlFrame::Roster(RosterFrame { bytes })),
        (any::<u32>(), any::<[u8; 32]>())
            .prop_map(|(version, hash)| ControlFrame::RosterOffer(RosterOffer { version, hash: Hash(hash) })),
        (btree_set(agency(), 0..5), any::<u32>(), any::<u64>()).prop_map(|(agencies, epoch, seq)| {
            let bundles = agencies.into_iter().map(|agency| BundleVersion { agency, epoch, seq }).collect();
            ControlFrame::BundleOffer(BundleOffer { bundles })
        }),
        btree_set(agency(), 0..5).prop_map(|agencies| {
            ControlFrame::BundleRequest(BundleRequest { agencies: agencies.into_iter().collect() })
        }),
        (bytes(500), 0u8..3).prop_map(|(bundle, keys)| {
            let keys = (0..keys).map(|n| Fixed(Box::new([n; crate::limits::PREKEY_BYTES]))).collect();
            ControlFrame::Bundle(Bundle { bundle, keys })
        }),
        vec(proof, 0..4).prop_map(|proofs| ControlFrame::Custody(Custody { proofs })),
        (id(), 0u16..1024, 0u8..=5).prop_map(|(id, index, hops)| ControlFrame::Inquiry(Inquiry { id, index, hops })),
        (id(), 0u16..1024, node(), state)
            .prop_map(|(id, index, by, state)| { ControlFrame::InquiryAnswer(InquiryAnswer { id, index, by, state }) }),
        (btree_set(agency(), 0..5), btree_set(agency(), 0..5)).prop_map(|(left, linked)| {
            let (left, linked) = (left.into_iter().collect(), linked.into_iter().collect());
            ControlFrame::Presence(Presence { left, linked })
        }),
        (btree_set(node(), 0..5), any::<u32>(), 1u8..=4).prop_map(|(nodes, cost, hops)| {
            ControlFrame::Reach(Reach {
                relays: nodes.into_iter().map(|relay| ReachEntry { relay, cost, hops }).collect(),
            })
        }),
    ]
}

fn frame() -> impl Strategy<Value = Frame> {
    prop_oneof![
        hello(),
        transfer(),
        control().prop_map(Frame::Control),
        (0u8..LANES).prop_map(|rank| Frame::LaneOpen(LaneOpen { rank })),
        (vec(ack(), 1..5), option::of(bytes(400))).prop_map(|(acks, receipt)| Frame::Acks(Acks { acks, receipt })),
    ]
}

fn expect_for(frame: &Frame) -> Expect {
    match frame {
        Frame::Acks(_) => Expect::Acks,
        Frame::Control(_) => Expect::Control,
        Frame::Hello(_) => Expect::Hello,
        Frame::LaneOpen(_) => Expect::LaneOpen,
        Frame::Transfer(_) => Expect::Transfer,
    }
}

const EVERY_EXPECT: [Expect; 5] = [Expect::Acks, Expect::Control, Expect::Hello, Expect::LaneOpen, Expect::Transfer];

/// One whole frame in; the verdict on it.
fn decode_whole(expect: Expect, bytes: &[u8]) -> Result<Option<Frame>, FrameError> {
    let mut decoder = Decoder::new(expect);
    decoder.push(bytes);
    decoder.next_frame()
}

/// `bytes` as the payload of a frame of this type.
fn framed(frame: FrameType, payload: &[u8]) -> Vec<u8> {
    [&[frame.code()][..], &(payload.len() as u32).to_be_bytes(), payload].concat()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn every_frame_survives_the_wire(frame in frame()) {
        let bytes = frame.encode().unwrap();
        prop_assert!(bytes.len() <= FRAME_HEADER_BYTES + FrameType::from_code(bytes[0]).unwrap().payload_bytes_max());
        prop_assert_eq!(decode_whole(expect_for(&frame), &bytes), Ok(Some(frame)));
    }

    #[test]
    fn frames_are_the_same_however_their_bytes_arrive(frame in frame(), step in 1usize..50) {
        let once = matches!(frame, Frame::Hello(_) | Frame::LaneOpen(_));
        let sent = vec![frame.clone(); if once { 1 } else { 3 }];
        let bytes: Vec<u8> = sent.iter().flat_map(|frame| frame.encode().unwrap()).collect();
        let mut decoder = Decoder::new(expect_for(&frame));
        let mut decoded = Vec::new();
        for piece in bytes.chunks(step) {
            decoder.push(piece);
            while let Some(frame) = decoder.next_frame().unwrap() {
                decoded.push(frame);
            }
        }
        prop_assert_eq!(decoded, sent);
        prop_assert!(!decoder.is_mid_frame());
        if once {
            decoder.push(&bytes);
            prop_assert!(decoder.next_frame().is_err(), "comes once");
        }
    }

    #[test]
    fn a_truncated_stream_gives_no_frame(frame in frame()) {
        let bytes = frame.encode().unwrap();
        for cut in 0..bytes.len() {
            prop_assert_eq!(decode_whole(expect_for(&frame), &bytes[..cut]), Ok(None));
        }
    }

    // [FRAME-2]
    #[test]
    fn a_truncated_or_longer_payload_is_refused(frame in frame()) {
        let bytes = frame.encode().unwrap();
        let (kind, payload) = (FrameType::from_code(bytes[0]).unwrap(), &bytes[FRAME_HEADER_BYTES..]);
        for cut in 0..payload.len() {
            prop_assert!(decode_whole(expect_for(&frame), &framed(kind, &payload[..cut])).is_err(), "cut at {}", cut);
        }
        prop_assert!(decode_whole(expect_for(&frame), &framed(kind, &[payload, &[0]].concat())).is_err());
    }

    #[test]
    fn a_frame_comes_only_where_it_is_expected(frame in frame()) {
        let bytes = frame.encode().unwrap();
        for expect in EVERY_EXPECT.into_iter().filter(|expect| *expect != expect_for(&frame)) {
            let refused = matches!(decode_whole(expect, &bytes), Err(FrameError::Unexpected { .. }));
            prop_assert!(refused, "{}", expect);
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic_and_decode_only_what_we_would_encode(
        bytes in vec(any::<u8>(), 0..2000), kind in 0usize..FrameType::ALL.len(), header in any::<bool>(),
    ) {
        let kind = FrameType::ALL[kind];
        let bytes = if header { framed(kind, &bytes) } else { bytes };
        for expect in EVERY_EXPECT {
            if let Ok(Some(frame)) = decode_whole(expect, &bytes) {
                let encoded = frame.encode().unwrap();
                prop_assert_eq!(&encoded[..], &bytes[..encoded.len()]);
            }
        }
    }

    #[test]
    fn a_flipped_bit_decodes_to_another_frame_or_not_at_all(frame in frame(), at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let mut bytes = frame.encode().unwrap();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_ne!(decode_whole(expect_for(&frame), &bytes), Ok(Some(frame)));
    }
}

// [FRAME-1]
#[test]
fn a_claim_of_two_gibibytes_is_refused_by_its_header_alone() {
    for kind in FrameType::ALL {
        let header = [&[kind.code()][..], &0x8000_0000u32.to_be_bytes()].concat();
        let mut verdicts = EVERY_EXPECT.into_iter().map(|expect| {
            let mut decoder = Decoder::new(expect);
            decoder.push(&header);
            let verdict = decoder.next_frame();
            assert!(decoder.buffered_bytes() <= FRAME_HEADER_BYTES);
            verdict
        });
        assert!(verdicts.any(|verdict| {
            matches!(verdict, Err(error @ FrameError::TooLarge { .. }) if error.close_code() == CloseCode::FrameTooLarge)
        }));
    }
}

// [FRAME-1]
#[test]
fn an_unknown_type_is_refused_by_its_first_byte() {
    let refused = decode_whole(Expect::Control, &[99]);
    assert_eq!(refused, Err(FrameError::UnknownType { code: 99 }));
}

// [ENC-3] [FRAME-3]
#[test]
fn list_claims_are_refused_before_room_is_made() {
    // A bundle offer whose list claims 2^32 - 1 entries, and one with more empty entries than agencies can be.
    let claim = framed(FrameType::BundleOffer, &[0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(decode_whole(Expect::Control, &claim).is_err());
    let acks = [&[0x81, 0x08][..], &[0; 1025 * 5]].concat();
    assert!(decode_whole(Expect::Acks, &framed(FrameType::Acks, &acks)).is_err());
}

fn good_transfer() -> Transfer {
    let accepted = Timestamp::from_millis(5);
    Transfer { seq: 1, attempt: 1, branch: vec![0, 7], path: vec![], accepted, envelope: Bytes::from_static(b"e") }
}

// [FRAME-2] [FRAME-3]
#[test]
fn transfers_that_break_a_rule_are_refused_both_ways() {
    let breaks: [fn(&mut Transfer); 8] = [
        |t| t.seq = 0,
        |t| t.attempt = 0,
        |t| t.attempt = 17,
        |t| t.branch.clear(),
        |t| t.branch = vec![7, 0],
        |t| t.branch = vec![7, 7],
        |t| t.branch = vec![1024],
        |t| t.path = vec!["eu-1".parse().unwrap(); PATH_MAX + 1],
    ];
    assert!(Frame::Transfer(good_transfer()).encode().is_ok());
    for (number, break_it) in breaks.into_iter().enumerate() {
        let mut transfer = good_transfer();
        break_it(&mut transfer);
        let payload = codec::encode(&transfer);
        assert!(Frame::Transfer(transfer).encode().is_err(), "rule {number} out");
        assert!(decode_whole(Expect::Transfer, &framed(FrameType::Transfer, &payload)).is_err(), "rule {number} in");
    }
}

// [LANE-2] [FRAME-3]
#[test]
fn acknowledgements_that_break_a_rule_are_refused_both_ways() {
    let refused = |index| Refused { index, reason: 1, detail: "d".into(), retry_after_ms: 0 };
    let good = Ack { seq: 1, taken: vec![0], duplicate: vec![1], refused: vec![refused(2)], proof: None };
    let breaks: [fn(&mut Ack); 7] = [
        |a| a.seq = 0,
        |a| a.taken = vec![1],
        |a| a.duplicate = vec![2],
        |a| a.taken = vec![5, 4],
        |a| a.refused[0].detail = "x".repeat(257),
        |a| a.proof = Some(Bytes::from(vec![0; PROOF_BYTES_MAX + 1])),
        |a| (a.taken, a.duplicate, a.refused) = (vec![], vec![], vec![]),
    ];
    let acks = |ack: &Ack| Acks { acks: vec![ack.clone()], receipt: None };
    assert!(Frame::Acks(acks(&good)).encode().is_ok());
    for (number, break_it) in breaks.into_iter().enumerate() {
        let mut ack = good.clone();
        break_it(&mut ack);
        assert!(Frame::Acks(acks(&ack)).encode().is_err(), "rule {number} out");
        let payload = codec::encode(&acks(&ack));
        assert!(decode_whole(Expect::Acks, &framed(FrameType::Acks, &payload)).is_err(), "rule {number} in");
    }
    assert!(Frame::Acks(Acks { acks: vec![], receipt: None }).encode().is_err());
}

#[test]
fn a_custody_state_names_a_node_only_when_released() {
    let id = MessageId(Hash::ZERO);
    for (state, to) in [(0u8, None), (5, None), (2, None), (1, Some("eu-1"))] {
        let payload = codec::encode(&(id, 0u16, "ap-1", state, to));
        assert!(decode_whole(Expect::Control, &framed(FrameType::InquiryAnswer, &payload)).is_err(), "{state}");
    }
}

#[test]
fn an_inquiry_is_passed_on_five_times_at_most() {
    for (hops, ok) in [(0u8, true), (5, true), (6, false)] {
        let payload = codec::encode(&(MessageId(Hash::ZERO), 1023u16, hops));
        assert_eq!(decode_whole(Expect::Control, &framed(FrameType::Inquiry, &payload)).is_ok(), ok, "{hops}");
    }
}

// [LIMIT-1]
#[test]
fn the_largest_frames_fit_their_bounds() {
    let relays = (0..crate::limits::RELAYS_MAX)
        .map(|n| ReachEntry { relay: format!("{:0>63}", n).parse().unwrap(), cost: u32::MAX, hops: 4 })
        .collect();
    assert!(ControlFrame::Reach(Reach { relays }).encode().is_ok());
    let all: Vec<AgencyId> = (0..crate::limits::AGENCIES_MAX).map(|n| format!("{:0>63}", n).parse().unwrap()).collect();
    let half = all.split_at(all.len() / 2);
    let presence = |left: &[AgencyId], linked: &[AgencyId]| {
        ControlFrame::Presence(Presence { left: left.into(), linked: linked.into() }).encode()
    };
    assert!(presence(half.0, half.1).is_ok());
    assert!(presence(&all, &all[..1]).is_err(), "one name too many");
    let bundles = (0..crate::limits::AGENCIES_MAX)
        .map(|n| BundleVersion { agency: format!("{:0>63}", n).parse().unwrap(), epoch: u32::MAX, seq: u64::MAX })
        .collect();
    assert!(ControlFrame::BundleOffer(BundleOffer { bundles }).encode().is_ok());
    let keys = vec![Fixed(Box::new([9; crate::limits::PREKEY_BYTES])); crate::limits::PREKEYS_MAX];
    let bundle = Bytes::from(vec![1; BUNDLE_BYTES_MAX]);
    assert!(ControlFrame::Bundle(Bundle { bundle, keys }).encode().is_ok());
    let longest = "x".repeat(63).parse::<NodeId>().unwrap();
    let (by, to) = (longest.clone(), longest);
    let answer = InquiryAnswer { id: MessageId(Hash::ZERO), index: 1023, by, state: CustodyState::Released { to } };
    assert!(ControlFrame::InquiryAnswer(answer).encode().is_ok());
    let hours: Vec<HourTally> = (0..TALLY_HOURS_MAX as u32)
        .map(|hour| HourTally {
            hour: Hour(u32::MAX - 2048 + hour),
            tally: Tally { count: u64::MAX, sum: Hash([9; 32]) },
        })
        .collect();
    assert!(ControlFrame::Comparison(Comparison::Tallies(Tallies { hours })).encode().is_ok());
    let items: Vec<RollItem> = (0..ROLL_ITEMS_MAX)
        .map(|n| RollItem { id: MessageId(Hash([(n / 1024) as u8; 32])), index: (n % 1024) as u16 })
        .collect();
    assert!(ControlFrame::Comparison(Comparison::Roll(Roll { items })).encode().is_ok());
    let unknown = (0..ROLL_ITEMS_MAX as u16).collect();
    assert!(ControlFrame::Comparison(Comparison::RollAnswer(RollAnswer { unknown })).encode().is_ok());
    let too_large = RosterFrame { bytes: Bytes::from(vec![0; ROSTER_FRAME_BYTES_MAX]) };
    assert!(matches!(ControlFrame::Roster(too_large).encode(), Err(FrameError::TooLarge { .. })));
}
