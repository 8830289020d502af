//! `liaisond.toml`: one struct for each table, checked as it is read.

use std::path::{Path, PathBuf};
use std::time::Duration;

use liaison_client::attachment::unannounced::UnannouncedLimits;
use liaison_client::office::{Delays, Policy};
use liaison_node::config::{self, Address, ConfigError, Reader, SecretRef, Size, Span};
use liaison_protocol::inner::Tlp;
use liaison_protocol::{AgencyId, NodeId};
use tracing_subscriber::EnvFilter;

/// Everything that a daemon is told. Paths are absolute or relative to the current folder; the file's own relative
/// paths started from its folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DaemonConfig {
    /// `agency`: whose daemon this is. Required.
    pub(crate) agency: AgencyId,
    /// `roster`: the signed roster, JSON. Required. Read at the start and at SIGHUP.
    pub(crate) roster: PathBuf,
    /// `roots`: the federation's root keys and threshold, JSON. Required. Trust begins here.
    pub(crate) roots: PathBuf,
    /// `[identity]`
    pub(crate) identity: IdentityConfig,
    /// `[tls]`
    pub(crate) tls: TlsConfig,
    /// `[relays] home`: home relays, the preferred one first; the roster's, with its addresses, if left out.
    pub(crate) home: Vec<HomeRelay>,
    /// `[store]`
    pub(crate) store: StoreTable,
    /// `[outbox] inquire_every`: how often relays are asked after messages without a delivery receipt; 1 minute to 1
    /// day, default 1 hour.
    pub(crate) inquire_every: Span,
    /// `[outbox] another_way_flash` and so on, by precedence: a message without a delivery receipt is sent by another home
    /// relay so long after it was handed over; 5 seconds to 1 day, default 30 s, 2 min, 10 min and 1 h.
    pub(crate) another_way: Delays,
    /// `[inbox]`: what others may leave here.
    pub(crate) unannounced: UnannouncedLimits,
    /// `[api] socket`: where programs ask; default `liaisond.sock` beside the file.
    pub(crate) socket: PathBuf,
    /// `[policy] default_tlp`: the mark of messages that name none. Left out: they are refused.
    pub(crate) default_tlp: Option<Tlp>,
    /// `[telemetry]`
    pub(crate) telemetry: TelemetryTable,
}

/// `[identity]`: the keys of this agency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdentityConfig {
    /// `signing`: a Liaison key file with the agency's signing key and its at-rest key. Required.
    pub(crate) signing: SecretRef,
    /// `passphrase`: what opens it; the first line of a file or credential. Required.
    pub(crate) passphrase: SecretRef,
}

/// `[tls]`: how this daemon proves who it is on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TlsConfig {
    /// `cert`: one Ed25519 certificate, PEM. Required.
    pub(crate) cert: SecretRef,
    /// `key`: its private key, PKCS#8 PEM. Required.
    pub(crate) key: SecretRef,
}

/// One entry of `[relays] home`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HomeRelay {
    /// `id`: its name in the roster. Required.
    pub(crate) id: NodeId,
    /// `addr`: `host:port`, one or a list, tried in turn; the roster's addresses if left out.
    pub(crate) addr: Vec<Address>,
}

/// `[store]`: outbox, inbox and everything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoreTable {
    /// `path`: a folder of its own; default `store` beside the file. Beside it lie two files that must never be in a
    /// backup: prekeys' slots (`.slots` after its name), and numbers that are set aside (`.lease`).
    pub(crate) path: PathBuf,
    /// `min_free`: nothing new is taken while less is free on its disk; 64 MiB to 100 TiB, default 1 GiB.
    pub(crate) min_free: Size,
    /// `retain_read`: how long messages are kept that are read and handed over, or sent and delivered; 1 day to 10
    /// years, default 90 days.
    pub(crate) retain_read: Span,
}

/// `[telemetry]`: log lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TelemetryTable {
    /// `log`: `error`, `warn`, `info` (default), `debug`, `trace`, or a filter by module.
    pub(crate) log: String,
    /// `format`: `auto` (default: text on a terminal), `text`, `json`.
    pub(crate) format: LogFormat,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// JSON.
    Json,
    /// Text.
    Text,
}

impl DaemonConfig {
    /// Reads `file`.
    ///
    /// # Errors
    /// Every mistake in it.
    pub(crate) fn load(file: &Path) -> Result<Self, ConfigError> {
        config::load(file, Self::read)
    }

