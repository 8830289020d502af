//! `ids.json`: encoding, names, ids, padding.

use liaison_protocol::envelope::{message_id, padding};
use liaison_protocol::{codec, sign};
use serde_json::{Value, json};

use super::world::{hex, node, prekey, signing_key};

pub(super) fn file() -> Value {
    let public = *signing_key("ncb.sg").verifying_key().as_bytes();
    let composite = vec![7u8; 1984];
    let header = b"any bytes";
    let prekey = prekey("ncb.ee").public();
    json!({
        "encoding": {
            "what": "{ u16, str, option<u8>, list<u16> } of section 2's example",
            "values": [300, "ab", null, [1, 128]],
            "bytes": hex(codec::encode(&(300u16, "ab", None::<u8>, vec![1u16, 128]))),
        },
        "names": {
            "valid": valid(),
            "invalid": invalid(),
        },
        "message_id": {
            "header": hex(header),
            "id": hex(message_id(header).0.0),
            "text": message_id(header).to_string(),
            "short": message_id(header).short(),
        },
        "key_id": [
            { "alg": sign::ALG_ED25519, "public": hex(public), "id": hex(sign::key_id(sign::ALG_ED25519, &public).0) },
            {
                "alg": sign::ALG_COMPOSITE,
                "public": hex(&composite),
                "id": hex(sign::key_id(sign::ALG_COMPOSITE, &composite).0),
            },
        ],
        "prekey_id": {
            "public": hex(prekey.as_bytes()),
            "id": hex(prekey.id().0),
            "prekey_id": hex(prekey.prekey_id().0),
        },
        "padding": padding_lengths(),
    })
}

fn valid() -> Vec<&'static str> {
    let names = vec!["ncb.ee", "eu-1", "a1b", "great.kaspersky", "a--b", "0.0.0"];
    names.iter().for_each(|name| drop(node(name)));
    names
}

fn invalid() -> Vec<String> {
    let names = ["ab", "NCB.ee", "ncb..ee", ".ncb", "ncb.", "-ab", "ab-", "ncb.-ee", "ncb_ee", "ncb ee", "", "ncb.ée"];
    let names: Vec<_> = names.into_iter().map(String::from).chain(["a".repeat(64)]).collect();
    assert!(names.iter().all(|name| name.parse::<liaison_protocol::NodeId>().is_err()));
    names
}

/// Lengths of messages, and of what they are padded to.
fn padding_lengths() -> Vec<[usize; 2]> {
    let lengths = [0, 1, 510, 511, 512, 543, 544, 1000, 1023, 1024, 4096, 65_535, 100_000, 1_000_000, 1_048_575];
    lengths.map(|length| [length, padding::padded_len(length)]).into()
}
