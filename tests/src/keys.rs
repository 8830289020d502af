//! The real keys of a made federation's nodes: for nodes within a test, and for thieves.

use std::path::PathBuf;

use certs_dev::Federation;
use liaison_protocol::keyfile::{KeyRole, open_keys};
use liaison_protocol::{NodeId, SigningKey};

fn is_relay(files: &Federation, node: &NodeId) -> bool {
    files.relays.iter().any(|relay| relay.id == *node)
}

/// Where a node's secrets are.
fn folder(files: &Federation, node: &NodeId) -> PathBuf {
    if is_relay(files, node) { files.relay_folder(node) } else { files.agency_folder(&node.to_agency()) }
}

/// The signing key of a node.
///
/// # Panics
/// There is no such node.
#[must_use]
pub fn signing_key(files: &Federation, node: &str) -> SigningKey {
    let node = node.parse().expect("a node's name");
    let folder = folder(files, &node);
    let file = if is_relay(files, &node) { "sign.key" } else { "identity.key" };
    let passphrase = std::fs::read_to_string(folder.join("passphrase")).expect("a passphrase");
    let sealed = std::fs::read(folder.join(file)).expect("a key file");
    let keys = open_keys(passphrase.trim_end().as_bytes(), &sealed).expect("a good key file");
    let key = keys.iter().find(|key| key.role == KeyRole::Signing).expect("a signing key");
    SigningKey::from_seed(&key.secret.seed().expect("a seed"))
}

/// The link certificate of a node and its key, PEM.
///
/// # Panics
/// There is no such node.
#[must_use]
pub fn link_pems(files: &Federation, node: &str) -> (Vec<u8>, Vec<u8>) {
    let node = node.parse().expect("a node's name");
    let folder = folder(files, &node);
    ["link.cert.pem", "link.key.pem"].map(|file| std::fs::read(folder.join(file)).expect("a PEM file")).into()
}
