//! Refusals that say "try again later", by the peer that said so. What one peer cannot take now, another one may.
//!
//! ```text
//!  refusal        it holds back                                until
//!  draining …     everything that goes to this peer            the peer's time and the backoff are over,
//!  quota          one sender's mail for one queue and rank     or the peer's link comes up anew
//!  other          the refused entry alone
//! ```
//! When a hold is over, one entry is sent, and the others wait for its answer: a peer that refuses for days is not sent
//! everything again each minute. The tables are bounded. At a bound a hold covers more: the entry's mail, then the whole
//! peer.

use std::collections::BTreeMap;
use std::time::Duration;

use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{AgencyId, NodeId, Timestamp};

use crate::link::NodeKind;
use crate::op::{Entry, Position};
use crate::retry::{Backoff, Jitter};

/// Entries that one peer has refused by themselves: as many as one queue has in memory.
const ENTRIES_MAX: usize = 256;
/// Senders' mail for a queue and rank that one peer has refused.
const MAIL_MAX: usize = 1_024;

/// How long the others wait for the answer to the first entry: as long as an acknowledgement is waited for.
const ANSWER: Duration = Duration::from_secs(60);

/// One sender's entries in one queue and rank.
type Mail = (AgencyId, u8, NodeId);

/// How much of what waits a refusal is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The refused entry.
    Entry,
    /// What this sender writes to this recipient, as urgently.
    Mail,
    /// Whatever goes to the peer.
    Peer,
}

impl Scope {
    /// A daemon hands over its own messages only, so that clocks which differ are its own and the peer's.
    pub(crate) const fn of(reason: RefusalReason, me: NodeKind) -> Self {
        match (reason, me) {
            // A roster that has expired; an agreement that is missing is a final refusal.
            (RefusalReason::DiskLow | RefusalReason::Draining | RefusalReason::NoAgreement, _)
            | (RefusalReason::Clock, NodeKind::Daemon) => Self::Peer,
            (RefusalReason::Quota | RefusalReason::Rate, _) => Self::Mail,
            _ => Self::Entry,
        }
    }
}

/// One hold, and how often in a row it was renewed.
#[derive(Debug)]
struct Hold {
    until: Timestamp,
    backoff: Backoff,
    /// Its time was over, and the first entry since is on its way.
    probing: bool,
}

impl Default for Hold {
    fn default() -> Self {
        Self { until: Timestamp::ZERO, backoff: Backoff::default(), probing: false }
    }
}

impl Hold {
    /// All that was in flight comes back refused: that is one failure, and a shorter wait does not end a longer one.
    fn renew(&mut self, now: Timestamp, asked: Duration, jitter: &mut Jitter) -> Timestamp {
        let until =
            if self.until > now { self.until.max(now.after(asked)) } else { self.backoff.refused(now, asked, jitter) };
        self.until = if planted(Mutant::HoldIgnored) { now } else { until };
        self.until
    }

    /// An entry goes to the peer.
    fn send(&mut self, now: Timestamp) {
        if self.until <= now && self.backoff.has_failed() && !planted(Mutant::HoldIgnored) {
            (self.until, self.probing) = (now.after(ANSWER), true);
        }
    }

    /// That entry was answered. True: others waited for it.
    fn answered(&mut self) -> bool {
        let ended = self.probing;
        if ended {
            (self.until, self.probing) = (Timestamp::ZERO, false);
        }
        ended
    }
}

/// What one peer has refused.
#[derive(Debug, Default)]
struct Peer {
    whole: Hold,
    mail: BTreeMap<Mail, Hold>,
    entries: BTreeMap<Position, Hold>,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    peers: BTreeMap<NodeId, Peer>,
    /// Entries that wait whichever peer would be next.
    anywhere: BTreeMap<Position, Timestamp>,
}

