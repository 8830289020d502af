//! `keyfile.json`: one file, with the passphrase that opens it.

use liaison_protocol::keyfile::{KdfCost, KeyEntry, KeyRole, Secret, open_keys, seal_keys};
use serde_json::{Value, json};

use super::world::{Draws, hex, seed};

pub(super) fn file() -> Value {
    let passphrase = "correct horse battery staple";
    let entry = |role, name: &str, secret: &[u8]| KeyEntry {
        role,
        name: name.into(),
        secret: Secret::from_slice(secret).unwrap(),
    };
    let keys = [
        entry(KeyRole::Signing, "ncb.ee", &*seed("signing key", "ncb.ee")),
        entry(KeyRole::AtRest, "ncb.ee", &*seed("at rest", "ncb.ee")),
        entry(KeyRole::Root, "root-1", &[*seed("root", "ml-dsa"), *seed("root", "ed25519")].concat()),
    ];
    let cost = KdfCost::new(8192, 2, 3).unwrap();
    let mut draws = Draws::new(30);
    let bytes = seal_keys(passphrase.as_bytes(), &keys, cost, &mut draws).unwrap();
    assert_eq!(open_keys(passphrase.as_bytes(), &bytes).unwrap().len(), keys.len());
    let list =
        |key: &KeyEntry| json!({ "role": key.role as u8, "name": key.name, "secret": hex(key.secret.as_bytes()) });
    json!({
        "what": "section 20",
        "passphrase": passphrase,
        "m_kib": 8192,
        "t": 2,
        "p": 3,
        "salt_and_nonce": hex(&draws.log[0]),
        "keys": keys.iter().map(list).collect::<Vec<_>>(),
        "file": hex(bytes),
    })
}
