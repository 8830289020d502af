//! Checks a bundle from the root keys up. The first thing that does not hold makes the whole invalid.

use bytes::Bytes;

use super::archive::{self, ArchiveError, Entry};
use super::case::Case;
use super::manifest;
use super::verdict::Verdict;
use crate::codec::Malformed;
use crate::envelope::HeaderError;
use crate::ids::{FederationId, KeyId, NodeId};
use crate::open::OpenError;
use crate::prekey::BundleError;
use crate::receipt::ReceiptError;
use crate::roster::{History, RosterError, RosterVersion, TrustAnchor};

/// Why a bundle is invalid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EvidenceError {
    /// The container.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A later envelope is not one of this message.
    #[error("{file}: {detail}")]
    Attempt {
        /// The file.
        file: String,
        /// The rule that it breaks.
        detail: String,
    },
    /// The body is not the signed one.
    #[error("body.bin is not the body that was signed")]
    Body,
    /// A prekey bundle does not hold.
    #[error("{file}: {error}")]
    Bundle {
        /// Which.
        file: String,
        /// Why.
        error: BundleError,
    },
    /// A prekey bundle that this message does not use.
    #[error("{file}: the message was not sealed to a key of this bundle, or not in its time")]
    BundleUnused {
        /// Which.
        file: String,
    },
    /// The exporter's signature over the list.
    #[error("the signature of {exporter} over the manifest does not verify")]
    ExporterSignature {
        /// Who is said to have signed.
        exporter: NodeId,
    },
    /// The message belongs to another federation than the root keys.
    #[error("the message belongs to federation {found}")]
    Federation {
        /// Which.
        found: FederationId,
    },
    /// A file is not as the manifest lists it.
    #[error("{name}: not the file that the manifest lists")]
    FileChanged {
        /// Which.
        name: String,
    },
    /// A listed file is missing.
    #[error("{name}: listed in the manifest, and missing")]
    FileMissing {
        /// Which.
        name: String,
    },
    /// A file is not listed, or has no place in a bundle.
    #[error("{name}: not listed in the manifest, or unknown")]
    FileUnlisted {
        /// Which.
        name: String,
    },
    /// The header.
    #[error("header.bin: {0}")]
    Header(#[from] HeaderError),
    /// A file does not decode.
    #[error("{file}: {error}")]
    Malformed {
        /// Which.
        file: String,
        /// Why.
        error: Malformed,
    },
    /// The manifest.
    #[error("manifest.json: {detail}")]
    Manifest {
        /// What is wrong.
        detail: String,
    },
    /// A receipt about another message, or about recipients that this one does not have.
    #[error("{file}: about another message or recipient")]
    OtherMessage {
        /// Which.
        file: String,
    },
    /// The content key does not open the body.
    #[error("opening.bin does not open this message: {0}")]
    Opening(OpenError),
    /// A receipt does not hold.
    #[error("{file}: {error}")]
    Receipt {
        /// Which.
        file: String,
        /// Why.
        error: ReceiptError,
    },
    /// A roster does not follow from the root keys.
    #[error("{file}: {error}")]
    Roster {
        /// Which.
        file: String,
        /// Why.
        error: RosterError,
    },
    /// The roster that decides is not in the bundle.
    #[error("{file}: the roster that it needs ({need}) is not in the bundle")]
    RosterMissing {
        /// What needs it.
        file: String,
        /// Which it needs.
        need: String,
    },
    /// The sender's signature does not cover the header.
    #[error("the signature of {sender} does not verify")]
    Signature {
        /// Who is said to have signed.
        sender: NodeId,
    },
    /// No roster of the time lists the sender's key.
    #[error("roster {roster} lists no key {key} of {sender} for that time")]
    UnknownSender {
        /// The sender.
        sender: NodeId,
        /// The key.
        key: KeyId,
        /// The roster that was in force.
        roster: RosterVersion,
    },
}

/// Verifies a bundle with the root keys. No clock is read, and nothing but `bytes` and `anchor` counts.
///
/// # Errors
/// [EVID-6] [`EvidenceError`]: the bundle is invalid, for this reason. It then proves nothing at all.
pub fn verify(bytes: Bytes, anchor: &TrustAnchor) -> Result<Verdict, EvidenceError> {
    let mut entries = archive::read(&bytes)?.into_iter();
    let first = entries.next().ok_or(ArchiveError::NotCanonical)?;
    let files = Files::sort(entries.collect())?;
    let checked = manifest::check(&first.data, &files.all)?;
    let mut case = Case::new(&files, rosters(&files.rosters, anchor)?)?;
    case.exporter(&checked)?;
    case.sender()?;
    let content = case.content(&files)?;
    files.attempts.iter().try_for_each(|file| case.attempt(file, content.as_ref()))?;
    files.bundles.iter().try_for_each(|file| case.bundle(file))?;
    case.receipts(&files.receipts)?;
    Ok(case.verdict(content))
}

/// The entries by their meaning.
pub(super) struct Files {
    pub(super) all: Vec<Entry>,
    pub(super) header: Bytes,
    pub(super) signature: Bytes,
    pub(super) body: Option<Bytes>,
    pub(super) opening: Option<Bytes>,
    pub(super) attempts: Vec<Entry>,
    pub(super) bundles: Vec<Entry>,
    pub(super) receipts: Vec<Entry>,
    pub(super) rosters: Vec<Entry>,
}

impl Files {
    fn sort(all: Vec<Entry>) -> Result<Self, EvidenceError> {
        let single = |name: &str| all.iter().find(|entry| entry.name == name).map(|entry| entry.data.clone());
        let missing = |name: &str| EvidenceError::FileMissing { name: name.into() };
        let inside = |folder: &str| -> Vec<Entry> {
            all.iter().filter(|entry| entry.name.starts_with(folder)).cloned().collect()
        };
        let files = Self {
            header: single("header.bin").ok_or_else(|| missing("header.bin"))?,
            signature: single("signature.bin").ok_or_else(|| missing("signature.bin"))?,
            body: single("body.bin"),
            opening: single("opening.bin"),
            attempts: inside("attempts/"),
            bundles: inside("prekeys/"),
            receipts: inside("receipts/"),
            rosters: inside("rosters/"),
            all,
        };
        let known = ["header.bin", "signature.bin", "body.bin", "opening.bin"];
        let folders = ["attempts/", "prekeys/", "receipts/", "rosters/"];
        let is_known = |name: &str| known.contains(&name) || folders.iter().any(|folder| name.starts_with(folder));
        match files.all.iter().find(|entry| !is_known(&entry.name)) {
            Some(stranger) => Err(EvidenceError::FileUnlisted { name: stranger.name.clone() }),
            None => Ok(files),
        }
    }
}

/// [EVID-3] Verifies the rosters from the root keys, whichever of the federation's they are.
fn rosters(files: &[Entry], anchor: &TrustAnchor) -> Result<History, EvidenceError> {
    let signed: Vec<Bytes> = files.iter().map(|file| file.data.clone()).collect();
    History::verify(&signed, anchor).map_err(|(at, error)| {
        let file = files.get(at).map(|file| file.name.clone()).unwrap_or_default();
        EvidenceError::Roster { file, error }
    })
}
