//! `chunk.json`: an attachment of one whole chunk and a part.

use hkdf::Hkdf;
use liaison_protocol::Hash;
use liaison_protocol::Precedence;
use liaison_protocol::chunk::{AttachmentKey, ChunkRequest, chunk_body, open_chunk, seal_chunk};
use liaison_protocol::inner::Attachment;
use liaison_protocol::limits::CHUNK_BYTES;
use serde_json::{Value, json};
use sha2::Sha256;

use super::world::{CREATED, Draws, FEDERATION, agency, expires, hex, node, seed, signing_key};

const TOTAL: usize = CHUNK_BYTES + 1000;

pub(super) fn file() -> Value {
    // Byte n of the file is n mod 251.
    let file: Vec<u8> = (0..251u8).cycle().take(TOTAL).collect();
    let key = AttachmentKey::from_bytes(&seed("attachment", "photo.jpg"));
    let parts: Vec<_> = (0..).zip(file.chunks(CHUNK_BYTES)).collect();
    let bodies: Vec<_> = parts.iter().map(|(index, part)| chunk_body(&key, *index, 2, part).unwrap()).collect();
    let attachment = Attachment {
        name: "photo.jpg".into(),
        total_len: TOTAL as u64,
        chunk_count: 2,
        key: key.clone(),
        chunk_hashes: bodies.iter().map(|body| Hash::of(&[body])).collect(),
        sha256: Hash::of(&[&file]),
    };
    let chunks: Vec<_> = (0..).zip(&bodies).map(|(index, body)| chunk(&attachment, index, body)).collect();
    json!({
        "what": "section 10. Byte n of the file is n mod 251.",
        "total_len": TOTAL,
        "sha256": hex(attachment.sha256.0),
        "key": hex(key.as_bytes()),
        "chunk_count": 2,
        "chunks": chunks,
        "envelope": envelope(&key, &file),
    })
}

fn chunk(attachment: &Attachment, index: u32, body: &[u8]) -> Value {
    let hkdf = Hkdf::<Sha256>::from_prk(attachment.key.as_bytes()).unwrap();
    let info = [b"liaison/1 chunk\0".as_slice(), &u64::from(index).to_be_bytes(), &2u64.to_be_bytes()].concat();
    let mut chunk_key = [0; 32];
    hkdf.expand(&info, &mut chunk_key).unwrap();
    json!({
        "index": index,
        "chunk_key": hex(chunk_key),
        "plain_bytes": open_chunk(body, attachment, index).unwrap().len(),
        "body_bytes": body.len(),
        "body_first_32": hex(&body[..32]),
        "body_tag": hex(&body[body.len() - 16..]),
        "body_hash": hex(Hash::of(&[body]).0),
    })
}

fn envelope(key: &AttachmentKey, file: &[u8]) -> Value {
    let mut draws = Draws::new(20);
    let request = ChunkRequest {
        federation: FEDERATION,
        sender: &node("ncb.sg"),
        recipients: &[agency("ncb.fr"), agency("ncb.ee")],
        created: CREATED,
        expires: expires(),
        precedence: Precedence::Routine,
        key,
        index: 1,
        count: 2,
        plaintext: &file[CHUNK_BYTES..],
    };
    let sealed = seal_chunk(&request, &signing_key("ncb.sg"), &mut draws).unwrap();
    json!({
        "signing_seed": hex(*seed("signing key", "ncb.sg")),
        "nonce": hex(&draws.log[0]),
        "header": hex(&sealed.envelope().header),
        "message_id": sealed.id().to_string(),
        "signature": hex(sealed.envelope().signature.as_bytes()),
    })
}
