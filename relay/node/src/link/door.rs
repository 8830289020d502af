//! Who may start a handshake. Pure: the time is an argument.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

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

/// Counts handshakes under way, in all and by address, and how fast they come.
#[derive(Debug)]
pub(super) struct Door {
    limits: LinkLimits,
    under_way: HashMap<IpAddr, usize>,
    total: usize,
    /// Handshakes that may start without proof of address; refilled at `handshake_rate`.
    unproven: f64,
    refilled: Instant,
}

impl Door {
    pub(super) fn new(limits: LinkLimits, now: Instant) -> Self {
        Self { limits, under_way: HashMap::new(), total: 0, unproven: f64::from(limits.handshake_rate), refilled: now }
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
        if self.total >= self.limits.handshakes_max {
            return Verdict::Ignore;
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
            handshakes_max: 4,
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
        assert_eq!(door.judge(ip("192.0.2.9"), false, now), Verdict::Ignore, "the total");
        door.leave(ip("192.0.2.1"));
        assert_eq!(door.judge(ip("192.0.2.1"), false, now), Verdict::Admit);
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