impl Holds {
    /// `peer` has refused an entry for now, and asks for a pause. Gives the end of the hold.
    pub(crate) fn refused(
        &mut self,
        peer: &NodeId,
        (scope, position, sender): (Scope, &Position, &NodeId),
        (now, asked): (Timestamp, Duration),
        jitter: &mut Jitter,
    ) -> Timestamp {
        let peer = self.peers.entry(peer.clone()).or_default();
        let mail = (position.queue.clone(), position.rank, sender.clone());
        let hold = match scope {
            Scope::Entry if has_room(&mut peer.entries, position, ENTRIES_MAX, now) => {
                peer.entries.entry(position.clone()).or_default()
            }
            Scope::Entry | Scope::Mail if has_room(&mut peer.mail, &mail, MAIL_MAX, now) => {
                peer.mail.entry(mail).or_default()
            }
            _ => &mut peer.whole,
        };
        hold.renew(now, asked, jitter)
    }

    /// An entry is to wait whichever peer would be next.
    pub(crate) fn wait(&mut self, position: &Position, until: Timestamp) {
        self.anywhere.insert(position.clone(), until);
    }

    /// When `peer` may be offered this entry. `None`: now.
    pub(crate) fn until(&self, peer: &NodeId, position: &Position, entry: &Entry, now: Timestamp) -> Option<Timestamp> {
        let anywhere = self.anywhere.get(position).copied();
        let peer = if planted(Mutant::HoldStopsEveryPeer) { self.peers.keys().next().unwrap_or(peer) } else { peer };
        let of_peer = self.peers.get(peer).map(|peer| {
            let mail = if peer.mail.is_empty() {
                None
            } else {
                peer.mail.get(&(position.queue.clone(), position.rank, entry.sender.clone()))
            };
            let holds = [Some(&peer.whole), mail, peer.entries.get(position)];
            holds.into_iter().flatten().map(|hold| hold.until).max().unwrap_or(Timestamp::ZERO)
        });
        anywhere.into_iter().chain(of_peer).max().filter(|until| *until > now)
    }

    /// When `peer` may be offered anything. `None`: now.
    pub(crate) fn whole_until(&self, peer: &NodeId, now: Timestamp) -> Option<Timestamp> {
        self.peers.get(peer).map(|peer| peer.whole.until).filter(|until| *until > now)
    }

    /// An entry is sent to `peer`.
    pub(crate) fn send(&mut self, peer: &NodeId, position: &Position, sender: &NodeId, now: Timestamp) {
        self.on_way(peer, position, sender).for_each(|hold| hold.send(now));
    }

    /// `peer` has answered an entry, one way or the other. True: something waited for this answer, and may go on.
    pub(crate) fn answered(&mut self, peer: &NodeId, position: &Position, sender: &NodeId) -> bool {
        // Every hold hears of the answer, also behind one that ends.
        let ended: Vec<bool> = self.on_way(peer, position, sender).map(Hold::answered).collect();
        ended.contains(&true)
    }

    /// `peer` has taken an entry: failures are counted anew. A hold that stands is not ended, as others were refused
    /// together with it. True: something waited for this answer, and may go on.
    pub(crate) fn taken(&mut self, peer: &NodeId, position: &Position, sender: &NodeId) -> bool {
        self.on_way(peer, position, sender).for_each(|hold| hold.backoff.reset());
        self.answered(peer, position, sender)
    }

    /// Holds of `peer` that cover more than one entry, this one among them.
    fn on_way(&mut self, peer: &NodeId, position: &Position, sender: &NodeId) -> impl Iterator<Item = &mut Hold> {
        let holds = self.peers.get_mut(peer).map(|peer| {
            let mail = if peer.mail.is_empty() {
                None
            } else {
                peer.mail.get_mut(&(position.queue.clone(), position.rank, sender.clone()))
            };
            std::iter::once(&mut peer.whole).chain(mail)
        });
        holds.into_iter().flatten()
    }

    /// An entry has left.
    pub(crate) fn gone(&mut self, position: &Position) {
        self.anywhere.remove(position);
        for peer in self.peers.values_mut() {
            peer.entries.remove(position);
        }
    }

