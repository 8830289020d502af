//! Where fuzzers start: small valid inputs, and the vectors' instructive invalid ones. The same every time.

use bytes::Bytes;
use liaison_client::records::KINDS;
use liaison_node::store::testing::{Row, batch_of_one};
use liaison_protocol::frame::{
    Ack, Acks, Bundle, BundleOffer, BundleRequest, BundleVersion, ControlFrame, Custody, CustodyProof, CustodyState,
    Frame, Hello, Inquiry, InquiryAnswer, LaneOpen, Presence, Reach, ReachEntry, Refused, RosterFrame, RosterOffer,
    RosterRequest, Time, Transfer,
};
use liaison_protocol::receipt::SignedReceipt;
use liaison_protocol::{Hash, MessageId, Role, Timestamp, codec};
use serde_json::Value;

use super::world::{NOW, WORLD, name};

/// One input of a corpus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seed {
    /// Whose corpus.
    pub target: &'static str,
    /// Its file's name.
    pub name: String,
    /// The input.
    pub bytes: Vec<u8>,
}

fn seed(target: &'static str, name: &str, bytes: impl Into<Vec<u8>>) -> Seed {
    let name = name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    Seed { target, name, bytes: bytes.into() }
}

/// Every corpus, by target. `vectors` gives the protocol's test vectors by file name.
#[must_use]
pub fn seeds(vectors: &dyn Fn(&str) -> Value) -> Vec<Seed> {
    let mut all = [frames(), vector_seeds(vectors), signed(), disk(), records(), text()].concat();
    all.extend(scripts());
    all.sort_by(|a, b| (a.target, &a.name).cmp(&(b.target, &b.name)));
    all
}

fn frames() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for (stream, name, frame) in sample_frames() {
        let frame = frame.encode().expect("a sample that a peer would take");
        seeds.push(seed("frames", name, [&[stream, 7], frame.as_slice()].concat()));
        // Type and payload, without the length.
        seeds.push(seed("payloads", name, [&[stream, frame[0]], &frame[5..]].concat()));
    }
    seeds
}

fn sample_frames() -> Vec<(u8, &'static str, Frame)> {
    let id = MessageId(Hash([4; 32]));
    let hello = Hello {
        version_min: 1,
        version_max: 2,
        federation: WORLD.document.federation,
        node: name("ap-1"),
        role: Role::Relay,
        roster_version: 1,
        roster_hash: WORLD.roster.hash(),
        features: vec![1, 9],
    };
    let bundle = Bundle { bundle: Bytes::from(WORLD.bundle.encode()), keys: Vec::new() };
    let version = BundleVersion { agency: name("ncb.ee"), epoch: 1, seq: 9 };
    let receipt = WORLD.statements[0].receipt.clone();
    let proof = CustodyProof {
        id,
        indices: vec![0, 3],
        receipt: receipt.clone(),
        proof: vec![0, 0].into(),
        leaf: Bytes::new(),
    };
    let transfer = Transfer {
        seq: 1,
        attempt: 1,
        branch: vec![0],
        path: vec![name("ap-1")],
        accepted: NOW,
        envelope: Bytes::from_static(b"envelope"),
    };
    let refused = Refused { index: 2, reason: 3, detail: "over quota".into(), retry_after_ms: 1000 };
    let ack = Ack { seq: 1, taken: vec![0], duplicate: vec![1], refused: vec![refused], proof: None };
    let control = |frame: ControlFrame| Frame::Control(frame);
    vec![
        (0, "hello", Frame::Hello(hello)),
        (1, "time", control(ControlFrame::Time(Time { now: Timestamp::from_millis(1_795_521_600_000) }))),
        (1, "roster request", control(ControlFrame::RosterRequest(RosterRequest { after: 3 }))),
        (1, "roster", control(ControlFrame::Roster(RosterFrame { bytes: Bytes::from_static(b"{}") }))),
        (1, "roster offer", control(ControlFrame::RosterOffer(RosterOffer { version: 4, hash: WORLD.roster.hash() }))),
        (1, "bundle offer", control(ControlFrame::BundleOffer(BundleOffer { bundles: vec![version] }))),
        (1, "bundle request", control(ControlFrame::BundleRequest(BundleRequest { agencies: vec![name("ncb.ee")] }))),
        (1, "bundle", control(ControlFrame::Bundle(bundle))),
        (1, "custody", control(ControlFrame::Custody(Custody { proofs: vec![proof] }))),
        (1, "inquiry", control(ControlFrame::Inquiry(Inquiry { id, index: 1, hops: 1 }))),
        (
            1,
            "inquiry answer",
            control(ControlFrame::InquiryAnswer(InquiryAnswer {
                by: name("eu-1"),
                id,
                index: 1,
                state: CustodyState::Released { to: name("eu-1") },
            })),
        ),
        (
            1,
            "presence",
            control(ControlFrame::Presence(Presence { left: vec![name("ncb.ee")], linked: vec![name("ncb.fr")] })),
        ),
        (
            1,
            "reach",
            control(ControlFrame::Reach(Reach { relays: vec![ReachEntry { relay: name("eu-1"), cost: 10, hops: 1 }] })),
        ),
        (2, "lane open", Frame::LaneOpen(LaneOpen { rank: 0 })),
        (3, "transfer", Frame::Transfer(transfer)),
        (4, "acks", Frame::Acks(Acks { acks: vec![ack], receipt: Some(receipt) })),
    ]
}

