//! What time it is at least, by what other nodes have signed.
//!
//! Private prekeys are erased by this time, and not by this machine's clock alone: a clock that jumps ahead erases
//! nothing. One node that lies must not be able to move it either. So it is the later of two times that two different
//! nodes have stated, and a statement ahead of our clock counts for nothing, as the envelope that it came with is refused.

use liaison_protocol::limits::CLOCK_AHEAD_MAX;
use liaison_protocol::{NodeId, Timestamp};

/// See the module.
#[derive(Debug)]
pub(crate) struct Witness {
    me: NodeId,
    /// Known already.
    floor: Timestamp,
    /// The two latest statements, of different nodes, the latest first.
    latest: Vec<(NodeId, Timestamp)>,
}

impl Witness {
    /// `floor`: what was known before a restart.
    pub(crate) const fn new(me: NodeId, floor: Timestamp) -> Self {
        Self { me, floor, latest: Vec::new() }
    }

    /// `by` has signed that it is at least `at`.
    pub(crate) fn note(&mut self, by: &NodeId, at: Timestamp, now: Timestamp) {
        if *by == self.me || at > now.after(CLOCK_AHEAD_MAX) {
            return;
        }
        match self.latest.iter_mut().find(|(known, _)| known == by) {
            Some((_, known)) => *known = at.max(*known),
            None => self.latest.push((by.clone(), at)),
        }
        self.latest.sort_by_key(|(_, at)| std::cmp::Reverse(*at));
        self.latest.truncate(2);
    }

    /// The time that two nodes agree has come.
    pub(crate) fn time(&self) -> Timestamp {
        let second = self.latest.get(1).map_or(Timestamp::ZERO, |(_, at)| *at);
        second.max(self.floor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(10_000_000_000);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(seconds * 1_000)
    }

    fn witness(statements: &[(&str, Timestamp)]) -> Timestamp {
        let mut witness = Witness::new("ncb.ee".parse().unwrap(), at(5));
        for (by, at) in statements {
            witness.note(&by.parse().unwrap(), *at, NOW);
        }
        witness.time()
    }

    #[test]
    fn no_single_node_moves_the_time_however_often_it_speaks() {
        assert_eq!(witness(&[]), at(5));
        assert_eq!(witness(&[("ap-1", at(100)), ("ap-1", at(200)), ("ap-1", NOW)]), at(5));
        assert_eq!(witness(&[("ap-1", NOW), ("ncb.sg", at(100))]), at(100));
        assert_eq!(witness(&[("ncb.sg", at(100)), ("ap-1", NOW), ("ncb.sg", at(120))]), at(120));
        assert_eq!(witness(&[("ncb.sg", at(100)), ("ap-1", at(90)), ("ncb.fr", at(110))]), at(100));
    }

    #[test]
    fn neither_ones_own_word_nor_the_future_counts() {
        let future = NOW.after(CLOCK_AHEAD_MAX * 2);
        assert_eq!(witness(&[("ncb.ee", at(300)), ("ap-1", at(200)), ("ncb.sg", future)]), at(5));
    }
}
