//! What the daemon reads before it starts: roots, roster, link certificate and key, the agency's keys.

use std::path::Path;

use bytes::Bytes;
use liaison_client::at_rest::AtRest;
use liaison_node::config::read_public;
use liaison_node::link::LinkIdentity;
use liaison_protocol::AgencyId;
use liaison_protocol::keyfile::{KEYFILE_BYTES_MAX, KeyRole, open_keys};
use liaison_protocol::limits::ROSTER_BYTES_MAX;
use liaison_protocol::roster::{Roster, RosterError, TrustAnchor};
use liaison_protocol::sign::SigningKey;

use crate::config::{DaemonConfig, TlsConfig};
use crate::failure::Finding;

/// A roster file: the payload in base64, and signatures.
pub(crate) const ROSTER_FILE_BYTES_MAX: u64 = ROSTER_BYTES_MAX as u64 / 3 * 4 + 1024 * 1024;
const ROOTS_BYTES_MAX: u64 = 256 * 1024;
const PEM_BYTES_MAX: u64 = 64 * 1024;

/// Everything that the configuration names, read and found whole.
pub(crate) struct Keys {
    pub(crate) anchor: TrustAnchor,
    pub(crate) signed_roster: Bytes,
    pub(crate) link: LinkIdentity,
    pub(crate) signing: SigningKey,
    pub(crate) at_rest: AtRest,
}

impl Keys {
    /// Reads and verifies all of it. Opening the key file takes about a second, on purpose.
    ///
    /// # Errors
    /// A failure for each file that cannot be used.
    pub(crate) fn load(config: &DaemonConfig) -> Result<Self, Vec<Finding>> {
        let mut problems = Vec::new();
        let anchor = note(&mut problems, read_anchor(&config.roots));
        let signed = note(&mut problems, read_roster(&config.roster));
        let link = note(&mut problems, read_link_identity(&config.tls));
        let secrets = note(&mut problems, read_secrets(config));
        match (anchor, signed, link, secrets) {
            (Some(anchor), Some(signed_roster), Some(link), Some((signing, at_rest))) => {
                Ok(Self { anchor, signed_roster, link, signing, at_rest })
            }
            _ => Err(problems),
        }
    }
}

fn note<T>(problems: &mut Vec<Finding>, outcome: Result<T, Finding>) -> Option<T> {
    outcome.map_err(|problem| problems.push(problem)).ok()
}

pub(crate) fn read_anchor(path: &Path) -> Result<TrustAnchor, Finding> {
    let bytes = read_public(path, ROOTS_BYTES_MAX).map_err(|error| Finding::fail("roots", error))?;
    TrustAnchor::from_json(&bytes).map_err(|error| Finding::fail("roots", format!("{}: {error}", path.display())))
}

/// The roster file as it is: the store may be needed to verify it.
fn read_roster(path: &Path) -> Result<Bytes, Finding> {
    Ok(read_public(path, ROSTER_FILE_BYTES_MAX).map_err(|error| Finding::fail("roster", error))?.into())
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
        RosterError::Threshold { .. } => {
            let holds = "the daemon starts only if its store holds the roster that replaced the root keys";
            Finding::fail("roster", format!("{text}; {holds}"))
                .fix("get the present roots.json from the federation's publishers")
        }
        _ => Finding::fail("roster", text)
            .fix("get the roster, and a new roots.json if there is one, from the federation's publishers"),
    })
}

pub(crate) fn read_link_identity(config: &TlsConfig) -> Result<LinkIdentity, Finding> {
    let place = config.cert.locate().map_err(|error| Finding::fail("link-cert", error))?;
    let cert = read_public(&place, PEM_BYTES_MAX).map_err(|error| Finding::fail("link-cert", error))?;
    let key = config.key.read(PEM_BYTES_MAX).map_err(|error| Finding::fail("link-key", error))?;
    LinkIdentity::from_pem(&cert, &key)
        .map_err(|error| Finding::fail("link-key", format!("{} and {}: {error}", config.cert, config.key)))
}

/// The agency's signing key, and the key of its records.
pub(crate) fn read_secrets(config: &DaemonConfig) -> Result<(SigningKey, AtRest), Finding> {
    let file = &config.identity.signing;
    let passphrase = config.identity.passphrase.read_line().map_err(|error| Finding::fail("passphrase", error))?;
    let sealed = file.read(KEYFILE_BYTES_MAX as u64).map_err(|error| Finding::fail("identity-key", error))?;
    let entries =
        open_keys(&passphrase, &sealed).map_err(|error| Finding::fail("identity-key", format!("{file}: {error}")))?;
    let seed = |role: KeyRole, what: &str| {
        let entry = entries.iter().find(|entry| entry.role == role && entry.name == config.agency.as_str());
        entry
            .and_then(|entry| entry.secret.seed())
            .ok_or_else(|| Finding::fail("identity-key", format!("{file}: has no {what} named {}", config.agency)))
    };
    let signing = SigningKey::from_seed(&seed(KeyRole::Signing, "signing key")?);
    let at_rest = AtRest::new(&*seed(KeyRole::AtRest, "at-rest key")?);
    Ok((signing, at_rest))
}

/// What the roster says of this agency and its keys; only what is not well.
pub(crate) fn compare(agency: &AgencyId, roster: &Roster, link: &LinkIdentity, signing: &SigningKey) -> Vec<Finding> {
    let ask = "use the key that the roster names, or have the roster's publishers enter this key";
    let Some(me) = roster.agency(agency) else {
        let text = format!("'{agency}' is not an agency of roster version {}", roster.version());
        return vec![Finding::fail("agency", text).fix("ask the federation's publishers to enrol this agency")];
    };
    let mut findings = Vec::new();
    if !me.tls_keys.contains(link.tls_key()) {
        let text = format!("is not one that the roster names for {agency}");
        findings.push(Finding::fail("link-key", text).fix(ask));
    }
    if !me.sign_keys.iter().any(|key| key.key == signing.verifying_key()) {
        let text = format!("is not one that the roster names for {agency}");
        findings.push(Finding::fail("identity-key", text).fix(ask));
    }
    findings
}
