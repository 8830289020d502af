use std::time::Duration;

use bytes::Bytes;
use liaison_core::op::{Op, Table};
use liaison_node::local::OwnEvent;
use liaison_protocol::NodeId;
use liaison_protocol::frame::CustodyState;
use liaison_protocol::limits::CHUNK_BYTES;
use liaison_protocol::refusal::RefusalReason;

use crate::api::model::{AttachmentRef, Direction, MessageState, NewUpload, ProblemCode, RecipientState};
use crate::daemon::Ask;
use crate::testing::{Desk, Federation, submission, until};

pub(super) async fn pair(federation: &Federation) -> (Desk, Desk) {
    let (a, b) = (federation.start("ncb.sg").await, federation.start("ncb.ee").await);
    a.learn_keys_of(&b).await;
    b.learn_keys_of(&a).await;
    (a, b)
}

pub(super) fn file(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|at| (at * 31 % 251) as u8).collect()
}

pub(super) async fn upload(desk: &Desk, file: &[u8], piece: usize) -> AttachmentRef {
    let request = NewUpload { name: "file.bin".into(), total_len: file.len() as u64 };
    let upload = desk.office.new_upload(request).await.unwrap();
    append(desk, &upload.id, file, 0, piece).await;
    AttachmentRef { upload: upload.id, name: "file.bin".into() }
}

async fn append(desk: &Desk, upload: &str, file: &[u8], from: usize, piece: usize) {
    let mut offset = from as u64;
    for piece in file[from..].chunks(piece) {
        let standing = desk.office.append(upload, offset, Bytes::copy_from_slice(piece)).await.unwrap();
        offset += piece.len() as u64;
        assert_eq!(standing.offset, offset);
    }
}

pub(super) fn read(desk: &Desk, id: liaison_protocol::MessageId, way: Direction, n: u32) -> Vec<u8> {
    let mut part = desk.office.part(id, way, n).unwrap();
    let mut file = Vec::new();
    while let Some(octets) = part.next(&desk.office).unwrap() {
        file.extend_from_slice(&octets);
    }
    file
}

#[tokio::test]
async fn a_file_in_odd_pieces_arrives_whole_and_is_receipted_only_then() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let (big, small) = (file(2 * CHUNK_BYTES + 12_345), file(7));
    let mut with_files = submission(&[&b], "files");
    with_files.attachments =
        vec![upload(&a, &big, 100_001).await, upload(&a, &small, 3).await, upload(&a, &[], 1).await];
    let id = a.submit(with_files).await.id.unwrap().0;
    until(|| a.queued(&b.me()).len() == 5).await;

    // The text first: it is readable, and says what is still to come.
    let chunks = a.queued(&b.me()).split_off(1);
    assert!(chunks.iter().all(|(position, _)| position.rank == liaison_core::op::RANK_BULK));
    a.deliver_one(&b).await;
    assert_eq!(b.received(id).state, MessageState::Arriving);
    assert_eq!(b.received(id).parts[0].bytes_here, 0);
    assert_eq!(b.office.part(id, Direction::In, 1).err().unwrap().code, ProblemCode::NotReady.as_str());
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(b.queued(&a.me()).is_empty(), "no receipt before everything is here");

    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    assert_eq!(b.received(id).state, MessageState::Received);
    assert_eq!(read(&b, id, Direction::In, 1), big);
    assert_eq!(read(&b, id, Direction::In, 2), small);
    assert!(read(&b, id, Direction::In, 3).is_empty());
    // What is delivered is no longer kept for sending.
    until(|| a.office.part(id, Direction::Out, 1).is_err()).await;
}

