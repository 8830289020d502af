//! What firewalls and address translators between two machines do to datagrams: rules of `nft` on one of them.

use std::fmt;
use std::process::Command;
use std::sync::OnceLock;

use super::wire::{DEVICE, Wire};

const TABLE: &str = "inet liaison";
/// Where `nft` may be; often not in a `PATH`.
const PLACES: [&str; 3] = ["nft", "/usr/sbin/nft", "/sbin/nft"];

/// What one machine does with UDP datagrams of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// What arrives is thrown away, and nobody is told.
    DropArriving,
    /// What arrives is refused, and its sender is told so (ICMP or ICMPv6, port unreachable).
    RejectArriving,
    /// Programs are not allowed to send.
    ForbidSending,
    /// Packets that are larger than this are thrown away, and nobody is told.
    DropLarger {
        /// With its IP header.
        bytes: u16,
    },
    /// What arrives beyond this is thrown away, as a policer does.
    Police {
        /// Packets.
        per_second: u16,
    },
    /// What is sent leaves from this port.
    Translate {
        /// Of UDP.
        port: u16,
    },
    /// What comes from this port is counted, and let through.
    CountFrom {
        /// Of UDP.
        port: u16,
    },
}

impl Rule {
    /// The chain's type and hook.
    const fn hook(self) -> &'static str {
        match self {
            Self::ForbidSending => "type filter hook output priority 0",
            Self::Translate { .. } => "type nat hook postrouting priority 100",
            _ => "type filter hook input priority 0",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What a machine sends to itself passes.
        let way = if matches!(self, Self::ForbidSending | Self::Translate { .. }) { "oifname" } else { "iifname" };
        write!(f, "{way} {DEVICE} meta l4proto udp ")?;
        let hit = "counter name hits";
        match self {
            Self::DropArriving | Self::ForbidSending => write!(f, "{hit} drop"),
            Self::RejectArriving => write!(f, "{hit} reject with icmpx type port-unreachable"),
            Self::DropLarger { bytes } => write!(f, "meta length > {bytes} {hit} drop"),
            Self::Police { per_second } => write!(f, "limit rate over {per_second}/second burst 5 packets {hit} drop"),
            Self::Translate { port } => write!(f, "{hit} masquerade to :{port}"),
            Self::CountFrom { port } => write!(f, "udp sport {port} {hit}"),
        }
    }
}

/// A rule in force, until this is dropped. One for each machine at a time.
#[derive(Debug)]
#[must_use = "dropping it ends the rule"]
pub struct Firewall<'a> {
    wire: &'a Wire,
    end: usize,
}

impl<'a> Firewall<'a> {
    /// Whether `nft` is here.
    ///
    /// # Errors
    /// It is not.
    pub fn is_possible() -> Result<(), String> {
        nft().map(|_| ())
    }

    /// Puts `rule` in force at this end of the wire.
    ///
    /// # Errors
    /// `nft` is missing, or the kernel has no such rules.
    pub fn new(wire: &'a Wire, end: usize, rule: Rule) -> Result<Self, String> {
        let hook = rule.hook();
        // In one transaction: all of it, or nothing.
        let script = format!(
            "create table {TABLE}; add counter {TABLE} hits; add chain {TABLE} rules {{ {hook}; }}; \
             add rule {TABLE} rules {rule}"
        );
        run(wire, end, &script).map(|_| Self { wire, end })
    }

    /// Datagrams that it did something to.
    ///
    /// # Panics
    /// `nft` says something unheard of.
    #[must_use]
    pub fn hits(&self) -> u64 {
        let text = run(self.wire, self.end, &format!("list counter {TABLE} hits")).expect("a counter");
        let mut words = text.split_whitespace().skip_while(|word| *word != "packets").skip(1);
        words.next().and_then(|word| word.parse().ok()).unwrap_or_else(|| panic!("a number of packets: {text}"))
    }
}

impl Drop for Firewall<'_> {
    fn drop(&mut self) {
        // The machine may be gone, and the rule with it.
        let _ = run(self.wire, self.end, &format!("delete table {TABLE}"));
    }
}

fn nft() -> Result<&'static str, String> {
    static FOUND: OnceLock<Option<&str>> = OnceLock::new();
    let answers = |place: &&str| Command::new(place).arg("--version").output().is_ok();
    FOUND.get_or_init(|| PLACES.into_iter().find(answers)).ok_or_else(|| "nft is not installed".into())
}

fn run(wire: &Wire, end: usize, script: &str) -> Result<String, String> {
    let output = Command::new("ip").args(["netns", "exec", &wire.machines()[end], nft()?, script]).output();
    let output = output.map_err(|error| format!("ip: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(format!("nft: {}", text(&output.stderr))) }
}
