//! The tables of `relay.toml`.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use liaison_node::config::{Address, Rate, Reader, SecretRef, Share, Size};
use liaison_protocol::NodeId;
use tracing_subscriber::EnvFilter;

/// `[identity]`: the key that signs receipts and notices.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdentityConfig {
    /// `signing`: a Liaison key file with this relay's signing key. Required.
    pub signing: SecretRef,
    /// `passphrase`: what opens it; the first line of a file or credential. Required.
    pub passphrase: SecretRef,
}

impl IdentityConfig {
    pub(super) fn read(table: &mut Reader<'_>) -> Option<Self> {
        let (signing, passphrase) = (table.required_secret("signing"), table.required_secret("passphrase"));
        Some(Self { signing: signing?, passphrase: passphrase? })
    }
}

/// `[listen]`: where others reach this relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenConfig {
    /// `quic`: the UDP address for links. Required, for example `[::]:4433`.
    pub quic: SocketAddr,
    /// `admin`: the TCP address of /healthz, /readyz and /metrics; none if left out. Beyond loopback only with
    /// `admin_token`.
    pub admin: Option<SocketAddr>,
    /// `admin_token`: whoever reads /metrics has to show it as a bearer token. Metrics say who writes to whom, and when.
    pub admin_token: Option<SecretRef>,
    /// `admin_socket`: the Unix socket that the operator's commands talk to; default `relay.sock` beside the file.
    pub admin_socket: PathBuf,
    /// `admin_socket_mode`: `0600` (default, this user alone) or `0660` (its group too).
    pub admin_socket_mode: SocketMode,
}

/// Who may use the admin socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketMode {
    /// 0660: the user and its group.
    Group,
    /// 0600: the user that runs the relay.
    User,
}

impl SocketMode {
    /// Permission bits.
    #[must_use]
    pub const fn bits(self) -> u32 {
        match self {
            Self::Group => 0o660,
            Self::User => 0o600,
        }
    }
}

impl ListenConfig {
    pub(super) fn read(table: &mut Reader<'_>) -> Option<Self> {
        let quic = table.required("quic");
        let admin = table.text::<SocketAddr>("admin");
        let admin_token = table.secret("admin_token");
        if admin.is_some_and(|admin| !admin.ip().is_loopback()) && !table.has("admin_token") {
            table.refuse(
                "admin",
                "is not a loopback address, so that [listen] admin_token is needed: metrics say who writes to whom",
            );
        }
        let modes = [("0600", SocketMode::User), ("0660", SocketMode::Group)];
        let admin_socket = read_admin_socket(table);
        let admin_socket_mode = table.word("admin_socket_mode", &modes).unwrap_or(SocketMode::User);
        Some(Self { quic: quic?, admin, admin_token, admin_socket, admin_socket_mode })
    }
}

pub(super) fn read_admin_socket(listen: &mut Reader<'_>) -> PathBuf {
    listen.path("admin_socket").unwrap_or_else(|| listen.folder().join("relay.sock"))
}

/// `[tls]`: how this relay proves who it is on a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsConfig {
    /// `cert`: one Ed25519 certificate, PEM. Required. It is no secret; the place is written like one.
    pub cert: SecretRef,
    /// `key`: its private key, PKCS#8 PEM. Required.
    pub key: SecretRef,
}

impl TlsConfig {
    pub(super) fn read(table: &mut Reader<'_>) -> Option<Self> {
        let (cert, key) = (table.required_secret("cert"), table.required_secret("key"));
        Some(Self { cert: cert?, key: key? })
    }
}

/// `[store]`: where custody lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// `engine`: `embedded` (default).
    pub engine: Engine,
    /// `path`: a folder of its own; default `store` beside the file.
    pub path: PathBuf,
    /// `low_water`: while less is free on its disk, custody is refused; 64 MiB to 100 TiB, default 1 GiB.
    pub low_water: Size,
}

/// Which store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// Files on this machine.
    Embedded,
}

impl StoreConfig {
    const LOW_WATER_MIN: Size = Size(64 << 20);
    const LOW_WATER_MAX: Size = Size(100 << 40);
    const LOW_WATER_DEFAULT: Size = Size(1 << 30);

