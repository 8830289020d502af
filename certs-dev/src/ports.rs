//! Ports for relays: given, or free ones of the system.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

/// One relay's listeners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    /// UDP, for links.
    pub(crate) quic: SocketAddr,
    /// TCP, for the operator's page and metrics.
    pub(crate) admin: SocketAddr,
}

/// Two ports a relay from `base` on. `None` past 65535.
pub(crate) fn from_base(base: u16, relays: usize) -> Option<Vec<Ports>> {
    let port =
        |offset: usize| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, base.checked_add(offset.try_into().ok()?)?)));
    (0..relays).map(|relay| Some(Ports { quic: port(2 * relay)?, admin: port(2 * relay + 1)? })).collect()
}

/// Ports that are free now. They are all held until the last is chosen, so that they differ; they are free again
/// when this returns, and another process may take one before the relay starts.
pub(crate) fn free(relays: usize) -> io::Result<Vec<Ports>> {
    let held = (0..relays).map(|_| {
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let tcp = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        Ok((udp, tcp))
    });
    let held = held.collect::<io::Result<Vec<_>>>()?;
    held.iter().map(|(udp, tcp)| Ok(Ports { quic: udp.local_addr()?, admin: tcp.local_addr()? })).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn free_ports_differ_and_can_be_bound() {
        let ports = free(20).unwrap();
        let quic: BTreeSet<u16> = ports.iter().map(|ports| ports.quic.port()).collect();
        let admin: BTreeSet<u16> = ports.iter().map(|ports| ports.admin.port()).collect();
        assert_eq!((quic.len(), admin.len()), (20, 20));
        assert!(UdpSocket::bind(ports[0].quic).is_ok() && TcpListener::bind(ports[0].admin).is_ok());
    }

    #[test]
    fn given_ports_count_up_and_end_at_65535() {
        let ports = from_base(4000, 2).unwrap();
        assert_eq!([ports[0].quic.port(), ports[0].admin.port(), ports[1].quic.port()], [4000, 4001, 4002]);
        assert!(from_base(65_534, 1).is_some());
        assert!(from_base(65_533, 2).is_none());
    }
}
