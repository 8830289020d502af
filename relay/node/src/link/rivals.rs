//! Two programs with one link key: each throws the other out, unless somebody slows them down.
//!
//! A restart, or a peer that has lost its link, is one newer link. Two programs show themselves by an address that comes
//! back: A, then B, then A again. From then on the link that stands is kept for a while against newer ones, each time
//! twice as long.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use liaison_protocol::NodeId;
use tokio::time::Instant;

/// How long a link is kept after the first return, and at most.
const KEPT_MIN: Duration = Duration::from_millis(500);
const KEPT_MAX: Duration = Duration::from_secs(60);
/// Returns after which there is no doubt: A, B, A, B.
const RETURNS_PROOF: u32 = 2;
/// Without another return for so long, all is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(600);

/// Both addresses of one identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rivals {
    /// Of the link that was there.
    pub older: SocketAddr,
    /// Of the one that came.
    pub newer: SocketAddr,
}

/// What is known of one peer.
#[derive(Debug)]
struct Rivalry {
    /// Where the link came from that was thrown out last.
    thrown_out: SocketAddr,
    returns: u32,
    last: Instant,
}

/// See the module. Bounded by the nodes of the roster.
#[derive(Debug, Default)]
pub(super) struct Rivalries(BTreeMap<NodeId, Rivalry>);

impl Rivalries {
    /// Whether the link that stands, for `age` now, is kept against a newer one.
    pub(super) fn keeps(&mut self, peer: &NodeId, age: Duration, now: Instant) -> bool {
        self.0.retain(|_, rivalry| now.saturating_duration_since(rivalry.last) < FORGOTTEN_AFTER);
        let Some(returns) = self.0.get(peer).map(|rivalry| rivalry.returns).filter(|returns| *returns > 0) else {
            return false;
        };
        age < KEPT_MIN.saturating_mul(1 << (returns - 1).min(16)).min(KEPT_MAX)
    }

    /// A newer link throws an older one out. Gives both once there is no doubt that there are two programs.
    pub(super) fn note(&mut self, peer: &NodeId, rivals: Rivals, now: Instant) -> Option<Rivals> {
        let Rivals { older, newer } = rivals;
        if older == newer {
            // The same program, again.
            return None;
        }
        let new = Rivalry { thrown_out: older, returns: 0, last: now };
        let rivalry = self.0.entry(peer.clone()).or_insert(new);
        let returned = rivalry.thrown_out == newer;
        if returned {
            (rivalry.returns, rivalry.last) = (rivalry.returns.saturating_add(1), now);
        }
        rivalry.thrown_out = older;
        (returned && rivalry.returns >= RETURNS_PROOF).then_some(rivals)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    fn rivals(older: u16, newer: u16) -> Rivals {
        Rivals { older: address(older), newer: address(newer) }
    }

    // Attack 51. [LINK-8]
    #[test]
    fn two_programs_that_throw_each_other_out_are_slowed_down_to_once_a_minute_and_named() {
        let (mut rivalries, peer, start) = (Rivalries::default(), "ncb.jp".parse().unwrap(), Instant::now());
        let (mut now, mut since, mut thrown, mut named) = (start, start, 0, None);
        // Each tries every 60 ms, in turn.
        for turn in 0..10_000u16 {
            now += Duration::from_millis(60);
            let (older, newer) = if turn % 2 == 0 { (1, 2) } else { (2, 1) };
            // Only the one without a link dials.
            if (thrown % 2 == 0) == (newer == 2) && !rivalries.keeps(&peer, now - since, now) {
                let noted = rivalries.note(&peer, rivals(older, newer), now);
                named = named.or(noted);
                (thrown, since) = (thrown + 1, now);
            }
        }
        assert!((9..20).contains(&thrown), "{thrown} times in ten minutes");
        assert_eq!(named, Some(rivals(1, 2)));
        let later = now + FORGOTTEN_AFTER;
        assert!(!rivalries.keeps(&peer, Duration::ZERO, later), "forgotten");
    }

    #[test]
    fn restarts_and_lost_links_are_no_rivals() {
        let (mut rivalries, peer, now) = (Rivalries::default(), "ncb.jp".parse().unwrap(), Instant::now());
        // A daemon that is killed again and again comes from a port of its own each time.
        for port in 1..100 {
            assert!(!rivalries.keeps(&peer, Duration::ZERO, now));
            assert_eq!(rivalries.note(&peer, rivals(port, port + 1), now), None);
        }
        // A relay dials from the address that it listens at.
        for _ in 0..100 {
            assert!(!rivalries.keeps(&peer, Duration::ZERO, now));
            assert_eq!(rivalries.note(&peer, rivals(7, 7), now), None);
        }
    }
}
