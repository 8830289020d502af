//! The form of what daemons have on their disks. `format-1` has one record of each kind and of each of its cases, as the
//! first program of that store format wrote them: a name and hex on each line.
//!
//! `cargo test -p liaison-client --lib -- --ignored prints_records_of_this_format --nocapture` prints it. Only lines
//! that are missing are added: a fixture that is made again proves nothing.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;

use bytes::Bytes;
use liaison_protocol::chunk::AttachmentKey;
use liaison_protocol::frame::{Bundle, CustodyState};
use liaison_protocol::inner::Tlp;
use liaison_protocol::prekey::BundlePosition;
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::roster::RosterVersion;
use liaison_protocol::{AgencyId, KeyId, NodeId, Precedence, PrekeyId};
use zeroize::Zeroizing;

use super::*;
use crate::at_rest::AtRest;
use crate::events::What;
use crate::office::Secret32;
use crate::outbox::EnvelopePart;
use crate::outbox::fact::Proven;
use crate::outbox::work::Because;
use crate::prekeys::alarm::{Foreign, Restored};
use crate::prekeys::calendar::Window;
use crate::prekeys::slots::SlotFile;
use crate::receipts::due::DueKind;

const FIXTURE: &str = include_str!("format-1");

fn id(number: u8) -> MessageId {
    MessageId(Hash([number; 32]))
}

fn at(millis: u64) -> Timestamp {
    Timestamp::from_millis(millis)
}

