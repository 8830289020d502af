//! Chunks in order, and out of it.

use super::*;
use crate::open::{OpenError, open};
use crate::testing::mail::{CREATED, FEDERATION, Mail, agency};
use crate::testing::rng;

const LAST: usize = 100;

/// A file of two whole chunks and a part, its chunks' bodies, and what the message says of it.
fn attachment(seed: u64) -> (Vec<u8>, Vec<Bytes>, Attachment) {
    let mut file = vec![0; 2 * CHUNK_BYTES + LAST];
    file.iter_mut().zip(0..).for_each(|(byte, index): (_, u64)| *byte = (index * 31 + seed) as u8 | 1);
    let key = AttachmentKey::generate(&mut rng(seed));
    let chunks = file.chunks(CHUNK_BYTES);
    let bodies: Vec<_> = (0..).zip(chunks).map(|(index, chunk)| chunk_body(&key, index, 3, chunk).unwrap()).collect();
    let attachment = Attachment {
        name: "photo.jpg".into(),
        total_len: file.len() as u64,
        chunk_count: 3,
        key,
        chunk_hashes: bodies.iter().map(|body| Hash::of(&[body])).collect(),
        sha256: Hash::of(&[&file]),
    };
    (file, bodies, attachment)
}

#[test]
fn a_file_comes_out_as_it_went_in_and_its_chunks_all_look_the_same_size() {
    let (file, bodies, attachment) = attachment(1);
    let opened = (0..).zip(&bodies).flat_map(|(i, body)| open_chunk(body, &attachment, i).unwrap().to_vec());
    assert_eq!(opened.collect::<Vec<_>>(), file);
    assert!(bodies.iter().all(|body| body.len() == CHUNK_BYTES + limits::AEAD_TAG_BYTES));
}

#[test]
fn a_chunk_travels_as_a_signed_envelope_without_wraps() {
    let mail = Mail::new();
    let (file, bodies, attachment) = attachment(1);
    let seal = |seed| {
        let request = ChunkRequest {
            federation: FEDERATION,
            sender: &"ncb.sg".parse().unwrap(),
            recipients: &[agency("ncb.fr"), agency("ncb.ee")],
            created: CREATED,
            expires: CREATED,
            precedence: Precedence::Routine,
            key: &attachment.key,
            index: 1,
            count: 3,
            plaintext: &file[CHUNK_BYTES..2 * CHUNK_BYTES],
        };
        seal_chunk(&request, mail.key("ncb.sg"), &mut rng(seed)).unwrap()
    };
    let sealed = seal(9);
    let received = envelope::verify_bytes(sealed.encoded().clone(), &FEDERATION, &mail).unwrap();
    assert_eq!(received.header().body_hash, attachment.chunk_hashes[1]);
    assert_eq!(received.envelope().body, bodies[1], "sealed again, the body is the same");
    assert_ne!(seal(10).id(), sealed.id(), "and the id is not");
    let refused = open(&received, &agency("ncb.ee"), mail.prekey("ncb.ee")).err();
    assert_eq!(refused, Some(OpenError::NotSealed));
}

// Attack 21, [CHUNK-1].
#[test]
fn reordered_dropped_repeated_and_swapped_chunks_are_refused_by_number() {
    let (_, bodies, attachment) = attachment(1);
    let (_, others, mut other) = self::attachment(2);
    let refused = |body: &Bytes, index| open_chunk(body, &attachment, index).map(|_| ()).unwrap_err();
    assert_eq!(refused(&bodies[1], 0), ChunkError::WrongChunk { index: 0 });
    assert_eq!(refused(&bodies[0], 1), ChunkError::WrongChunk { index: 1 });
    assert_eq!(refused(&bodies[0], 2), ChunkError::WrongChunk { index: 2 });
    assert_eq!(refused(&others[1], 1), ChunkError::WrongChunk { index: 1 });
    assert_eq!(refused(&bodies[2], 3), ChunkError::NoSuchChunk { index: 3, count: 3 });
    assert_eq!(refused(&bodies[2], u32::MAX), ChunkError::NoSuchChunk { index: u32::MAX, count: 3 });

    // Even where the sender's own list of hashes is bent, the key of the place does not fit.
    other.chunk_hashes.clone_from(&attachment.chunk_hashes);
    let refused = |bent: &Attachment, body: &Bytes, index| open_chunk(body, bent, index).map(|_| ()).unwrap_err();
    assert_eq!(refused(&other, &bodies[1], 1), ChunkError::BadSeal { index: 1 });
    let mut bent = attachment.clone();
    bent.chunk_hashes.swap(0, 1);
    assert_eq!(refused(&bent, &bodies[1], 0), ChunkError::BadSeal { index: 0 });
    let mut bent = attachment.clone();
    bent.chunk_count = 2;
    bent.chunk_hashes.truncate(2);
    bent.total_len = 2 * CHUNK_BYTES as u64;
    assert_eq!(refused(&bent, &bodies[0], 0), ChunkError::BadSeal { index: 0 }, "the number of chunks is in the key");
}

#[test]
fn what_follows_the_end_of_the_file_must_be_zeros() {
    let (_, bodies, attachment) = attachment(1);
    for total_len in [attachment.total_len - 1, 2 * CHUNK_BYTES as u64, CHUNK_BYTES as u64] {
        let bent = Attachment { total_len, ..attachment.clone() };
        assert_eq!(open_chunk(&bodies[2], &bent, 2).unwrap_err(), ChunkError::BadSeal { index: 2 }, "{total_len}");
    }
}

#[test]
fn a_chunk_is_not_larger_than_a_chunk() {
    let key = AttachmentKey::generate(&mut rng(1));
    let refused = chunk_body(&key, 0, 1, &vec![0; CHUNK_BYTES + 1]);
    assert!(matches!(refused, Err(SealError::TooLong { .. })));
}
