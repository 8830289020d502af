//! What a relay reads before it starts: roots, roster, link certificate and key, signing key.

use std::path::Path;

use bytes::Bytes;
use liaison_core::roster_state::{GRACE, check_clock};
use liaison_node::clock::BUILT;
use liaison_node::config::{SecretError, read_public};
use liaison_node::link::LinkIdentity;
use liaison_protocol::keyfile::{KEYFILE_BYTES_MAX, KeyRole, open_keys};
use liaison_protocol::limits::ROSTER_BYTES_MAX;
use liaison_protocol::roster::{Relay, Roster, RosterError, TrustAnchor};
use liaison_protocol::sign::SigningKey;
use liaison_protocol::{NodeId, Timestamp};

use crate::config::{IdentityConfig, RelayConfig, TlsConfig};
use crate::finding::Finding;

/// A roster file: the payload in base64, and signatures.
pub(crate) const ROSTER_FILE_BYTES_MAX: u64 = ROSTER_BYTES_MAX as u64 / 3 * 4 + 1024 * 1024;
/// `roots.json`.
const ROOTS_BYTES_MAX: u64 = 256 * 1024;
/// A certificate or key in PEM.
const PEM_BYTES_MAX: u64 = 64 * 1024;
/// What ends sooner is warned of.
const SOON_MS: u64 = 14 * 86_400_000;

/// Everything that the configuration names, read and found whole.
pub struct Keys {
    /// Where trust begins.
    pub anchor: TrustAnchor,
    /// The roster file's bytes: the store may be needed to verify them.
    pub signed_roster: Bytes,
    /// For links.
    pub link: LinkIdentity,
    /// For receipts and notices.
    pub signing: SigningKey,
}

impl Keys {
    /// Reads and verifies all of it. Opening the signing key takes about a second, on purpose.
    ///
    /// # Errors
    /// A failure for each file that cannot be used.
    pub fn load(config: &RelayConfig) -> Result<Self, Vec<Finding>> {
        let mut problems = Vec::new();
        let anchor = note(&mut problems, read_anchor(&config.roots));
        let roster = note(&mut problems, read_roster(&config.roster));
        let link = note(&mut problems, read_link_identity(&config.tls));
        let signing = note(&mut problems, read_signing_key(&config.identity, &config.id));
        match (anchor, roster, link, signing) {
            (Some(anchor), Some(signed_roster), Some(link), Some(signing)) => {
                Ok(Self { anchor, signed_roster, link, signing })
            }
            _ => Err(problems),
        }
    }
}

fn note<T>(problems: &mut Vec<Finding>, outcome: Result<T, Finding>) -> Option<T> {
    outcome.map_err(|problem| problems.push(problem)).ok()
}

pub(crate) fn read_anchor(path: &Path) -> Result<TrustAnchor, Finding> {
    let bytes = read_public(path, ROOTS_BYTES_MAX).map_err(|error| unreadable("roots", &error))?;
    TrustAnchor::from_json(&bytes).map_err(|error| Finding::fail("roots", format!("{}: {error}", path.display())))
}

/// The roster file as it is.
pub(crate) fn read_roster(path: &Path) -> Result<Bytes, Finding> {
    let bytes = read_public(path, ROSTER_FILE_BYTES_MAX).map_err(|error| unreadable("roster", &error))?;
    Ok(bytes.into())
}

/// What the roster file says, as far as the roots file vouches for it.
pub(crate) fn check_roster(path: &Path, anchor: &TrustAnchor) -> Result<Roster, Finding> {
    let refused = match Roster::verify_first(&read_roster(path)?, anchor) {
        Ok(roster) => return Ok(roster),
        Err(refused) => refused,
    };
    let text = format!("{}: {refused}", path.display());
    Err(match refused {
        // [ROSTER-14]
        RosterError::Threshold { .. } => Finding::warn(
            "roster",
            format!("{text}; the relay starts if its store holds the roster that replaced the root keys"),
        )
        .fix("get the present roots.json from the federation's publishers"),
        _ => Finding::fail("roster", text)
            .fix("get the roster, and a new roots.json if there is one, from the federation's publishers"),
    })
}

pub(crate) fn read_link_identity(config: &TlsConfig) -> Result<LinkIdentity, Finding> {
    let place = config.cert.locate().map_err(|error| unreadable("link-cert", &error))?;
    let cert = read_public(&place, PEM_BYTES_MAX).map_err(|error| unreadable("link-cert", &error))?;
    let key = config.key.read(PEM_BYTES_MAX).map_err(|error| unreadable("link-key", &error))?;
    LinkIdentity::from_pem(&cert, &key)
        .map_err(|error| Finding::fail("link-key", format!("{} and {}: {error}", config.cert, config.key)))
}