fn vector_seeds(vectors: &dyn Fn(&str) -> Value) -> Vec<Seed> {
    let mut seeds = Vec::new();
    let envelopes = vectors("envelope.json");
    // One of each length class is enough to start from; the rest differ in a byte or two.
    for what in ["opens", "to two, pruned to none", "an extension that is critical", "no recipient", "a byte too many"]
    {
        let lists =
            ["opened", "received"].into_iter().flat_map(|list| envelopes[list].as_array().into_iter().flatten());
        for case in lists.filter(|case| case["what"] == what) {
            let bytes = hex(&case["envelope"]);
            seeds.push(seed("envelope", what, bytes));
        }
    }
    for case in vectors("seal.json")["cases"].as_array().into_iter().flatten() {
        let what = case["what"].as_str().unwrap_or_default();
        seeds.push(seed("header", what, hex(&case["header"])));
        seeds.push(seed("inner", what, hex(&case["inner"])));
        seeds.push(seed("wrap", what, hex(&case["envelope"])[200..1320].to_vec()));
    }
    let prekeys = vectors("prekey.json");
    seeds.push(seed("bundle", "35 days", hex(&prekeys["bundle"]["signed"])));
    let key = prekeys["keys"].as_array().and_then(|keys| keys.first()).map(|key| hex(&key["public"]));
    seeds.push(seed("prekey", "good", key.unwrap_or_default()));
    for list in ["valid", "invalid"] {
        let names = vectors("ids.json");
        let names = names["names"][list].as_array().into_iter().flatten().filter_map(Value::as_str);
        seeds.extend(names.enumerate().map(|(index, name)| seed("names", &format!("{list} {index}"), name)));
    }
    seeds
}

fn hex(text: &Value) -> Vec<u8> {
    let text = text.as_str().unwrap_or_default();
    let digits = (0..text.len()).step_by(2).filter_map(|at| text.get(at..at + 2));
    digits.filter_map(|digits| u8::from_str_radix(digits, 16).ok()).collect()
}