#[tokio::test]
// A relay that says, falsely, that the recipient has no key, and keeps the chunks back, gets no receipt.
async fn a_message_sealed_anew_is_receipted_when_its_attachments_are_here() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let big = file(CHUNK_BYTES + 1);
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![upload(&a, &big, CHUNK_BYTES).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    until(|| a.queued(&b.me()).len() == 3).await;
    a.deliver_one(&b).await;
    let chunks = a.queued(&b.me());

    let b = b.restart_without_keys(&federation).await;
    let (by, reason) = ("ap-1".parse().unwrap(), RefusalReason::KeyUnavailable);
    a.learn_keys_of(&b).await;
    b.learn_keys_of(&a).await;
    a.tell(OwnEvent::Refused { id, index: 0, by, reason, detail: String::new() }).await;
    until(|| a.queued(&b.me()).len() == 3).await;
    a.deliver_one(&b).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(b.queued(&a.me()).is_empty(), "no receipt before everything is here");
    assert_eq!(a.queued(&b.me()), chunks);

    a.exchange(&b, || a.is(id, MessageState::Delivered)).await;
    assert_eq!(b.subjects(), ["file"]);
    assert_eq!(read(&b, id, Direction::In, 1), big);
}

#[tokio::test]
async fn chunks_may_come_before_their_message() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let big = file(2 * CHUNK_BYTES);
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![upload(&a, &big, CHUNK_BYTES).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    until(|| a.queued(&b.me()).len() == 3).await;
    a.deliver_last_first(&b).await;
    until(|| b.received(id).state == MessageState::Received).await;
    assert_eq!(read(&b, id, Direction::In, 1), big);
}

// [CHUNK-2]
#[tokio::test]
async fn an_attachment_that_is_not_what_its_message_announces_is_never_signed_for() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    b.stop().await;
    // Its tasks do not run: what arrives lies there, and is damaged before anybody looks.
    let b = federation.start_idle("ncb.ee").await;
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![upload(&a, &file(2 * CHUNK_BYTES), CHUNK_BYTES).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    until(|| a.queued(&b.me()).len() == 3).await;
    a.deliver(&b).await;
    let announced = b.office.received(id).unwrap().unwrap().message.attachments.remove(0);
    let name = |chunk: usize| super::ChunkName::new(&a.me(), &announced.chunk_hashes[chunk]);
    let [first, second] = [0, 1].map(|chunk| super::chunk_place(name(chunk)));
    let other = b.office.node.store().get(first.table, &first.key).unwrap().unwrap();
    b.commit(vec![Op::Put { table: second.table, key: second.key, value: other }]).await;
    b.stop().await;
    let b = federation.start("ncb.ee").await;
    a.exchange(&b, || a.is(id, MessageState::Undeliverable) || a.is(id, MessageState::Delivered)).await;
    let detail = &a.sent(id).recipients[0].detail;
    assert!(detail.contains("chunk 1 of the attachment is damaged"), "{detail}");
}

#[tokio::test]
async fn an_upload_goes_on_after_a_restart_where_it_stopped() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let big = file(CHUNK_BYTES + 1000);
    let request = NewUpload { name: "file.bin".into(), total_len: big.len() as u64 };
    let upload = a.office.new_upload(request).await.unwrap().id;
    append(&a, &upload, &big[..100_000], 0, 100_000).await;
    a.stop().await;
    let a = federation.start("ncb.sg").await;
    assert_eq!(a.office.upload(&upload).await.unwrap().offset, 100_000);
    let wrong = a.office.append(&upload, 0, Bytes::from_static(b"x")).await.unwrap_err();
    assert_eq!(wrong.code, ProblemCode::WrongOffset.as_str());
    append(&a, &upload, &big, 100_000, 150_000).await;
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![AttachmentRef { upload, name: "file.bin".into() }];
    let id = a.submit(with_file).await.id.unwrap().0;
    a.exchange(&b, || b.has(id, MessageState::Received)).await;
    assert_eq!(read(&b, id, Direction::In, 1), big);
}