    /// The link to `peer` is up anew: the peer may have changed since it refused. Failures still count.
    pub(crate) fn handle_up(&mut self, peer: &NodeId) {
        let Some(holds) = self.peers.get_mut(peer) else { return };
        let Peer { whole, mail, entries } = holds;
        let all = std::iter::once(whole).chain(mail.values_mut()).chain(entries.values_mut());
        all.for_each(|hold| (hold.until, hold.probing) = (Timestamp::ZERO, false));
    }

    /// Somebody wants all to be tried now.
    pub(crate) fn clear(&mut self) {
        self.peers.clear();
        self.anywhere.clear();
    }

    /// What need not be remembered any more: holds that ended longer ago than any backoff lasts.
    pub(crate) fn prune(&mut self, now: Timestamp) {
        let old = now.before(REMEMBERED);
        self.anywhere.retain(|_, until| *until > now);
        for peer in self.peers.values_mut() {
            peer.mail.retain(|_, hold| hold.until > old);
            peer.entries.retain(|_, hold| hold.until > old);
        }
        self.peers.retain(|_, peer| peer.whole.until > old || !peer.mail.is_empty() || !peer.entries.is_empty());
    }
}

/// Twice the longest backoff: who has not refused for so long has recovered.
const REMEMBERED: Duration = Duration::from_secs(120);

/// Whether `key` may have a hold of its own.
fn has_room<K: Ord>(holds: &mut BTreeMap<K, Hold>, key: &K, max: usize, now: Timestamp) -> bool {
    if holds.len() >= max && !holds.contains_key(key) {
        holds.retain(|_, hold| hold.until > now);
    }
    holds.len() < max || holds.contains_key(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_000_000);
    const ASKED: Duration = Duration::from_secs(5);

    fn node(name: &str) -> NodeId {
        name.parse().unwrap()
    }

    fn position(seq: u64) -> Position {
        Position { queue: "ncb.ee".parse().unwrap(), rank: 3, seq }
    }

    fn refuse(holds: &mut Holds, scope: Scope, seq: u64) -> Timestamp {
        let entry = (scope, &position(seq), &node("ncb.sg"));
        holds.refused(&node("eu-1"), entry, (NOW, ASKED), &mut Jitter::new(seq))
    }

    fn is_held(holds: &Holds, peer: &str, seq: u64, sender: &str) -> bool {
        let entry = crate::node::entry_of(seq, sender);
        holds.until(&node(peer), &position(seq), &entry, NOW).is_some()
    }

    #[test]
    fn a_refusal_holds_back_what_it_is_about_and_only_at_the_peer_that_refused() {
        for (scope, same_sender, other_sender) in
            [(Scope::Entry, false, false), (Scope::Mail, true, false), (Scope::Peer, true, true)]
        {
            let mut holds = Holds::default();
            refuse(&mut holds, scope, 1);
            assert!(is_held(&holds, "eu-1", 1, "ncb.sg"), "{scope:?}");
            assert!(!is_held(&holds, "eu-2", 1, "ncb.sg"), "{scope:?}");
            assert_eq!(is_held(&holds, "eu-1", 2, "ncb.sg"), same_sender, "{scope:?}");
            assert_eq!(is_held(&holds, "eu-1", 2, "ncb.fr"), other_sender, "{scope:?}");
            holds.handle_up(&node("eu-1"));
            assert!(!is_held(&holds, "eu-1", 1, "ncb.sg"), "{scope:?}: the peer's link is new");
        }
    }

    #[test]
    fn refusals_that_come_together_are_one_failure_and_the_table_is_bounded() {
        let mut holds = Holds::default();
        let first = refuse(&mut holds, Scope::Peer, 1);
        assert!((2..500).all(|seq| refuse(&mut holds, Scope::Peer, seq) == first));
        for seq in 0..2_000 {
            refuse(&mut holds, Scope::Entry, seq);
        }
        let peer = holds.peers.get(&node("eu-1")).unwrap();
        assert_eq!((peer.entries.len(), peer.mail.len()), (ENTRIES_MAX, 1));
        assert!(is_held(&holds, "eu-1", 5_000, "ncb.sg"), "at the bound, the sender's mail waits");
        holds.prune(NOW.after(Duration::from_secs(3_600)));
        assert!(holds.peers.is_empty());
    }
}