pub(crate) fn read_signing_key(config: &IdentityConfig, me: &NodeId) -> Result<SigningKey, Finding> {
    let fail = |text: String| Finding::fail("signing-key", text);
    let passphrase = config.passphrase.read_line().map_err(|error| unreadable("passphrase", &error))?;
    let sealed = config.signing.read(KEYFILE_BYTES_MAX as u64).map_err(|error| unreadable("signing-key", &error))?;
    let entries = open_keys(&passphrase, &sealed).map_err(|error| fail(format!("{}: {error}", config.signing)))?;
    let of_role = entries.iter().filter(|entry| entry.role == KeyRole::Signing);
    let entry = of_role.clone().find(|entry| entry.name == me.as_str()).ok_or_else(|| {
        let names: Vec<_> = of_role.map(|entry| entry.name.as_str()).collect();
        fail(format!("{}: has no signing key named {me}, but: {}", config.signing, or_none(&names)))
    })?;
    let seed = entry.secret.seed().ok_or_else(|| fail(format!("{}: the key of {me} is damaged", config.signing)))?;
    Ok(SigningKey::from_seed(&seed))
}

fn or_none(names: &[&str]) -> String {
    if names.is_empty() { "none".into() } else { names.join(", ") }
}

fn unreadable(id: &str, error: &SecretError) -> Finding {
    Finding::fail(id, error)
}

/// How the roster stands against the clock, and what it says of this relay and its keys: good news too.
pub(crate) fn compare(
    config: &RelayConfig,
    roster: &Roster,
    link: Option<&LinkIdentity>,
    signing: Option<&SigningKey>,
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = vec![standing(roster, now)];
    if let Err(behind) = check_clock(roster, now, BUILT) {
        let text = format!("{behind} (at least {} behind)", days(behind.at_least.since(now).as_millis()));
        findings.push(Finding::fail("clock", text).fix("set the clock: timedatectl set-ntp true"));
    }
    let Some(me) = roster.relay(&config.id) else {
        let text = format!("'{}' is not a relay of roster version {}", config.id, roster.version());
        let known: Vec<_> = roster.relays().map(|relay| relay.id.as_str()).collect();
        findings.push(Finding::fail("id", text).fix(format!("its relays are: {}", or_none(&known))));
        return findings;
    };
    findings.extend(compare_entry(config, me, link, signing, now));
    findings.extend(config.peers.iter().filter(|peer| roster.relay(&peer.id).is_none()).map(|peer| {
        Finding::warn("peer", format!("[[peer]] {} is not a relay of roster version {}", peer.id, roster.version()))
    }));
    findings
}

fn compare_entry(
    config: &RelayConfig,
    me: &Relay,
    link: Option<&LinkIdentity>,
    signing: Option<&SigningKey>,
    now: Timestamp,
) -> Vec<Finding> {
    let ask = "use the key that the roster names, or have its publishers enter this key";
    let mut findings = Vec::new();
    if me.region != config.region {
        let text = format!("region is '{}' here and '{}' in the roster", config.region, me.region);
        findings.push(Finding::fail("region", text).fix(format!("set region = \"{}\"", me.region)));
    }
    if let Some(link) = link {
        findings.push(match link.tls_key() == &me.tls_key {
            true => Finding::ok("link-key", "is the one that the roster names"),
            false => Finding::fail("link-key", format!("is not the one that the roster names for {}", me.id)).fix(ask),
        });
    }
    if let Some(signing) = signing {
        findings.push(match signing.verifying_key() == me.sign_key {
            true => Finding::ok("signing-key", "is the one that the roster names"),
            false => {
                Finding::fail("signing-key", format!("is not the one that the roster names for {}", me.id)).fix(ask)
            }
        });
    }
    let left = me.not_after.since(now);
    if me.not_after <= now {
        findings.push(
            Finding::fail("keys-expiry", "this relay's keys have ended, by the roster")
                .fix("make new ones, and have them entered"),
        );
    } else if left.as_millis() < u128::from(SOON_MS) {
        let text = format!("this relay's keys end in {}, by the roster", days(left.as_millis()));
        findings.push(Finding::warn("keys-expiry", text).fix("make new ones, and have them entered"));
    }
    findings
}

fn standing(roster: &Roster, now: Timestamp) -> Finding {
    let (signed, roots) = (roster.signatures(), roster.document().roots.keys.len());
    let what = format!("version {}, signed {signed} of {roots} ({} needed)", roster.version(), roster.threshold());
    let renew = "get the next one from the federation's publishers, then: liaison-relay reload";
    let left = roster.expires().since(now);
    if now > roster.expires().after(GRACE) {
        let text = format!("{what}, ended {} ago: no custody is taken", days(now.since(roster.expires()).as_millis()));
        return Finding::fail("roster", text).fix(renew);
    }
    if now > roster.expires() {
        let until = days(roster.expires().after(GRACE).since(now).as_millis());
        return Finding::warn("roster", format!("{what}, ended; no custody is taken after {until} more")).fix(renew);
    }
    let text = format!("{what}, {} left", days(left.as_millis()));
    if left.as_millis() < u128::from(SOON_MS) {
        return Finding::warn("roster", text).fix(renew);
    }
    Finding::ok("roster", text)
}

fn days(millis: u128) -> String {
    let hours = millis / 3_600_000;
    match hours {
        0 => format!("{} min", millis / 60_000),
        1..48 => format!("{hours} h"),
        _ => format!("{} d", hours / 24),
    }
}