    fn read(root: &mut Reader<'_>) -> Option<Self> {
        let agency = root.required::<AgencyId>("agency");
        let roster = root.required_path("roster");
        let roots = root.required_path("roots");
        let identity = root.table("identity", |table| {
            let (signing, passphrase) = (table.required_secret("signing"), table.required_secret("passphrase"));
            Some(IdentityConfig { signing: signing?, passphrase: passphrase? })
        });
        let tls = root.table("tls", |table| {
            let (cert, key) = (table.required_secret("cert"), table.required_secret("key"));
            Some(TlsConfig { cert: cert?, key: key? })
        });
        let home = root.table("relays", |table| Some(table.tables("home", HomeRelay::read)));
        let store = root.table("store", StoreTable::read);
        let outbox = root.table("outbox", |table| {
            let bounds = Span(Duration::from_secs(60))..=Span::days(1);
            let every = table.text_within("inquire_every", bounds).unwrap_or(Span(Duration::from_secs(3600)));
            Some((every, read_delays(table)))
        });
        let unannounced = root.table("inbox", read_unannounced);
        let beside = root.folder().join("liaisond.sock");
        let socket = root.table("api", |table| Some(table.path("socket").unwrap_or(beside)));
        let words: Vec<(&str, Tlp)> = Tlp::ALL.iter().map(|tlp| (tlp.as_str(), *tlp)).collect();
        let default_tlp = root.table("policy", |table| Some(table.word("default_tlp", &words)));
        let telemetry = root.table("telemetry", TelemetryTable::read);
        Some(Self {
            agency: agency?,
            roster: roster?,
            roots: roots?,
            identity: identity?,
            tls: tls?,
            home: home?,
            store: store?,
            inquire_every: outbox.map(|(every, _)| every)?,
            another_way: outbox.map(|(_, delays)| delays)?,
            unannounced: unannounced?,
            socket: socket?,
            default_tlp: default_tlp?,
            telemetry: telemetry?,
        })
    }

    /// What the office is to keep to.
    pub(crate) fn policy(&self) -> Policy {
        Policy {
            default_tlp: self.default_tlp,
            min_free_bytes: self.store.min_free.0,
            retain_read: self.store.retain_read.0,
            inquire_every: self.inquire_every.0,
            unannounced: self.unannounced,
            another_way: self.another_way,
        }
    }

    /// Where the prekeys' slots are.
    pub(crate) fn slot_file(&self) -> PathBuf {
        let mut name = self.store.path.clone().into_os_string();
        name.push(".slots");
        name.into()
    }
}

/// `unannounced_max`: bytes of attachments' chunks that no message announces yet; 64 MiB to 64 GiB, default 512 MiB. One
/// sender has an eighth of it. `unannounced_life`: such a chunk goes after this time; 1 hour to 7 days, default 1 day.
#[expect(clippy::unnecessary_wraps, reason = "the shape of every table's reader")]
fn read_unannounced(table: &mut Reader<'_>) -> Option<UnannouncedLimits> {
    let UnannouncedLimits { bytes_max, life } = UnannouncedLimits::DEFAULT;
    let bytes_max = table.text_within("unannounced_max", Size(64 << 20)..=Size(64 << 30)).unwrap_or(Size(bytes_max));
    let lives = Span(Duration::from_secs(3600))..=Span::days(7);
    let life = table.text_within("unannounced_life", lives).unwrap_or(Span(life));
    Some(UnannouncedLimits { bytes_max: bytes_max.0, life: life.0 })
}

fn read_delays(table: &mut Reader<'_>) -> Delays {
    let mut read = |key, default| {
        let bounds = Span(Duration::from_secs(5))..=Span::days(1);
        table.text_within(key, bounds).map_or(default, |span| span.0)
    };
    let default = Delays::default();
    Delays {
        flash: read("another_way_flash", default.flash),
        immediate: read("another_way_immediate", default.immediate),
        priority: read("another_way_priority", default.priority),
        routine: read("another_way_routine", default.routine),
    }
}

impl HomeRelay {
    fn read(table: &mut Reader<'_>) -> Option<Self> {
        let id = table.required("id");
        let addr = table.texts("addr");
        Some(Self { id: id?, addr })
    }
}