    pub(super) fn read(table: &mut Reader<'_>) -> Option<Self> {
        let engine = table.word("engine", &[("embedded", Engine::Embedded)]).unwrap_or(Engine::Embedded);
        let path = table.path("path").unwrap_or_else(|| table.folder().join("store"));
        let bounds = Self::LOW_WATER_MIN..=Self::LOW_WATER_MAX;
        let low_water = table.text_within("low_water", bounds).unwrap_or(Self::LOW_WATER_DEFAULT);
        Some(Self { engine, path, low_water })
    }
}

/// `[limits]`: what one agency may take up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// `per_agency_bytes`: held for one agency before custody is refused; 1 MiB to 100 TiB, default 10 GiB. The
    /// roster may set another for an agency.
    pub per_agency_bytes: Size,
    /// `per_agency_rate`: envelopes a second that one agency may submit, with bursts of ten seconds' worth; 1/s to
    /// 1000000/s, no limit if left out.
    pub per_agency_rate: Option<Rate>,
    /// `flash_reserve`: share of `per_agency_bytes` that only flash may use; 0% to 50%, default 5%.
    pub flash_reserve: Share,
}

impl LimitsConfig {
    const BYTES_MIN: Size = Size(1 << 20);
    const BYTES_MAX: Size = Size(100 << 40);
    const BYTES_DEFAULT: Size = Size(10 << 30);

    #[expect(clippy::unnecessary_wraps, reason = "the shape of every table's reader")]
    pub(super) fn read(table: &mut Reader<'_>) -> Option<Self> {
        let bytes = table.text_within("per_agency_bytes", Self::BYTES_MIN..=Self::BYTES_MAX);
        Some(Self {
            per_agency_bytes: bytes.unwrap_or(Self::BYTES_DEFAULT),
            per_agency_rate: table.text_within("per_agency_rate", Rate(1)..=Rate(1_000_000)),
            flash_reserve: table.text_within("flash_reserve", Share(0)..=Share(50)).unwrap_or(Share(5)),
        })
    }
}

/// `[[peer]]`: another relay, where the roster's word on it does not do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerConfig {
    /// `id`: its name in the roster. Required.
    pub id: NodeId,
    /// `addr`: `host:port`, one or a list, tried in turn; the roster's addresses if left out.
    pub addr: Vec<Address>,
    /// `cost`: of the link, for choosing among paths; 1 to 1000, default 10.
    pub cost: u32,
}

impl PeerConfig {
    /// Cost of a link where none is configured.
    pub const COST_DEFAULT: u32 = 10;

    pub(super) fn read(table: &mut Reader<'_>) -> Option<Self> {
        let id = table.required("id");
        let addr = table.texts("addr");
        let cost = table.integer("cost", 1..=1000).and_then(|cost| u32::try_from(cost).ok());
        Some(Self { id: id?, addr, cost: cost.unwrap_or(Self::COST_DEFAULT) })
    }
}

/// `[telemetry]`: what the relay says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// `log`: what is logged, for example `info` (default) or `info,liaison_node::link=debug`. Applied on reload.
    pub log: LogFilter,
    /// `format`: `auto` (default), `text` or `json`.
    pub format: LogFormat,
    /// `agency_labels`: whether queue metrics are told apart by agency; default true.
    pub agency_labels: bool,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl TelemetryConfig {
    #[expect(clippy::unnecessary_wraps, reason = "the shape of every table's reader")]
    pub(super) fn read(table: &mut Reader<'_>) -> Option<Self> {
        let formats = [("auto", LogFormat::Auto), ("json", LogFormat::Json), ("text", LogFormat::Text)];
        Some(Self {
            log: table.text("log").unwrap_or_default(),
            format: table.word("format", &formats).unwrap_or(LogFormat::Auto),
            agency_labels: table.flag("agency_labels").unwrap_or(true),
        })
    }
}

/// Directives of `tracing`: a level, and levels for single modules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFilter(String);

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".into())
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // `EnvFilter` takes a bare word for a module's name and would then log nothing but that module.
        let first = text.split(',').next().unwrap_or_default();
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        if !levels.contains(&first) {
            return Err(format!("'{text}' is not a log filter: begin with one of {}", levels.join(", ")));
        }
        EnvFilter::try_new(text).map_err(|error| format!("'{text}' is not a log filter: {error}"))?;
        Ok(Self(text.into()))
    }
}

impl LogFilter {
    /// The filter itself.
    #[must_use]
    pub fn to_filter(&self) -> EnvFilter {
        EnvFilter::new(&self.0)
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
