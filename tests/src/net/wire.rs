//! Two machines and a wire between them: network namespaces, made with `ip` alone.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Addresses of the wire's ends.
pub const ENDS: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 213, 7, 1), Ipv4Addr::new(10, 213, 7, 2)];
/// The same in IPv6, where there is any, until the wire is pulled.
pub const ENDS_V6: [Ipv6Addr; 2] =
    [Ipv6Addr::new(0xfd00, 0xd57, 0, 0, 0, 0, 0, 1), Ipv6Addr::new(0xfd00, 0xd57, 0, 0, 0, 0, 0, 2)];
/// Addresses that the first end moves to.
const MOVED: [Ipv4Addr; 2] = [Ipv4Addr::new(10, 213, 7, 3), ENDS[0]];
pub(super) const DEVICE: &str = "wire";
/// Nobody's: what is sent there arrives, and is thrown away, as the network card it was for is another.
const NOBODY: &str = "02:00:00:00:00:99";

/// See the module. Gone when dropped.
#[derive(Debug)]
pub struct Wire {
    machines: [String; 2],
    moves: AtomicUsize,
}

impl Wire {
    /// Makes both machines.
    ///
    /// # Errors
    /// It cannot be made here: that needs the right to (root), and `ip`.
    pub fn new() -> Result<Self, String> {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let machines = ["a", "b"].map(|end| format!("liaison-{}-{number}-{end}", std::process::id()));
        let wire = Self { machines, moves: AtomicUsize::new(0) };
        for machine in &wire.machines {
            ip(&["netns", "add", machine])?;
            ip(&["-n", machine, "link", "set", "lo", "up"])?;
        }
        let [one, other] = &wire.machines;
        ip(&["-n", one, "link", "add", DEVICE, "type", "veth", "peer", "name", DEVICE, "netns", other])?;
        for (end, machine) in wire.machines.iter().enumerate() {
            ip(&["-n", machine, "address", "add", &format!("{}/24", ENDS[end]), "dev", DEVICE])?;
            // As on a real wire, each datagram is a packet: else the kernel hands over many of them as one large one.
            ip(&["-n", machine, "link", "set", DEVICE, "gso_max_segs", "1"])?;
            ip(&["-n", machine, "link", "set", DEVICE, "up"])?;
            // There is not everywhere any, and only few ask for it.
            let address = format!("{}/64", ENDS_V6[end]);
            let _ = ip(&["-n", machine, "address", "add", &address, "dev", DEVICE, "nodad"]);
        }
        Ok(wire)
    }

    /// The namespaces.
    #[must_use]
    pub const fn machines(&self) -> &[String; 2] {
        &self.machines
    }

    /// Nothing passes any more, and both machines see it.
    pub fn pull(&self) {
        self.at(0, &["link", "set", DEVICE, "down"]);
    }

    /// After [`Wire::pull`].
    pub fn put_back(&self) {
        self.at(0, &["link", "set", DEVICE, "up"]);
    }

    /// As [`Wire::pull`] and [`Wire::put_back`], in no time: what the machine knew of connections over it is forgotten.
    pub fn blink(&self) {
        self.pull();
        self.put_back();
    }

    /// What this end sends is lost, and nobody is told; what it is sent arrives.
    pub fn mute(&self, end: usize) {
        let there = ENDS[1 - end].to_string();
        self.at(end, &["neighbour", "replace", &there, "lladdr", NOBODY, "dev", DEVICE, "nud", "permanent"]);
    }

    /// After [`Wire::mute`].
    pub fn unmute(&self, end: usize) {
        self.at(end, &["neighbour", "delete", &ENDS[1 - end].to_string(), "dev", DEVICE]);
    }

    /// The first machine has another address from now on.
    pub fn move_first(&self) {
        let moves = self.moves.fetch_add(1, Ordering::Relaxed);
        let (old, new) = (MOVED[(moves + 1) % 2], MOVED[moves % 2]);
        // In this order: with an address goes whatever was added after it.
        self.at(0, &["address", "delete", &format!("{old}/24"), "dev", DEVICE]);
        self.at(0, &["address", "add", &format!("{new}/24"), "dev", DEVICE]);
    }

    fn at(&self, end: usize, arguments: &[&str]) {
        ip(&[&["-n", &self.machines[end]], arguments].concat()).expect("an own namespace");
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        for machine in &self.machines {
            // It may not have come so far.
            let _ = ip(&["netns", "delete", machine]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