fn signed() -> Vec<Seed> {
    let world = &*WORLD;
    let mut seeds = vec![
        seed("roster", "small", world.document.to_payload()),
        seed("dsse", "small", world.sign_roster(b"{}", 1)),
        seed("bundle", "one key", world.bundle.bundle.to_vec()),
        seed("bundle", "signed", world.bundle.encode()),
        seed("evidence", "whole", world.evidence(Some("ncb.sg"), |_| {})),
        seed("evidence", "sealed anew", world.evidence(Some("ncb.sg"), |parts| parts.attempts = &world.attempts)),
        seed(
            "evidence",
            "header only",
            world.evidence(None, |parts| {
                (parts.body, parts.opening, parts.bundles, parts.receipts) = (None, None, &[], &[]);
            }),
        ),
        seed("signed-header", "good", world.sealed.envelope.envelope().header.to_vec()),
        seed("keyfile", "no edit", []),
        seed("keyfile", "flip", [1, 0, 60, 1]),
        seed("keyfile", "lowest cost", [0, 0, 8, 0x10, 0, 0, 12, 1]),
    ];
    for (kind, statement) in ["custody", "delivery", "read", "refusal"].into_iter().zip(&world.statements) {
        let receipt = SignedReceipt::decode(&statement.receipt).expect("a sample");
        seeds.push(seed("statement", kind, codec::encode(statement)));
        seeds.push(seed("statement", &format!("{kind} receipt"), statement.receipt.to_vec()));
        seeds.push(seed("statement", &format!("{kind} body"), receipt.body.to_vec()));
        let proofs = statement.proofs.iter().map(|proof| seed("statement", &format!("{kind} proof"), proof.to_vec()));
        seeds.extend(proofs);
    }
    seeds
}

fn disk() -> Vec<Seed> {
    let mut seeds = vec![
        seed("journal", "two batches", [batch_of_one(1, b"value"), batch_of_one(2, b"value")].concat()),
        seed("journal", "torn", [&batch_of_one(1, b"value"), &batch_of_one(2, b"value")[..20]].concat()),
        seed("journal", "room", [batch_of_one(1, b"value"), vec![0; 64]].concat()),
    ];
    let queue = b"ncb.ee\0\x02\0\0\0\0\0\0\0\x07";
    let entry = [&[9; 32], b"\x03\x02\x06ncb.sg\x04ap-1\x01\x04ap-1\x01\x02\x80\x10".as_slice()].concat();
    for (row, bytes) in [
        (Row::Entry, entry),
        (Row::Known, b"\x01\x10\x01\x05\x03\x01\x04ap-1\0\x01\x06ncb.ee\x04\x09".to_vec()),
        (Row::Totals, vec![1, 200, 1, 3]),
        (Row::QueueKey, queue.to_vec()),
        (Row::ExpiryKey, [[0; 8].as_slice(), queue].concat()),
        (Row::IdKey, vec![5; 34]),
        (Row::TotalsKey, b"\0tncb.ee\0\x02".to_vec()),
    ] {
        assert!(row.rewritten(&bytes).is_some(), "{row:?}: the sample is sound");
        let which = Row::ALL.iter().position(|other| *other == row).unwrap_or_default() as u8;
        seeds.push(seed("rows", &format!("{row:?}"), [&[which], bytes.as_slice()].concat()));
    }
    seeds
}

/// One record of each kind and case, as the fixture of their form has them.
fn records() -> Vec<Seed> {
    let lines = include_str!("../../../client/src/records/format-1").lines().filter_map(|line| line.split_once(' '));
    let seeds = lines.enumerate().map(|(number, (name, digits))| {
        let which = KINDS.iter().position(|kind| kind.name == name).expect("a kind of record") as u8;
        let bytes = hex(&Value::from(digits));
        seed("records", &format!("{name} {number}"), [&[which], bytes.as_slice()].concat())
    });
    seeds.collect()
}

