//! From options to a folder, all or nothing.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use liaison_protocol::ids::ParseIdError;
use liaison_protocol::keyfile::{KdfCost, KeyRole};
use liaison_protocol::precedence::Precedence;
use liaison_protocol::roster::{
    AgencyEntry, AgencyStatus, Party, RelayEntry, RootKey, RootSet, Roster, RosterDocument, RosterError, SignKeyEntry,
    TrustAnchor,
};

use crate::federation::{AgencyFiles, Federation, RelayFiles};
use crate::files::{self, Access, FileError};
use crate::keys::{self, KeyError, NodeKeys};
use crate::plan::{Plan, plan};
use crate::ports::{self, Ports};
use crate::publish::{VALIDITY, agree};
use crate::{config, now, rng};

/// Root keys made, and how many of them must sign.
const ROOTS: usize = 3;
const THRESHOLD: u8 = 2;
/// How long the nodes' keys hold.
const KEYS_VALID: Duration = Duration::from_secs(365 * 86_400);
/// Keys hold from a little before now: clocks differ.
const CLOCK_MARGIN: Duration = Duration::from_secs(3600);
/// Seven days: how long prekeys are kept for late mail.
const MAX_TTL_S: u64 = 7 * 86_400;

/// What to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The folder: new, or empty.
    pub out: PathBuf,
    /// What people call the federation; 1 to 63 bytes; default `dev`.
    pub name: String,
    /// 1 to 50, default 2.
    pub regions: usize,
    /// 1 to 20, default 1.
    pub relays_per_region: usize,
    /// 1 to 2,000, default 3.
    pub agencies: usize,
    /// Two ports a relay from here on; default: free ones.
    pub base_port: Option<u16>,
    /// How costly the key files are to open; default [`Kdf::Standard`].
    pub kdf: Kdf,
}

/// How costly the key files are to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kdf {
    /// 8 MiB, one pass: for tests, where nodes start often.
    Fast,
    /// As in production: 64 MiB, three passes, about 0.6 s.
    Standard,
}

impl Options {
    /// The defaults, in `out`.
    #[must_use]
    pub fn new(out: impl Into<PathBuf>) -> Self {
        Self {
            out: out.into(),
            name: "dev".into(),
            regions: 2,
            relays_per_region: 1,
            agencies: 3,
            base_port: None,
            kdf: Kdf::Standard,
        }
    }
}

