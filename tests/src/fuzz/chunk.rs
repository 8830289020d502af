//! A piece of an attachment that was altered, under way or by whoever announced it.

use std::sync::LazyLock;

use bytes::Bytes;
use liaison_protocol::Hash;
use liaison_protocol::chunk::{AttachmentKey, chunk_body, open_chunk};
use liaison_protocol::inner::Attachment;
use liaison_protocol::limits::CHUNK_BYTES;

use super::edit::edited;
use crate::draw::Draw;

/// Bytes of the last piece.
const REST: usize = 100;

struct Announced {
    attachment: Attachment,
    bodies: [Bytes; 2],
}

static ANNOUNCED: LazyLock<Announced> = LazyLock::new(|| {
    let key = AttachmentKey::generate(&mut Draw::new(5));
    let piece = |index, bytes: usize| chunk_body(&key, index, 2, &vec![7; bytes]).expect("a piece of a file");
    let bodies = [piece(0, CHUNK_BYTES), piece(1, REST)];
    let attachment = Attachment {
        name: "noise.bin".into(),
        total_len: (CHUNK_BYTES + REST) as u64,
        chunk_count: 2,
        chunk_hashes: bodies.iter().map(|body| Hash::of(&[body])).collect(),
        key,
        sha256: Hash::ZERO,
    };
    Announced { attachment, bodies }
});

/// The first byte says what is altered: the body, its length in the announcement, the announced hash with it.
pub(super) fn altered_chunk(input: &[u8]) {
    let [which, index, script @ ..] = input else { return };
    let (announced, index) = (&*ANNOUNCED, u32::from(*index % 4));
    let base = &announced.bodies[usize::from(*which & 1)];
    let body = edited(base, script);
    let mut attachment = announced.attachment.clone();
    if which & 2 != 0 {
        // A sender may announce what it likes.
        attachment.chunk_hashes.fill(Hash::of(&[&body]));
    }
    if which & 4 != 0 {
        attachment.total_len = u64::from(*which) << 13;
    }
    let Ok(plain) = open_chunk(&body, &attachment, index) else { return };
    assert_eq!((index, &body[..]), (u32::from(*which & 1), &base[..]), "nothing else opens");
    assert!(plain.iter().all(|byte| *byte == 7 || *byte == 0) && plain.len() <= CHUNK_BYTES);
    if which & 4 == 0 {
        assert_eq!(plain.as_slice(), &vec![7; if index == 0 { CHUNK_BYTES } else { REST }]);
    }
}