#[tokio::test]
async fn sending_goes_on_after_a_restart_where_it_stopped() {
    let federation = Federation::new();
    let b = federation.start("ncb.ee").await;
    // Its tasks do not run: the message is in the outbox, no chunk has left.
    let a = federation.start_idle("ncb.sg").await;
    a.learn_keys_of(&b).await;
    let big = file(3 * CHUNK_BYTES);
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![upload(&a, &big, 1 << 20).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    a.stop().await;
    let a = federation.start("ncb.sg").await;
    b.learn_keys_of(&a).await;
    until(|| a.queued(&b.me()).len() == 4).await;
    a.exchange(&b, || b.has(id, MessageState::Received)).await;
}

#[tokio::test]
async fn an_upload_is_used_once_whole_and_within_bounds() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let whole = upload(&a, &file(10), 10).await;
    let mut first = submission(&[&b], "first");
    first.attachments = vec![whole.clone()];
    let (mut twice, second) = (first.clone(), first.clone());
    twice.attachments.push(whole);
    assert_eq!(a.office.submit(twice, None).await.unwrap_err().code, ProblemCode::UnknownUpload.as_str());
    a.submit(first).await;
    assert_eq!(a.office.submit(second, None).await.unwrap_err().code, ProblemCode::UnknownUpload.as_str());

    let request = NewUpload { name: "x".into(), total_len: 10 };
    let half = a.office.new_upload(request).await.unwrap().id;
    append(&a, &half, &file(5), 0, 5).await;
    let mut third = submission(&[&b], "third");
    third.attachments = vec![AttachmentRef { upload: half.clone(), name: "x".into() }];
    assert_eq!(a.office.submit(third.clone(), None).await.unwrap_err().code, ProblemCode::UploadIncomplete.as_str());
    let past = a.office.append(&half, 5, Bytes::from(file(6))).await.unwrap_err();
    assert_eq!(past.code, ProblemCode::BadRequest.as_str());
    third.attachments[0].name = "../x".into();
    assert_eq!(a.office.submit(third, None).await.unwrap_err().code, ProblemCode::BadRequest.as_str());
    let huge = NewUpload { name: "x".into(), total_len: 1 << 40 };
    assert_eq!(a.office.new_upload(huge).await.unwrap_err().code, ProblemCode::TooLarge.as_str());
}

#[tokio::test]
async fn calling_a_message_back_calls_its_chunks_back() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![upload(&a, &file(2 * CHUNK_BYTES), CHUNK_BYTES).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    until(|| a.queued(&b.me()).len() == 3).await;
    a.office.cancel(id).await.unwrap();
    assert!(a.queued(&b.me()).is_empty());
    until(|| a.office.part(id, Direction::Out, 1).is_err()).await;
}

#[tokio::test]
async fn a_chunk_that_is_lost_while_the_feed_is_ending_waits_for_that_and_is_sent_again() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![upload(&a, &file(7), 7).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    until(|| a.queued(&b.me()).len() == 2).await;
    let chunk = a.queued(&b.me())[1].1.id;
    a.lose(&b).await;

    let ending = a.office.feeding.lock().await;
    let (by, via, state) = ("ap-1".parse().unwrap(), "ap-1".parse().unwrap(), CustodyState::Unknown);
    a.tell(OwnEvent::Answer { id: chunk, index: 0, by, via, state }).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(a.office.work(9).unwrap().len(), 1, "nothing has been done about it");
    a.commit(vec![super::feed::feed_place(id).delete()]).await;
    drop(ending);
    until(|| a.queued(&b.me()).len() == 1).await;
}