fn agency(name: &str) -> AgencyId {
    name.parse().unwrap()
}

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn octets(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

/// What each line of the fixture holds: every field differs from its neighbours, every case of an enum is there.
fn samples() -> Vec<(&'static str, Vec<u8>)> {
    [inbox(), outbox(), facts(), work(), attachments(), owed()].concat()
}

fn sample<T: Serialize>(name: &'static str, value: &T) -> (&'static str, Vec<u8>) {
    (name, codec::encode(value))
}

fn inbox() -> Vec<(&'static str, Vec<u8>)> {
    let kept = Kept {
        envelope: octets("envelope"),
        content_key: Secret32::new(&[1; 32]),
        signer: [2; 32],
        roster_version: RosterVersion(300),
    };
    let line = Line {
        id: id(1),
        from: agency("ncb.ee"),
        to: vec![agency("ncb.sg"), agency("igci.interpol")],
        subject: "Subject".into(),
        tlp: Tlp::Amber,
        precedence: Precedence::Immediate,
        at: at(1_000),
        parts: 2,
        bytes: 3_000,
        thread: id(4),
    };
    let head = Head {
        number: 1,
        from: agency("ncb.ee"),
        received: at(2_000),
        expires: at(3_000),
        precedence: Precedence::Priority,
        thread: id(4),
        chain: Some(id(5)),
        chunks: 6,
    };
    vec![
        sample("kept", &kept),
        sample("line", &line),
        sample("head", &head),
        sample("head", &Head { chain: None, ..head }),
        sample("id", &id(1)),
        sample("number", &300u64),
        sample("thread", &(Way::In, id(1))),
        sample("thread", &(Way::Out, id(1))),
        sample("hash", &Hash([7; 32])),
        sample("time", &at(1_000)),
    ]
}

fn outbox() -> Vec<(&'static str, Vec<u8>)> {
    let sent = SentHead {
        number: 1,
        created: at(2_000),
        expires: at(3_000),
        precedence: Precedence::Flash,
        recipients: vec![agency("ncb.ee"), agency("ncb.sg")],
        thread: id(4),
        uploads: vec![[5; 16], [6; 16]],
        bytes: 7_000,
    };
    let parts = [
        EnvelopePart::Message,
        EnvelopePart::Chunk { attachment: 1, index: 300, only: None },
        EnvelopePart::Chunk { attachment: 1, index: 2, only: Some(3) },
    ];
    let envelopes = parts.map(|part| sample("envelope", &EnvelopeRef { first: id(1), part }));
    let custody = CustodyFact {
        envelope: id(1),
        indices: vec![0, 300],
        holder: node("eu-1"),
        from: node("ncb.ee"),
        at: at(2_000),
        receipt: octets("receipt"),
        proof: octets("proof"),
    };
    let mut samples = vec![
        sample("sent", &sent),
        sample("custody", &custody),
        sample("unkeyed", &(id(1), 300u16)),
        sample("attempt", &(2u8, at(3_000))),
        sample("feed", &(id(1), Next { attachment: 2, index: 300 })),
        sample("lost", &(Next { attachment: 2, index: 300 }, 3u16)),
    ];
    samples.extend(envelopes);
    samples
}

fn facts() -> Vec<(&'static str, Vec<u8>)> {
    let proven = || Proven { envelope: id(1), at: at(2_000), receipt: octets("receipt"), proof: octets("proof") };
    let told = |state| Fact::Told { envelope: id(1), by: node("eu-1"), state, at: at(3_000) };
    let resubmitted = |because| Fact::Resubmitted { envelope: id(1), attempt: 2, because, at: at(3_000) };
    let refused = Fact::Refused {
        envelope: id(1),
        by: node("eu-1"),
        reason: RefusalReason::Malformed,
        detail: "detail".into(),
        at: at(2_000),
        receipt: octets("receipt"),
    };
    let facts = [
        Fact::Delivered(proven()),
        Fact::Read(proven()),
        refused,
        Fact::Cancelled { at: at(1_000) },
        Fact::Resealed { envelope: id(1), at: at(2_000), times: 3 },
        Fact::Unkeyed { at: at(1_000), envelope: id(2) },
        told(CustodyState::Held),
        told(CustodyState::Released { to: node("ap-1") }),
        told(CustodyState::Unknown),
        told(CustodyState::Delivered),
        resubmitted(Because::Silence),
        resubmitted(Because::Unknown { by: node("eu-1") }),
    ];
    facts.iter().map(|fact| sample("fact", fact)).collect()
}

fn work() -> Vec<(&'static str, Vec<u8>)> {
    let event = |what| EventRecord::new(what, at(1_000));
    let whole = event(What::Received).about(id(2)).with_agency(&agency("ncb.ee")).with_node(&node("eu-1"));
    let whole = whole.marked(Precedence::Flash, Tlp::Red).because("detail");
    let kinds = [
        What::Stored,
        What::Custody,
        What::Delivered,
        What::Read,
        What::Undeliverable,
        What::Cancelled,
        What::Resealed,
        What::Received,
        What::Complete,
        What::LinkUp,
        What::LinkDown,
        What::RosterChanged,
        What::Resubmitted,
        What::PrekeysForeign,
        What::PrekeysRestarted,
    ];
    let work = [
        Work::Announce(whole.clone()),
        Work::Keyed { first: id(1), index: 300 },
        Work::Remind { id: id(1) },
        Work::Reseal { first: id(1), index: 2 },
        Work::Resubmit { envelope: id(1), index: 2, because: Because::Silence },
        Work::Settle { first: id(1) },
    ];
    let mut samples = vec![sample("event", &whole)];
    samples.extend(kinds.map(|what| sample("event", &event(what))));
    samples.extend(work.map(|work| sample("work", &work)));
    samples
}

fn attachments() -> Vec<(&'static str, Vec<u8>)> {
    let upload = UploadRecord {
        name: "a.pdf".into(),
        total_len: 1_000_000,
        offset: 600_000,
        key: AttachmentKey::from_bytes(&Zeroizing::new([1; 32])),
        hashes: vec![Hash([2; 32]), Hash([3; 32])],
        touched: at(4_000),
    };
    vec![
        sample("upload", &upload),
        sample("arrived", &Arrived { sender: agency("ncb.ee"), expires: at(2_000) }),
        sample("claim", &Claim { sender: agency("ncb.ee"), attachment: 2, index: 300 }),
    ]
}

fn owed() -> Vec<(&'static str, Vec<u8>)> {
    let due = |kind| Due { kind, id: id(1), sender: agency("ncb.ee"), precedence: Precedence::Routine };
    let dues = [
        DueKind::Delivered { at: at(1_000) },
        DueKind::Read { at: at(1_000), delivery: Hash([2; 32]) },
        DueKind::Damaged { at: at(1_000), detail: "detail".into() },
    ];
    let prekey =
        KeyRecord { window: Window(86_400), id: PrekeyId([1; 16]), lifetime_s: 604_800, sealed_seed: vec![2; 5] };
    let bundle = BundleRecord {
        epoch: 1,
        seq: 300,
        until: at(3_000),
        lifetime_s: 604_800,
        frame: Bundle { bundle: octets("bundle"), keys: Vec::new() },
    };
    let foreign = Foreign {
        position: BundlePosition { epoch: 5, seq: 300 },
        issued: at(1_000),
        signer: KeyId([1; 8]),
        first_seen: at(2_000),
        last_seen: at(3_000),
        answered: Some(at(4_000)),
        answers: 6,
    };
    let alarms = [Restored::SlotsBehind, Restored::SlotsGone, Restored::StoreBehind]
        .map(|restored| Alarms { foreign: Some(foreign), restored: Some((at(5_000), restored)) });
    let submission = Record { content: Hash([1; 32]), answer: "{}".into(), until: at(3_000) };
    let mut samples = vec![
        sample("chain", &ReceiptChain { seq: 300, prev: Hash([2; 32]) }),
        sample("prekey", &prekey),
        sample("bundle", &bundle),
        sample("alarms", &alarms[0]),
        sample("alarms", &alarms[1]),
        sample("alarms", &alarms[2]),
        sample("submission", &submission),
    ];
    samples.extend(dues.map(|kind| sample("due", &due(kind))));
    samples
}

fn lines() -> Vec<(&'static str, Vec<u8>)> {
    let line = |line: &'static str| {
        let (name, digits) = line.split_once(' ').unwrap();
        (name, unhex(digits))
    };
    FIXTURE.lines().map(line).collect()
}

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len()).step_by(2).map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_record_that_the_first_program_of_this_format_wrote_is_read_and_means_the_same() {
    let lines = lines();
    let samples = samples();
    let names = |records: &[(&'static str, Vec<u8>)]| records.iter().map(|(name, _)| *name).collect::<BTreeSet<_>>();
    assert_eq!(names(&lines), KINDS.iter().map(|kind| kind.name).collect(), "a kind is missing");
    assert_eq!(lines.len(), samples.len(), "a record is missing");
    for ((name, written), (of, sample)) in lines.iter().zip(&samples) {
        assert_eq!((name, hex(written)), (of, hex(sample)), "another form needs another store format");
        let kind = KINDS.iter().find(|kind| kind.name == *name).unwrap();
        assert_eq!(kind.rewritten(written).as_ref(), Some(written), "{name}");
    }
}

#[test]
fn a_record_with_more_to_say_is_none_of_this_version() {
    for (name, mut written) in lines() {
        let kind = KINDS.iter().find(|kind| kind.name == name).unwrap();
        written.push(0);
        assert_eq!(kind.rewritten(&written), None, "{name}");
    }
}

/// `AtRest::new(&[7; 32])` sealed "text" for this place.
const SEALED: &str = "9242250fddfa8709927b74e6ffef878a08db59df71830549ef4cce6a88e56a1bb6664ab94b93fb2f19629741";

#[test]
fn what_the_first_program_of_this_format_encrypted_opens() {
    assert_eq!(AtRest::new(&[7; 32]).open(b"Inbox/mid", &unhex(SEALED)).unwrap().as_slice(), b"text");
}

/// The slot of the window that starts at 86,400, with a key of nines.
const SLOT: &str = "00000000000151800909090909090909090909090909090909090909090909090909090909090909db41a1da81f7c80f";

#[test]
fn a_slot_file_of_this_format_gives_its_keys() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("slots");
    let mut file = [b"LSNS\x01".as_slice(), &[0; 59], &unhex(SLOT)].concat();
    file.resize(64 + 160 * 64, 0);
    std::fs::write(&path, file).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let slots = SlotFile::open(&path).unwrap();
    assert_eq!(slots.starts().collect::<Vec<_>>(), [86_400]);
    assert_eq!(slots.key(86_400), Some(&[9; 32]));
}

#[test]
#[ignore = "makes a fixture"]
fn prints_records_of_this_format() {
    samples().iter().for_each(|(name, bytes)| println!("{name} {}", hex(bytes)));
    let mut rng = rand_core::UnwrapErr(getrandom::SysRng);
    println!("sealed {}", hex(&AtRest::new(&[7; 32]).seal(b"Inbox/mid", b"text", &mut rng)));
}
