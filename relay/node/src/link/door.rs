//! Who may start a handshake. Pure: the time is an argument.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use liaison_protocol::NodeId;
use tokio::time::Instant;

use super::config::LinkLimits;

/// What to do with a first packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Shake hands; counted until [`Door::leave`].
    Admit,
    /// No answer: we are flooded.
    Ignore,
    /// This address has too many under way.
    Refuse,
    /// The address must prove that it is real: costs us one packet and no memory.
    Retry,
}

/// One place in so many is kept for addresses at which known peers are or were.
const KNOWN_SHARE: usize = 4;

/// Counts handshakes under way, in all and by address, and how fast they come.
#[derive(Debug)]
pub(super) struct Door {
    limits: LinkLimits,
    under_way: HashMap<IpAddr, usize>,
    total: usize,
    /// Where each peer was last proven to be. Bounded by the roster.
    known: HashMap<NodeId, IpAddr>,
    /// Handshakes that may start without proof of address; refilled at `handshake_rate`.
    unproven: f64,
    refilled: Instant,
}

impl Door {
    pub(super) fn new(limits: LinkLimits, now: Instant) -> Self {
        Self {
            limits,
            under_way: HashMap::new(),
            total: 0,
            known: HashMap::new(),
            unproven: f64::from(limits.handshake_rate),
            refilled: now,
        }
    }

    /// Judges a first packet from `address`; `proven` once the address has answered a retry.
    pub(super) fn judge(&mut self, address: IpAddr, proven: bool, now: Instant) -> Verdict {
        let rate = f64::from(self.limits.handshake_rate);
        let elapsed = now.saturating_duration_since(self.refilled).as_secs_f64();
        self.unproven = (self.unproven + elapsed * rate).min(rate);
        self.refilled = now;
        if !proven && self.unproven < 1.0 {
            return Verdict::Retry;
        }
        let kept = self.limits.handshakes_max / KNOWN_SHARE;
        if self.total + kept >= self.limits.handshakes_max {
            // The source of a packet is easily forged.
            match (self.is_known(address), proven) {
                _ if self.total >= self.limits.handshakes_max => return Verdict::Ignore,
                (false, _) => return Verdict::Ignore,
                (true, false) => return Verdict::Retry,
                (true, true) => {}
            }
        }
        let under_way = self.under_way.entry(prefix(address)).or_insert(0);
        if *under_way >= self.limits.handshakes_per_address_max {
            return Verdict::Refuse;
        }
        *under_way += 1;
        self.total += 1;
        self.unproven = (self.unproven - 1.0).max(0.0);
        Verdict::Admit
    }

    /// The peer is at this address now, or is to be looked for there.
    pub(super) fn know(&mut self, peer: &NodeId, address: IpAddr) {
        self.known.insert(peer.clone(), prefix(address));
    }

    /// Only looked at in a flood: the list is short.
    fn is_known(&self, address: IpAddr) -> bool {
        let address = prefix(address);
        self.known.values().any(|known| *known == address)
    }

    /// A handshake that was admitted is over, either way.
    pub(super) fn leave(&mut self, address: IpAddr) {
        let address = prefix(address);
        if let Some(under_way) = self.under_way.get_mut(&address) {
            *under_way = under_way.saturating_sub(1);
            self.total = self.total.saturating_sub(1);
            if *under_way == 0 {
                self.under_way.remove(&address);
            }
        }
    }
}

/// One customer's addresses count as one: an IPv6 /64, an IPv4 address however it is written.
fn prefix(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn door(rate: u32) -> (Door, Instant) {
        let limits = LinkLimits {
            handshakes_max: 5,
            handshakes_per_address_max: 2,
            handshake_rate: rate,
            ..LinkLimits::default()
        };
        let now = Instant::now();
        (Door::new(limits, now), now)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn one_address_cannot_take_all_handshakes() {
        let (mut door, now) = door(100);
        let verdicts = [1, 2, 3].map(|_| door.judge(ip("192.0.2.1"), false, now));
        assert_eq!(verdicts, [Verdict::Admit, Verdict::Admit, Verdict::Refuse]);
        assert_eq!(door.judge(ip("::ffff:192.0.2.1"), false, now), Verdict::Refuse, "the same address");
        assert_eq!(door.judge(ip("2001:db8::1"), false, now), Verdict::Admit);
        assert_eq!(door.judge(ip("2001:db8::2"), false, now), Verdict::Admit);
        assert_eq!(door.judge(ip("192.0.2.9"), false, now), Verdict::Ignore, "the total, but for a known one's");
        door.leave(ip("192.0.2.1"));
        assert_eq!(door.judge(ip("192.0.2.1"), false, now), Verdict::Admit);
    }

    // [LINK-9]
    #[test]
    fn proven_addresses_without_a_key_do_not_take_the_places_of_known_peers() {
        let limits = LinkLimits { handshakes_max: 64, handshakes_per_address_max: 8, ..LinkLimits::default() };
        let now = Instant::now();
        let mut door = Door::new(limits, now);
        door.know(&"ncb.jp".parse().unwrap(), ip("203.0.113.7"));
        door.know(&"ncb.sg".parse().unwrap(), ip("2001:db8::1"));
        let attackers = (0..12u8).flat_map(|n| [IpAddr::from([192, 0, 2, n]); 8]);
        let admitted = attackers.filter(|from| door.judge(*from, true, now) == Verdict::Admit).count();
        assert_eq!(admitted, 48, "three quarters");
        assert_eq!(door.judge(ip("203.0.113.7"), false, now), Verdict::Retry, "a source is easily forged");
        assert_eq!(door.judge(ip("203.0.113.7"), true, now), Verdict::Admit);
        assert_eq!(door.judge(ip("2001:db8::2"), true, now), Verdict::Admit, "of the same network");
        door.know(&"ncb.jp".parse().unwrap(), ip("203.0.113.8"));
        assert_eq!(door.judge(ip("203.0.113.7"), true, now), Verdict::Ignore, "it has moved");
    }

    #[test]
    fn a_flood_must_prove_its_addresses_and_memory_does_not_grow() {
        let (mut door, now) = door(2);
        for n in 0..2u8 {
            assert_eq!(door.judge(IpAddr::from([192, 0, 2, n]), false, now), Verdict::Admit);
        }
        for n in 0..=255u8 {
            assert_eq!(door.judge(IpAddr::from([198, 51, 100, n]), false, now), Verdict::Retry);
        }
        assert_eq!(door.under_way.len(), 2);
        assert_eq!(door.judge(ip("198.51.100.7"), true, now), Verdict::Admit, "proven");
        assert_eq!(door.judge(ip("203.0.113.1"), false, now + Duration::from_millis(600)), Verdict::Admit, "refilled");
    }
}
