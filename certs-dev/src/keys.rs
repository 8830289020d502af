//! Keys of nodes and roots, and where they are written.

use std::path::Path;

use liaison_protocol::keyfile::{self, KdfCost, KeyEntry, KeyRole, KeyfileError, Secret};
use liaison_protocol::roster::{RootKey, RootPublic};
use liaison_protocol::{SigningKey, VerifyingKey};
use rand_core::Rng;
use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, PKCS_ED25519};
use zeroize::Zeroizing;

use crate::files::{self, Access, FileError};
use crate::rng;

/// A key could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The certificate.
    #[error("cannot make the link certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The key file's content or passphrase.
    #[error("{}: {source}", path.display())]
    Keyfile {
        /// Which.
        path: std::path::PathBuf,
        /// Why.
        source: KeyfileError,
    },
    /// A key file opens, and holds no root key.
    #[error("{}: holds no root key", path.display())]
    NotARoot {
        /// Which.
        path: std::path::PathBuf,
    },
}

/// A self-signed X.509 v3 certificate with an Ed25519 key. Its names and dates decide nothing: the roster does.
pub struct LinkCertificate {
    /// One certificate.
    pub cert_pem: String,
    /// Its private key, PKCS#8.
    pub key_pem: Zeroizing<String>,
    /// Its public key, as the roster lists it.
    pub tls_key: [u8; 32],
}

/// Makes the certificate with which a node called `name` shows itself on links.
///
/// # Errors
/// `name` is no DNS name.
pub fn link_certificate(name: &str) -> Result<LinkCertificate, rcgen::Error> {
    let key = KeyPair::generate_for(&PKCS_ED25519)?;
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key)?;
    let mut tls_key = [0; 32];
    tls_key.copy_from_slice(key.public_key_raw().first_chunk::<32>().unwrap_or(&[0; 32]));
    Ok(LinkCertificate { cert_pem: certificate.pem(), key_pem: Zeroizing::new(key.serialize_pem()), tls_key })
}

/// The public keys of a node.
pub(crate) struct NodeKeys {
    pub(crate) tls_key: [u8; 32],
    pub(crate) sign_key: VerifyingKey,
}

/// Makes a node's keys in `folder`: `link.cert.pem`, `link.key.pem`, `passphrase`, and `key_file` with the signing
/// key and `more` besides.
pub(crate) fn make_node(
    folder: &Path,
    name: &str,
    key_file: &str,
    more: &[KeyRole],
    cost: KdfCost,
) -> Result<NodeKeys, KeyError> {
    files::folder(folder)?;
    let link = link_certificate(name)?;
    files::write(&folder.join("link.cert.pem"), link.cert_pem.as_bytes(), Access::Public)?;
    files::write(&folder.join("link.key.pem"), link.key_pem.as_bytes(), Access::Private)?;
    let signing = SigningKey::generate(&mut rng());
    let mut keys = vec![entry(KeyRole::Signing, name, signing.seed().as_slice())];
    for role in more {
        let mut secret = Zeroizing::new([0; 32]);
        rng().fill_bytes(secret.as_mut_slice());
        keys.push(entry(*role, name, secret.as_slice()));
    }
    let passphrase = make_passphrase(folder)?;
    write_keyfile(&folder.join(key_file), &passphrase, &keys, cost)?;
    Ok(NodeKeys { tls_key: link.tls_key, sign_key: signing.verifying_key() })
}

/// Makes `count` root keys in `folder`: `root-1.key` and so on, and `passphrase`.
pub(crate) fn make_roots(folder: &Path, count: usize, cost: KdfCost) -> Result<Vec<RootKey>, KeyError> {
    files::folder(folder)?;
    let passphrase = make_passphrase(folder)?;
    let make = |number: usize| {
        let root = RootKey::generate(&mut rng());
        let name = format!("root-{number}");
        let keys = [entry(KeyRole::Root, &name, root.secret())];
        write_keyfile(&folder.join(format!("{name}.key")), &passphrase, &keys, cost)?;
        Ok(root)
    };
    (1..=count).map(make).collect()
}

/// Opens as many of the roots in `folder` as are needed: those among `wanted`, up to `count`.
pub(crate) fn open_roots(folder: &Path, wanted: &[RootPublic], count: usize) -> Result<Vec<RootKey>, KeyError> {
    let passphrase = Zeroizing::new(files::read(&folder.join("passphrase"))?);
    let mut roots = Vec::new();
    for number in 1..=wanted.len() {
        if roots.len() == count {
            break;
        }
        let root = open_root(&folder.join(format!("root-{number}.key")), passphrase.trim_ascii_end())?;
        if wanted.contains(root.public()) {
            roots.push(root);
        }
    }
    Ok(roots)
}

fn open_root(path: &Path, passphrase: &[u8]) -> Result<RootKey, KeyError> {
    let sealed = files::read(path)?;
    let opened = keyfile::open_keys(passphrase, &sealed);
    let keys = opened.map_err(|source| KeyError::Keyfile { path: path.into(), source })?;
    let root = keys.iter().find(|key| key.role == KeyRole::Root);
    let root = root.and_then(|key| RootKey::from_secret(key.secret.as_bytes()).ok());
    root.ok_or_else(|| KeyError::NotARoot { path: path.into() })
}

fn entry(role: KeyRole, name: &str, secret: &[u8]) -> KeyEntry {
    #[expect(clippy::expect_used, reason = "seeds have 32 bytes, root secrets 64")]
    let secret = Secret::from_slice(secret).expect("a secret of 1 to 128 bytes");
    KeyEntry { role, name: name.into(), secret }
}

/// 32 random bytes in hex, in the file `passphrase`.
fn make_passphrase(folder: &Path) -> Result<Zeroizing<String>, FileError> {
    let mut random = Zeroizing::new([0; 32]);
    rng().fill_bytes(random.as_mut_slice());
    let mut passphrase = Zeroizing::new(String::with_capacity(65));
    for byte in random.iter() {
        passphrase.push_str(&format!("{byte:02x}"));
    }
    files::write(&folder.join("passphrase"), format!("{}\n", *passphrase).as_bytes(), Access::Private)?;
    Ok(passphrase)
}

fn write_keyfile(path: &Path, passphrase: &str, keys: &[KeyEntry], cost: KdfCost) -> Result<(), KeyError> {
    let sealed = keyfile::seal_keys(passphrase.as_bytes(), keys, cost, &mut rng());
    let sealed = sealed.map_err(|source| KeyError::Keyfile { path: path.into(), source })?;
    Ok(files::write(path, &sealed, Access::Private)?)
}