impl StoreTable {
    #[expect(clippy::unnecessary_wraps, reason = "the shape of every table's reader")]
    fn read(table: &mut Reader<'_>) -> Option<Self> {
        let path = table.path("path").unwrap_or_else(|| table.folder().join("store"));
        let min_free = table.text_within("min_free", Size(64 << 20)..=Size(100 << 40)).unwrap_or(Size(1 << 30));
        let bounds = Span::days(1)..=Span::days(3650);
        let retain_read = table.text_within("retain_read", bounds).unwrap_or(Span::days(90));
        Some(Self { path, min_free, retain_read })
    }
}

impl TelemetryTable {
    #[expect(clippy::unnecessary_wraps, reason = "the shape of every table's reader")]
    fn read(table: &mut Reader<'_>) -> Option<Self> {
        let log = table.text::<String>("log").unwrap_or_else(|| "info".into());
        if let Err(error) = EnvFilter::try_new(&log) {
            table.refuse("log", error.to_string());
        }
        let formats = [("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)];
        let format = table.word("format", &formats).unwrap_or(LogFormat::Auto);
        Some(Self { log, format })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
agency = "ncb.sg"
roster = "roster.json"
roots = "roots.json"
[identity]
signing = "file:identity.key"
passphrase = "file:passphrase"
[tls]
cert = "file:link.cert.pem"
key = "file:link.key.pem"
[relays]
home = [ { id = "ap-1", addr = "ap-1.example:4433" }, { id = "ap-2", addr = ["a:1", "b:2"] } ]
[store]
min_free = "2GiB"
[policy]
default_tlp = "amber+strict"
"#;

    fn parse(text: &str) -> Result<DaemonConfig, ConfigError> {
        config::parse(Path::new("/etc/liaison/liaisond.toml"), text, DaemonConfig::read)
    }

    #[test]
    fn a_file_is_read_with_its_defaults_and_paths_from_its_folder() {
        let config = parse(GOOD).unwrap();
        assert_eq!(config.roster, Path::new("/etc/liaison/roster.json"));
        assert_eq!(config.socket, Path::new("/etc/liaison/liaisond.sock"));
        assert_eq!(config.slot_file(), Path::new("/etc/liaison/store.slots"));
        assert_eq!(config.home[1].addr.iter().map(Address::to_string).collect::<Vec<_>>(), ["a:1", "b:2"]);
        assert_eq!(config.default_tlp, Some(Tlp::AmberStrict));
        assert_eq!(config.store.retain_read, Span::days(90));
        assert_eq!(config.inquire_every, Span(Duration::from_secs(3600)));
        assert_eq!(config.unannounced, UnannouncedLimits::DEFAULT);
        let little =
            GOOD.replace("[policy]", "[inbox]\nunannounced_max = \"64MiB\"\nunannounced_life = \"1h\"\n[policy]");
        let little = parse(&little).unwrap().unannounced;
        assert_eq!((little.bytes_max, little.life), (64 << 20, Duration::from_secs(3600)));
        assert_eq!(config.another_way, Delays::default());
        let outbox = "[outbox]\ninquire_every = \"10m\"\nanother_way_flash = \"10s\"\n[policy]";
        let often = parse(&GOOD.replace("[policy]", outbox)).unwrap();
        assert_eq!(often.inquire_every, Span(Duration::from_secs(600)));
        assert_eq!(
            (often.another_way.flash, often.another_way.routine),
            (Duration::from_secs(10), Duration::from_secs(3600))
        );
    }

    #[test]
    fn an_address_without_a_port_that_can_be_is_refused() {
        for wrong in ["ap-1.example", "ap-1.example:99999", "ap-1.example:0", ":4433"] {
            let said = parse(&GOOD.replace("ap-1.example:4433", wrong)).unwrap_err().to_string();
            assert!(said.contains("liaisond.toml:12: [[relays.home]] addr:") && said.contains("host:port"), "{said}");
        }
    }

    #[test]
    fn every_mistake_is_named_with_its_line() {
        let text = GOOD.replace("min_free", "min_fre").replace("amber+strict", "ambr");
        let said = parse(&text).unwrap_err().to_string();
        assert!(said.contains("liaisond.toml:14: [store] min_fre: unknown key, did you mean 'min_free'?"), "{said}");
        assert!(said.contains("liaisond.toml:16: [policy] default_tlp: unknown value 'ambr'"), "{said}");
    }
}
