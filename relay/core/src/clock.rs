//! Whether this node's clock can be right, by what its peers say of theirs.
//!
//! Every linked peer says its time when the link comes up and once a minute. The link is authenticated; each peer has one
//! vote, and so has this node's own clock. Relays are believed before agencies: two relays suffice. With fewer, three
//! peers of any kind are asked, and a relay whose clock agrees with ours outweighs them. A relay whose clock is off by the
//! median of these votes must take no custody: it would refuse honest mail, or expire it too early.

use std::collections::BTreeMap;

use liaison_protocol::limits::CLOCK_AHEAD_MAX;
use liaison_protocol::{NodeId, Timestamp};

use crate::link::NodeKind;

/// Relays whose clocks decide.
const RELAYS_MIN: usize = 2;
/// Peers of any kind whose clocks decide where too few relays are linked.
const PEERS_MIN: usize = 3;

/// See the module. Holds one number for each linked peer.
#[derive(Debug, Default)]
pub struct PeerClocks {
    /// By how many milliseconds this clock is ahead of each peer's.
    ahead_ms: BTreeMap<NodeId, (NodeKind, i64)>,
}

impl PeerClocks {
    /// A peer says what time it is there.
    pub fn tell(&mut self, peer: NodeId, kind: NodeKind, theirs: Timestamp, now: Timestamp) {
        let millis = |span: std::time::Duration| i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        let ahead = millis(now.since(theirs)).saturating_sub(millis(theirs.since(now)));
        self.ahead_ms.insert(peer, (kind, ahead));
    }

    /// A peer is no longer linked.
    pub fn forget(&mut self, peer: &NodeId) {
        self.ahead_ms.remove(peer);
    }

    /// By how much this clock is ahead of the peers' median, relays' where there are any. For people; see
    /// [`Self::off_ms`] for what follows from it.
    #[must_use]
    pub fn ahead_ms(&self) -> Option<i64> {
        median(self.of(Some(NodeKind::Relay))).or_else(|| median(self.of(None)))
    }

    /// By how much this clock is ahead, if it is further off than clocks may be. `None`: it is not, or too few have
    /// said.
    // [CUST-24]
    #[must_use]
    pub fn off_ms(&self) -> Option<i64> {
        let relays = self.of(Some(NodeKind::Relay));
        if relays.len() >= RELAYS_MIN {
            return with_own(relays);
        }
        let all = self.of(None);
        if all.len() < PEERS_MIN || relays.iter().any(|ahead| !is_off(*ahead)) {
            return None;
        }
        with_own(all)
    }

    fn of(&self, kind: Option<NodeKind>) -> Vec<i64> {
        let of_kind = self.ahead_ms.values().filter(|(other, _)| kind.is_none_or(|kind| kind == *other));
        of_kind.map(|(_, ahead)| *ahead).collect()
    }
}

/// The median of the peers and of this clock, if that is off: most of them say so.
fn with_own(mut ahead: Vec<i64>) -> Option<i64> {
    ahead.push(0);
    median(ahead).filter(|ahead| is_off(*ahead))
}

/// Of an even number the one nearer to zero: in doubt, our own clock is right.
fn median(mut ahead: Vec<i64>) -> Option<i64> {
    ahead.sort_unstable();
    let upper = ahead.get(ahead.len() / 2)?;
    let lower = ahead.get(ahead.len().saturating_sub(1) / 2)?;
    Some(if lower.unsigned_abs() < upper.unsigned_abs() { *lower } else { *upper })
}

fn is_off(ahead_ms: i64) -> bool {
    u128::from(ahead_ms.unsigned_abs()) > CLOCK_AHEAD_MAX.as_millis()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_521_600_000);
    const SIX_MINUTES: Duration = Duration::from_secs(360);

    /// Peers whose clocks are right (0), or ahead of this one by six minutes (+1) or a year (+2), or behind (-1).
    fn clocks(relays: &[i8], agencies: &[i8]) -> PeerClocks {
        let mut clocks = PeerClocks::default();
        let theirs = |error: i8| match error {
            0 => NOW,
            1 => NOW.after(SIX_MINUTES),
            2 => NOW.after(Duration::from_secs(365 * 86_400)),
            _ => NOW.before(SIX_MINUTES),
        };
        for (number, error) in relays.iter().enumerate() {
            clocks.tell(format!("relay-{number}").parse().unwrap(), NodeKind::Relay, theirs(*error), NOW);
        }
        for (number, error) in agencies.iter().enumerate() {
            clocks.tell(format!("agency-{number}").parse().unwrap(), NodeKind::Daemon, theirs(*error), NOW);
        }
        clocks
    }

    // [CUST-24]
    #[test]
    fn a_clock_is_off_when_most_relays_say_so_or_three_peers_whom_no_relay_contradicts() {
        for (relays, agencies) in [(&[1, 1][..], &[][..]), (&[1, 1, 1, 0], &[]), (&[], &[1, 1, 1]), (&[1], &[1, 1])] {
            assert_eq!(clocks(relays, agencies).off_ms(), Some(-360_000), "{relays:?} {agencies:?}");
        }
        assert_eq!(clocks(&[-1, -1], &[]).off_ms(), Some(360_000), "ahead");
    }

    // [CUST-24]
    #[test]
    fn few_or_lying_peers_put_nobody_out_of_service() {
        let relays = [&[][..], &[2], &[2, 0], &[2, 0, 0], &[0], &[-1, 2], &[1, 1, 0]];
        for relays in relays {
            assert_eq!(clocks(relays, &[]).off_ms(), None, "{relays:?}");
        }
        assert_eq!(clocks(&[], &[2, 2]).off_ms(), None, "two agencies are too few");
        assert_eq!(clocks(&[], &[2, 2, 0]).off_ms(), None, "one of three agrees with us");
        assert_eq!(clocks(&[0], &[2, 2, 2]).off_ms(), None, "a relay agrees with us");
        assert_eq!(clocks(&[0, 0], &[2; 9]).off_ms(), None, "agencies do not outvote relays");
    }

    #[test]
    fn a_peer_counts_while_it_is_linked_and_by_its_last_word() {
        let mut clocks = clocks(&[1, 1], &[]);
        clocks.tell("relay-0".parse().unwrap(), NodeKind::Relay, NOW, NOW);
        assert_eq!((clocks.off_ms(), clocks.ahead_ms()), (None, Some(0)));
        clocks.forget(&"relay-0".parse().unwrap());
        assert_eq!((clocks.off_ms(), clocks.ahead_ms()), (None, Some(-360_000)));
    }
}