// [CONS-2] [CUST-12]
#[tokio::test]
async fn a_chunk_that_a_relay_has_lost_is_sent_once_more_to_whom_it_was_lost() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let c = federation.start("ncb.fr").await;
    a.learn_keys_of(&c).await;
    let mut with_file = submission(&[&b, &c], "file");
    let octets = file(2 * CHUNK_BYTES + 1);
    with_file.attachments = vec![upload(&a, &octets, CHUNK_BYTES).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    until(|| a.queued(&b.me()).len() == 4).await;
    a.deliver_one(&b).await;
    let chunks = a.queued(&b.me());
    a.lose(&b).await;

    // The relay before the one that lost them names two of the three.
    let by: NodeId = "ap-1".parse().unwrap();
    let say = async |id, index| {
        let (by, via, state) = (by.clone(), by.clone(), CustodyState::Unknown);
        a.tell(OwnEvent::Answer { id, index, by, via, state }).await;
    };
    for (_, entry) in &chunks[1..] {
        say(entry.id, entry.index).await;
        say(entry.id, entry.index).await;
    }
    until(|| a.queued(&b.me()).len() == 2).await;
    let again = a.queued(&b.me());
    assert!(again.iter().all(|(_, entry)| chunks.iter().all(|(_, lost)| lost.id != entry.id)));
    assert_eq!(a.queued(&c.me()).len(), 4, "the other recipient's are on their way");
    a.deliver(&b).await;
    // What is lost a second time is left to time.
    say(again[0].1.id, again[0].1.index).await;
    say(chunks[0].1.id, chunks[0].1.index).await;
    a.exchange(&b, || a.sent(id).recipients.iter().any(|one| one.state == RecipientState::Delivered)).await;
    assert_eq!(read(&b, id, Direction::In, 1), octets);
    assert!(a.queued(&b.me()).is_empty());
}

// [CUST-12]
#[tokio::test]
async fn chunks_go_again_after_a_day_to_a_recipient_that_has_the_message_and_signs_for_nothing() {
    let federation = Federation::new();
    let (a, b) = pair(&federation).await;
    let mut with_file = submission(&[&b], "file");
    with_file.attachments = vec![upload(&a, &file(7), 7).await];
    let id = a.submit(with_file).await.id.unwrap().0;
    until(|| a.queued(&b.me()).len() == 2).await;
    let feeds = |after: Duration| {
        let attended = a.office.attend(id, Ask::None, a.office.now().after(after)).unwrap();
        let place = super::feed::feed_place(id);
        let feed = |op: &Op| matches!(op, Op::Put { table, key, .. } if (*table, key) == (place.table, &place.key));
        attended.ops.iter().any(feed)
    };
    a.lose(&b).await;
    until(|| !a.office.shelf.has(&super::feed::feed_place(id)).unwrap()).await;
    let days = |days: u64| Duration::from_secs(days * 86_400);
    assert!(!feeds(days(2)), "nobody says that the message arrived");
    let by: NodeId = "ap-1".parse().unwrap();
    a.tell(OwnEvent::Answer { id, index: 0, by: by.clone(), via: by, state: CustodyState::Delivered }).await;
    assert!(!feeds(Duration::from_secs(3_600)));
    assert!(feeds(days(2)));
}

#[tokio::test]
async fn an_upload_can_be_given_up_until_a_message_has_it() {
    let federation = Federation::new();
    let a = federation.start("ncb.sg").await;
    let b = federation.start("ncb.ee").await;
    let empty = || a.office.shelf.scan(Table::Chunks, b"").count() == 0;
    let upload = NewUpload { name: "file".into(), total_len: 300_000 };
    let id = a.office.new_upload(upload.clone()).await.unwrap().id;
    a.office.append(&id, 0, vec![1; 290_000].into()).await.unwrap();
    assert!(!empty());
    a.office.delete_upload(&id).await.unwrap();
    assert!(empty());
    for gone in [id.as_str(), "x"] {
        let refused = a.office.delete_upload(gone).await.unwrap_err();
        assert_eq!(refused.code, ProblemCode::UnknownUpload.as_str());
    }
    let refused = a.office.append(&id, 290_000, vec![1; 10_000].into()).await.unwrap_err();
    assert_eq!(refused.code, ProblemCode::UnknownUpload.as_str());

    let id = a.office.new_upload(upload).await.unwrap().id;
    a.office.append(&id, 0, vec![1; 300_000].into()).await.unwrap();
    let attachments = vec![AttachmentRef { upload: id.clone(), name: "f".into() }];
    a.submit(crate::api::model::Submission { attachments, ..submission(&[&b], "one") }).await;
    assert_eq!(a.office.delete_upload(&id).await.unwrap_err().code, ProblemCode::UnknownUpload.as_str());
    assert!(!empty());
}
