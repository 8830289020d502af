//! `prekey.json`: keys that are accepted and refused, a bundle, and which key a sender chooses.

use std::time::Duration;

use liaison_protocol::prekey::{PrekeyBundle, PrekeyEntry, PrekeyError, PrekeyPublic, sign_bundle, verify_bundle};
use liaison_protocol::{Hash, Timestamp};
use serde_json::{Value, json};

use super::world::{CREATED, FEDERATION, Keys, agency, hex, prekey, seed, signing_key};

const DAY: Duration = Duration::from_secs(86_400);
const MIDNIGHT: Timestamp = Timestamp::from_millis(1_795_478_400_000);

pub(super) fn file() -> Value {
    json!({
        "what": "section 11",
        "keys": (["ncb.ee", "ncb.fr"].map(key)),
        "refused_keys": refused_keys(),
        "bundle": bundle(),
    })
}

fn key(name: &str) -> Value {
    let secret = prekey(name);
    json!({
        "seed": hex(**secret.seed()),
        "public": hex(secret.public().as_bytes()),
        "id": hex(secret.id().0),
        "prekey_id": hex(secret.prekey_id().0),
    })
}

/// Made from the first key: its X25519 share replaced, or its first coefficient.
fn refused_keys() -> Vec<Value> {
    let good = prekey("ncb.ee").public();
    let with_share = |share: [u8; 32]| [&good.as_bytes()[..1184], &share].concat();
    let one = |what, bytes: Vec<u8>, error| {
        assert_eq!(PrekeyPublic::from_bytes(&bytes), Err(error));
        json!({ "what": what, "public": hex(bytes) })
    };
    let mut order_one = [0; 32];
    order_one[0] = 1;
    let mut p_minus_one = [0xff; 32];
    (p_minus_one[0], p_minus_one[31]) = (0xec, 0x7f);
    let mut coefficient = good.as_bytes().to_vec();
    coefficient[0] = 0x01;
    coefficient[1] = (coefficient[1] & 0xf0) | 0x0d;
    vec![
        one("X25519 share of zero", with_share([0; 32]), PrekeyError::LowOrder),
        one("X25519 share of order 1", with_share(order_one), PrekeyError::LowOrder),
        one("X25519 share p - 1", with_share(p_minus_one), PrekeyError::LowOrder),
        one("first ML-KEM coefficient 3,329", coefficient, PrekeyError::NotAKey),
    ]
}

fn bundle() -> Value {
    let entry = |day: u32| {
        let not_before = MIDNIGHT.after(DAY * day);
        let id = if day == 0 { prekey("ncb.ee").id() } else { Hash::of(&[&day.to_be_bytes()]) };
        PrekeyEntry { id, not_before, not_after: not_before.after(DAY), once: false }
    };
    let bundle = PrekeyBundle {
        version: PrekeyBundle::VERSION,
        federation: FEDERATION,
        agency: agency("ncb.ee"),
        epoch: 2,
        seq: 300,
        issued: CREATED,
        max_ttl_s: 604_800,
        keys: (0..35).map(entry).collect(),
    };
    let signed = sign_bundle(&bundle, &signing_key("ncb.ee")).unwrap();
    verify_bundle(signed.clone(), &FEDERATION, &Keys, CREATED).unwrap();
    let keys = bundle.keys.iter().map(|key| {
        json!({
            "id": hex(key.id.0),
            "not_before": key.not_before.as_millis(),
            "not_after": key.not_after.as_millis(),
            "once": key.once,
        })
    });
    json!({
        "federation": hex(FEDERATION.0),
        "agency": "ncb.ee",
        "epoch": bundle.epoch,
        "seq": bundle.seq,
        "issued": bundle.issued.as_millis(),
        "max_ttl_s": bundle.max_ttl_s,
        "keys": keys.collect::<Vec<_>>(),
        "signing_seed": hex(*seed("signing key", "ncb.ee")),
        "signing_public": hex(signing_key("ncb.ee").verifying_key().as_bytes()),
        "bundle": hex(&signed.bundle),
        "signed_message": hex([b"liaison/1 prekeys\0".as_slice(), &Hash::of(&[&signed.bundle]).0].concat()),
        "signature": hex(signed.signature.as_bytes()),
        "signed": hex(signed.encode()),
        "select": select(&bundle),
    })
}

/// Which key a sender takes for a message that is created then: its place in the bundle, or none.
fn select(bundle: &PrekeyBundle) -> Vec<Value> {
    let hour = Duration::from_secs(3_600);
    let millisecond = Duration::from_millis(1);
    let times = [
        MIDNIGHT.before(hour + millisecond),
        MIDNIGHT.before(hour),
        MIDNIGHT,
        MIDNIGHT.after(DAY).before(millisecond),
        MIDNIGHT.after(DAY),
        MIDNIGHT.after(DAY * 35),
        MIDNIGHT.after(DAY * 35 + hour),
        MIDNIGHT.after(DAY * 35 + hour + millisecond),
    ];
    let one = |created: Timestamp| {
        let chosen = bundle.select(created);
        let place = chosen.and_then(|chosen| bundle.keys.iter().position(|key| key == chosen));
        json!({
            "created": created.as_millis(),
            "key": place,
            "expires_max": chosen.map(|key| bundle.expiry_max(key).as_millis()),
        })
    };
    times.map(one).into()
}