/// Why no federation was made. The folder is as it was.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// An option is out of its bounds.
    #[error("{option}: {min} to {max}, not {value}")]
    Bounds {
        /// Which.
        option: &'static str,
        /// What was given.
        value: usize,
        /// At least.
        min: usize,
        /// At most.
        max: usize,
    },
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// A key.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A name of the plan: ours, so never.
    #[error(transparent)]
    Name(#[from] ParseIdError),
    /// The folder holds something.
    #[error("{} is not empty; name a new folder", path.display())]
    NotEmpty {
        /// Which.
        path: PathBuf,
    },
    /// The system gives no port.
    #[error("no free port on 127.0.0.1: {0}")]
    NoPort(io::Error),
    /// The base port leaves too few.
    #[error("--base-port {base}: {relays} relays need {} ports, which end past 65535", 2 * relays)]
    BasePort {
        /// What was given.
        base: u16,
        /// How many relays.
        relays: usize,
    },
    /// What was made does not verify: a mistake here.
    #[error(transparent)]
    Roster(#[from] RosterError),
}

/// Makes a federation.
///
/// # Errors
/// [`MakeError`]. Everything is made in a folder beside `options.out` and moved there in the end: after an error
/// nothing is left.
pub fn make(options: &Options) -> Result<Federation, MakeError> {
    check(options)?;
    let ports = choose_ports(options)?;
    let out = std::path::absolute(&options.out).map_err(FileError::new("use", &options.out))?;
    let building = building_folder(&out);
    files::folder(&building)?;
    let made = build(options, &building, &ports).and_then(|federation| {
        take_place(&building, &out).map_err(FileError::new("make", &out))?;
        Ok(Federation { folder: out, ..federation })
    });
    if made.is_err() {
        // Best effort: the error that is reported is the one that matters.
        let _ = fs::remove_dir_all(&building);
    }
    made
}

/// Renames `building` to `out`. An empty folder that is there stays, since somebody may stand in it, and is filled.
fn take_place(building: &Path, out: &Path) -> io::Result<()> {
    if !out.exists() {
        return fs::rename(building, out);
    }
    for entry in fs::read_dir(building)? {
        let entry = entry?;
        fs::rename(entry.path(), out.join(entry.file_name()))?;
    }
    fs::remove_dir(building)
}

fn check(options: &Options) -> Result<(), MakeError> {
    let bounds = [
        ("--name (bytes)", options.name.len(), 1, 63),
        ("--regions", options.regions, 1, 50),
        ("--relays-per-region", options.relays_per_region, 1, 20),
        ("--agencies", options.agencies, 1, 2_000),
    ];
    for (option, value, min, max) in bounds {
        if !(min..=max).contains(&value) {
            return Err(MakeError::Bounds { option, value, min, max });
        }
    }
    let path = &options.out;
    let entries = match fs::read_dir(path) {
        Ok(mut entries) => entries.next().is_some(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => return Err(FileError::new("use", path)(error).into()),
    };
    if entries { Err(MakeError::NotEmpty { path: path.clone() }) } else { Ok(()) }
}

fn choose_ports(options: &Options) -> Result<Vec<Ports>, MakeError> {
    let relays = options.regions * options.relays_per_region;
    match options.base_port {
        Some(base) => ports::from_base(base, relays).ok_or(MakeError::BasePort { base, relays }),
        None => ports::free(relays).map_err(MakeError::NoPort),
    }
}

/// Beside the target, so that the rename stays within one file system.
fn building_folder(out: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".making-");
    name.push(out.file_name().unwrap_or_default());
    name.push(format!(".{}", std::process::id()));
    out.with_file_name(name)
}

fn build(options: &Options, folder: &Path, ports: &[Ports]) -> Result<Federation, MakeError> {
    let cost = match options.kdf {
        Kdf::Fast => KdfCost::MINIMUM,
        Kdf::Standard => KdfCost::DEFAULT,
    };
    let plan = plan(options.regions, options.relays_per_region, options.agencies)?;
    let federation = lay_out(options, folder, plan, ports);
    files::folder(&folder.join("relays"))?;
    files::folder(&folder.join("agencies"))?;
    let roots = keys::make_roots(&federation.root_keys(), ROOTS, cost)?;
    let mut document = genesis(options, &roots);
    for relay in &federation.relays {
        document.relays.push(make_relay(&federation, relay, cost)?);
    }
    for agency in &federation.agencies {
        document.agencies.push(make_agency(&federation, agency, cost)?);
    }
    agree(&mut document, Party::Any, Party::Any, Precedence::Flash);

    let anchor = TrustAnchor { federation: document.federation, roots: document.roots.clone() };
    let signers: Vec<&RootKey> = roots.iter().take(usize::from(THRESHOLD)).collect();
    let signed = document.sign(&signers, &mut rng());
    Roster::verify_first(&signed, &anchor)?;
    files::write(&federation.roots_path(), &anchor.to_json(), Access::Public)?;
    files::write(&federation.roster_path(), &signed, Access::Public)?;
    let federation = Federation { federation: document.federation.to_string(), ..federation };
    federation.save()?;
    Ok(federation)
}

fn lay_out(options: &Options, folder: &Path, plan: Plan, ports: &[Ports]) -> Federation {
    let relays = plan.relays.into_iter().zip(ports);
    let relays = relays.map(|(relay, ports)| RelayFiles {
        id: relay.id,
        region: relay.region,
        quic: ports.quic,
        admin: ports.admin,
    });
    let agencies = plan.agencies.into_iter();
    let agencies = agencies.map(|agency| AgencyFiles { id: agency.id, region: agency.region, home: agency.home });
    Federation {
        folder: folder.into(),
        name: options.name.clone(),
        federation: String::new(),
        relays: relays.collect(),
        agencies: agencies.collect(),
    }
}

fn genesis(options: &Options, roots: &[RootKey]) -> RosterDocument {
    let keys = roots.iter().map(|root| root.public().clone()).collect();
    let now = now();
    RosterDocument::genesis(&options.name, RootSet { threshold: THRESHOLD, keys }, now, now.after(VALIDITY))
}

fn make_relay(federation: &Federation, relay: &RelayFiles, cost: KdfCost) -> Result<RelayEntry, MakeError> {
    let folder = federation.relay_folder(&relay.id);
    let NodeKeys { tls_key, sign_key } = keys::make_node(&folder, relay.id.as_str(), "sign.key", &[], cost)?;
    files::write(&federation.relay_config(&relay.id), config::relay_toml(relay).as_bytes(), Access::Public)?;
    Ok(RelayEntry {
        id: relay.id.clone(),
        region: relay.region.clone(),
        addresses: vec![relay.quic.to_string()],
        tls_key,
        sign_key,
        operator: format!("development relay of {}", relay.region),
        not_after: now().after(KEYS_VALID),
    })
}

fn make_agency(federation: &Federation, agency: &AgencyFiles, cost: KdfCost) -> Result<AgencyEntry, MakeError> {
    let folder = federation.agency_folder(&agency.id);
    let more = [KeyRole::AtRest];
    let NodeKeys { tls_key, sign_key } = keys::make_node(&folder, agency.id.as_str(), "identity.key", &more, cost)?;
    let text = config::liaisond_toml(agency);
    files::write(&federation.agency_config(&agency.id), text.as_bytes(), Access::Public)?;
    let (not_before, not_after) = (now().before(CLOCK_MARGIN), now().after(KEYS_VALID));
    Ok(AgencyEntry {
        id: agency.id.clone(),
        name: format!("Agency {} (development)", agency.id),
        home: agency.home.clone(),
        tls_keys: vec![tls_key],
        sign_keys: vec![SignKeyEntry { alg: 1, public: sign_key, not_before, not_after }],
        max_ttl_s: MAX_TTL_S,
        quota_bytes: None,
        status: AgencyStatus::Active,
    })
}
