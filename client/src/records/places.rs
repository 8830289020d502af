//! Where each kind of record stands: what has another place needs another store format, as what has another form does.

use std::collections::BTreeSet;

use liaison_core::op::Table;

use super::KINDS;
use crate::api::model::{AttachmentRef, MessageState, NewUpload};
use crate::shelf::Place;
use crate::testing::{Desk, Federation, submission, until};

/// How a record is written.
enum Form {
    /// A record of [`KINDS`].
    Clear(&'static str),
    /// The same, encrypted.
    Sealed(&'static str),
    /// Other octets, or none.
    Octets,
}

use Form::{Clear, Octets, Sealed};

/// Every place: its table, its letter, how many octets of the key follow (`None`: a name is among them), and the form.
#[rustfmt::skip]
const PLACES: &[(Table, u8, Option<usize>, Form)] = &[
    (Table::Chunks, b'a', Some(72), Clear("claim")),
    (Table::Chunks, b'b', Some(20), Octets),
    (Table::Chunks, b'g', Some(40), Clear("hash")),
    (Table::Chunks, b'i', Some(32), Octets),
    (Table::Chunks, b'j', Some(32), Clear("arrived")),
    (Table::Chunks, b'u', Some(16), Sealed("upload")),
    (Table::Chunks, b'v', Some(16), Octets),
    (Table::Chunks, b'x', Some(40), Clear("hash")),
    (Table::Events, b'n', Some(8), Clear("event")),
    (Table::Inbox, b'a', Some(8), Clear("id")),
    (Table::Inbox, b'c', Some(32), Clear("id")),
    (Table::Inbox, b'd', Some(32), Clear("hash")),
    (Table::Inbox, b'f', Some(32), Clear("id")),
    (Table::Inbox, b'h', Some(32), Clear("head")),
    (Table::Inbox, b'l', Some(32), Clear("id")),
    (Table::Inbox, b'm', Some(32), Sealed("kept")),
    (Table::Inbox, b'p', Some(32), Clear("number")),
    (Table::Inbox, b's', Some(8), Sealed("line")),
    (Table::Inbox, b't', Some(40), Clear("thread")),
    (Table::Inbox, b'u', Some(8), Clear("id")),
    (Table::Inbox, b'w', Some(32), Clear("time")),
    (Table::Meta, b'b', Some(0), Clear("bundle")),
    (Table::Meta, b'c', Some(0), Clear("chain")),
    (Table::Meta, b'd', None, Clear("time")),
    (Table::Meta, b'f', Some(0), Clear("number")),
    (Table::Meta, b'k', Some(8), Clear("prekey")),
    (Table::Meta, b'w', Some(0), Clear("time")),
    (Table::Meta, b'x', Some(0), Clear("alarms")),
    (Table::Outbox, b'c', Some(43), Clear("lost")),
    (Table::Outbox, b'e', Some(32), Clear("envelope")),
    (Table::Outbox, b'f', Some(32), Clear("feed")),
    (Table::Outbox, b'h', Some(32), Clear("sent")),
    (Table::Outbox, b'k', None, Clear("custody")),
    (Table::Outbox, b'm', Some(32), Sealed("kept")),
    (Table::Outbox, b'n', None, Clear("unkeyed")),
    (Table::Outbox, b'o', Some(32), Clear("id")),
    (Table::Outbox, b'r', Some(35), Clear("fact")),
    (Table::Outbox, b's', Some(8), Sealed("line")),
    (Table::Outbox, b't', Some(32), Clear("time")),
    (Table::Outbox, b'v', Some(32), Sealed("kept")),
    (Table::Outbox, b'w', Some(16), Clear("work")),
    (Table::Outbox, b'y', Some(34), Clear("attempt")),
    (Table::Outbox, b'z', Some(64), Octets),
    (Table::ReceiptsDue, b'r', None, Clear("due")),
    (Table::Submissions, b'i', Some(32), Sealed("submission")),
];

/// The run loop's own single values.
const OF_THE_NODE: &[&[u8]] = &[b"prekey-proof/", b"receipt-chain", b"roster"];

/// Looks at every record that this daemon keeps; gives the places where one was.
pub(crate) fn look_at(desk: &Desk) -> BTreeSet<(String, char)> {
    let shelf = &desk.office.shelf;
    let tables: BTreeSet<Table> = PLACES.iter().map(|(table, ..)| *table).collect();
    let mut seen = BTreeSet::new();
    for table in tables {
        for record in shelf.scan(table, b"") {
            let (key, value) = record.unwrap();
            if table == Table::Meta && OF_THE_NODE.iter().any(|own| key.starts_with(own)) {
                continue;
            }
            let text = format!("{table:?} {}", key.escape_ascii());
            let place = PLACES.iter().find(|(of, kind, ..)| *of == table && key.first() == Some(kind));
            let (_, kind, rest, form) = place.unwrap_or_else(|| panic!("{text}: a new kind of record"));
            assert!(rest.is_none_or(|rest| key.len() == 1 + rest), "{text}: {} octets", key.len());
            let (name, plain) = match form {
                Clear(name) => (name, value.to_vec()),
                Sealed(name) => (name, shelf.get_bytes(&Place { table, key }).unwrap().unwrap().to_vec()),
                Octets => continue,
            };
            let form = KINDS.iter().find(|form| form.name == *name).unwrap();
            assert_eq!(form.rewritten(&plain).as_ref(), Some(&plain), "{text}: not a {name}");
            seen.insert((format!("{table:?}"), char::from(*kind)));
        }
    }
    seen
}

#[tokio::test]
async fn every_record_of_a_daemon_that_is_used_stands_where_its_kind_does() {
    let federation = Federation::new();
    let (a, b) = (federation.start("ncb.sg").await, federation.start("ncb.ee").await);
    b.learn_keys_of(&a).await;
    // It waits for a key, with a file that is not whole yet beside it.
    let upload = |total_len| a.office.new_upload(NewUpload { name: "file".into(), total_len });
    let (whole, half) = (upload(5).await.unwrap(), upload(10).await.unwrap());
    for upload in [&whole, &half] {
        a.office.append(&upload.id, 0, b"octet".as_slice().into()).await.unwrap();
    }
    let attachments = vec![AttachmentRef { upload: whole.id, name: "file".into() }];
    let message = crate::api::model::Submission { attachments, ..submission(&[&b], "one") };
    let id = a.office.submit(message, Some("key".into())).await.unwrap().id.unwrap().0;
    let mut seen = look_at(&a);
    a.learn_keys_of(&b).await;
    until(|| a.queued(&b.me()).len() == 2).await;
    a.deliver_one(&b).await;
    seen.extend(look_at(&b));
    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    b.office.mark_read(b.inbox()[0].id.0).await.unwrap();
    a.exchange(&b, || a.is(id, MessageState::Read)).await;
    seen.extend(look_at(&a));
    seen.extend(look_at(&b));
    assert!(seen.len() >= 28, "{} places seen: {seen:?}", seen.len());
}
