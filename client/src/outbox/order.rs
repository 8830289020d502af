//! The order in which relays handed a message on.
//!
//! Each custody receipt states from whom the relay had the message. That gives the order; the relays' clocks do not, since
//! each may be off. Clocks only order what no receipt orders, such as two ways of one message.

use liaison_protocol::{NodeId, Timestamp};

use super::fact::CustodyFact;

/// The place of a receipt in the order: receipts with a lower turn come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Turn {
    /// The issuer's time, and never earlier than the time of the relay before.
    pub(crate) at: Timestamp,
    /// Hand-overs from the sender on.
    pub(crate) depth: u8,
}

/// A path is shorter; a circle of claims ends here.
const DEPTH_MAX: u8 = 16;

/// Sorts receipts in the order of hand-over from `me` on.
pub(crate) fn sort(custody: &mut Vec<CustodyFact>, me: &NodeId) {
    let turns = turns(custody, me);
    let mut ordered: Vec<(Turn, CustodyFact)> = turns.into_iter().zip(std::mem::take(custody)).collect();
    ordered.sort_by_key(|(turn, _)| *turn);
    custody.extend(ordered.into_iter().map(|(_, fact)| fact));
}

/// The turn of each receipt.
pub(crate) fn turns(custody: &[CustodyFact], me: &NodeId) -> Vec<Turn> {
    let mut turns: Vec<Turn> = custody.iter().map(|fact| Turn { at: fact.at, depth: 0 }).collect();
    for _ in 0..DEPTH_MAX {
        let next: Vec<Turn> = custody.iter().map(|fact| turn(fact, custody, &turns, me)).collect();
        if next == turns {
            break;
        }
        turns = next;
    }
    turns
}

/// The turn of `fact` after the earliest receipt of the relay that handed the message over.
fn turn(fact: &CustodyFact, custody: &[CustodyFact], turns: &[Turn], me: &NodeId) -> Turn {
    let is_before = |other: &CustodyFact| {
        other.envelope == fact.envelope
            && other.holder == fact.from
            && other.holder != fact.holder
            && other.indices.iter().any(|index| fact.indices.contains(index))
    };
    let before = custody.iter().zip(turns).filter(|(other, _)| fact.from != *me && is_before(other));
    match before.map(|(_, turn)| *turn).min() {
        Some(before) => Turn { at: fact.at.max(before.at), depth: before.depth.saturating_add(1).min(DEPTH_MAX) },
        None => Turn { at: fact.at, depth: 0 },
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use liaison_protocol::{Hash, MessageId};

    use super::*;

    fn fact(holder: &str, from: &str, at_ms: u64) -> CustodyFact {
        CustodyFact {
            envelope: MessageId(Hash([1; 32])),
            indices: vec![0],
            holder: holder.parse().unwrap(),
            from: from.parse().unwrap(),
            at: Timestamp::from_millis(at_ms),
            receipt: Bytes::new(),
            proof: Bytes::new(),
        }
    }

    fn order(facts: &[(&str, &str, u64)]) -> Vec<String> {
        let mut custody: Vec<CustodyFact> = facts.iter().map(|(holder, from, at)| fact(holder, from, *at)).collect();
        sort(&mut custody, &"ncb.sg".parse().unwrap());
        custody.into_iter().map(|fact| fact.holder.to_string()).collect()
    }

    #[test]
    fn hand_over_gives_the_order_and_clocks_do_not() {
        // One millisecond.
        assert_eq!(order(&[("eu-1", "ap-1", 5), ("ap-1", "ncb.sg", 5)]), ["ap-1", "eu-1"]);
        // The second relay is 10 s behind; then the first is 10 s ahead.
        assert_eq!(order(&[("eu-1", "ap-1", 1), ("ap-1", "ncb.sg", 10_000)]), ["ap-1", "eu-1"]);
        assert_eq!(
            order(&[("us-1", "eu-1", 7), ("eu-1", "ap-1", 9_000), ("ap-1", "ncb.sg", 3)]),
            ["ap-1", "eu-1", "us-1"]
        );
        // Another way, later.
        assert_eq!(
            order(&[("ap-2", "ncb.sg", 60_000), ("eu-1", "ap-1", 2), ("ap-1", "ncb.sg", 3)]),
            ["ap-1", "eu-1", "ap-2"]
        );
    }

    #[test]
    fn claims_in_a_circle_have_some_order_and_an_end() {
        assert_eq!(order(&[("ap-1", "eu-1", 1), ("eu-1", "ap-1", 2)]).len(), 2);
        assert_eq!(order(&[("ap-1", "ap-1", 1)]), ["ap-1"]);
    }
}