fn text() -> Vec<Seed> {
    const RELAY: &str = "id = \"eu-1\"\nregion = \"europe\"\nroster = \"roster.json\"\nroots = \"roots.json\"\n\
        [listen]\nquic = \"[::1]:4433\"\nadmin = \"127.0.0.1:9000\"\n[tls]\ncert = \"file:c.pem\"\nkey = \"file:k.pem\"\n\
        [identity]\nsigning = \"file:s.key\"\npassphrase = \"credential:pass\"\n[store]\npath = \"store\"\n\
        low_water = \"256MiB\"\n[[peer]]\nid = \"ap-1\"\naddr = [\"ap.example:4433\"]\n";
    const DAEMON: &str = "agency = \"ncb.ee\"\nroster = \"r.json\"\nroots = \"roots.json\"\n[identity]\n\
        signing = \"file:i.key\"\npassphrase = \"file:p\"\n[tls]\ncert = \"file:c\"\nkey = \"file:k\"\n[relays]\n\
        home = [{ id = \"eu-1\", addr = \"127.0.0.1:4433\" }]\n[store]\npath = \"store\"\nmin_free = \"1GiB\"\n";
    let submission = r#"{"to":["ncb.ee"],"info":["ncb.fr"],"subject":"S","text":"T","tlp":"AMBER","handling":["X"],"precedence":"flash","expires_in_s":3600,"content_type":"text","attachments":[{"upload":"u","name":"a.pdf"}]}"#;
    vec![
        seed("relay-config", "whole", RELAY),
        seed("relay-config", "unknown key", "quotta = 1\n"),
        seed("daemon-config", "whole", DAEMON),
        seed("daemon-config", "not toml", "[[["),
        seed("requests", "submission", submission),
        seed("requests", "upload", r#"{"name":"a.pdf","total_len":262144}"#),
        seed("requests", "list", r#"{"after":3,"limit":50,"unread":true,"since":"2026-11-24T14:02:11.204Z"}"#),
        seed("names", "time", "2026-11-24T14:02:11.204+02:00"),
        seed("names", "size", "10GiB"),
        seed("names", "id", MessageId(Hash([9; 32])).to_string()),
    ]
}

/// Edit scripts: none, one flip, one cut, one addition, and what a roster's holder may live through.
fn scripts() -> Vec<Seed> {
    let mut seeds = Vec::new();
    for target in ["altered-bundle", "altered-envelope", "altered-roster"] {
        for (name, script) in
            [("none", [].as_slice()), ("flip", &[1, 0, 99, 1]), ("cut", &[4, 0, 200, 0]), ("add", &[2, 1, 7, 9])]
        {
            seeds.push(seed(target, name, script));
        }
    }
    for (which, name) in [(0, "first"), (1, "last"), (3, "last announced"), (5, "of another length")] {
        seeds.push(seed("altered-chunk", name, [which, which & 1]));
        seeds.push(seed("altered-chunk", &format!("{name} flipped"), [which, which & 1, 1, 0, 40, 1]));
    }
    for target in ["altered-evidence", "altered-statement"] {
        for which in 0..4 {
            seeds.push(seed(target, &format!("none {which}"), [which]));
            seeds.push(seed(target, &format!("flip {which}"), [which, 1, 0, 40, 1]));
        }
    }
    // In the header, in each part of a slot, and past its end.
    for (name, at) in [("header", 2), ("start", 71), ("key", 80), ("check", 105), ("rest", 120)] {
        seeds.push(seed("altered-slots", name, [1, 0, at, 1]));
    }
    seeds.push(seed("altered-slots", "none", []));
    seeds.push(seed("altered-slots", "short", [4, 0, 200, 0]));
    seeds.push(seed("altered-slots", "a slot twice", [5, 0, 64, 63, 4, 40, 64, 0]));
    seeds.push(seed("roster-state", "forward", [1, 3, 5, 21]));
    seeds.push(seed("roster-state", "fork and settle", [1, 2, 3, 8, 4, 3, 9]));
    seeds.push(seed("roster-state", "time passes", [0x5a, 0xff, 1, 0xff, 0xff]));
    seeds
}
