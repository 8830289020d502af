//! Who is on which of two machines.
//!
//! Needs the right to make them (root) and `ip`, and for firewalls `nft`. Where something is missing each test says so
//! and skips; with `LIAISON_REQUIRE_NAMESPACES` set it fails instead.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use liaison_tests::fed::{Federation, Plan};
use liaison_tests::net::{ENDS, ENDS_V6, Firewall, Wire};

/// Says that something is not tested here.
pub(crate) fn skip(what: &str, why: &str) {
    assert!(std::env::var_os("LIAISON_REQUIRE_NAMESPACES").is_none(), "{what}: {why}");
    // Past the test runner, which keeps what passing tests print.
    let mut terminal = std::io::stderr();
    writeln!(terminal, "skipped: {what} ({why})").unwrap();
}

pub(crate) fn wire() -> Option<Wire> {
    Wire::new().inspect_err(|why| skip("network namespaces cannot be made here", why)).ok()
}

/// A wire whose ends can have firewalls.
pub(crate) fn wire_with_firewalls() -> Option<Wire> {
    let possible = Firewall::is_possible();
    possible.inspect_err(|why| skip("firewalls between machines cannot be made here", why)).ok()?;
    wire()
}

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Ip {
    V4,
    V6,
}

impl Ip {
    fn end(self, end: usize) -> IpAddr {
        if self == Self::V4 { ENDS[end].into() } else { ENDS_V6[end].into() }
    }

    const fn unspecified(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Self::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }
}

/// Where `relay` is found at this end of the wire.
fn at(fed: &Federation, end: usize, relay: &str, ip: Ip) -> SocketAddr {
    (ip.end(end), fed.quic_address(relay).port()).into()
}

/// A relay and its agency on each machine: the wire is between the relays.
pub(crate) fn two_regions(wire: &Wire, ip: Ip) -> Federation {
    let fed = Federation::make(&Plan { agencies: 2, ..Plan::default() });
    for (machine, [relay, agency]) in wire.machines().iter().zip([["ap-1", "ncb.sg"], ["eu-1", "ncb.ee"]]) {
        [relay, agency].iter().for_each(|node| fed.set_namespace(node, machine));
        fed.listen_everywhere(relay, ip.unspecified());
    }
    fed.redirect("ap-1", "eu-1", at(&fed, 1, "eu-1", ip));
    fed.redirect("eu-1", "ap-1", at(&fed, 0, "ap-1", ip));
    fed.start_all();
    fed
}

/// An agency alone on the first machine: the wire is between it and its relay.
pub(crate) fn a_lone_agency(wire: &Wire) -> Federation {
    let fed = Federation::make(&Plan { agencies: 2, ..Plan::default() });
    fed.set_namespace("ncb.sg", &wire.machines()[0]);
    ["ap-1", "eu-1", "ncb.ee"].iter().for_each(|node| fed.set_namespace(node, &wire.machines()[1]));
    fed.listen_everywhere("ap-1", Ip::V4.unspecified());
    fed.redirect_home("ncb.sg", "ap-1", at(&fed, 1, "ap-1", Ip::V4));
    fed.start_all();
    fed
}
