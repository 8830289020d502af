//! Attachments: uploaded in pieces, sent in chunks, put together again.
//!
//! ```text
//!  Table::Chunks  u upload            UploadRecord: how far it is                encrypted
//!                 v upload            what does not fill a chunk yet             encrypted
//!                 b upload index      a chunk's sealed body, on its way out
//!                 i hash              a chunk's sealed body that has arrived
//!                 j hash              Arrived: whose it is, until when
//!                 x expiry hash       chunks that no message may ever claim
//!                 a hash id           Claim: message `id` announces this chunk
//!                 g id part index     → hash: a chunk that message `id` still misses
//!                 o hash              → id: the message that a chunk belongs to
//! ```
//! A chunk is sealed as soon as it is complete, with the key that the recipients get in the message: what rests here
//! is what travels. No more than one chunk of a file is in memory at a time.

pub(crate) mod arrive;
pub(crate) mod attach;
pub(crate) mod complete;
pub(crate) mod feed;
mod part;
pub(crate) mod upload;

use liaison_core::op::Table;
use liaison_protocol::{Hash, MessageId, Timestamp};

use crate::outbox::UploadId;
use crate::shelf::Place;

pub use part::{PartError, PartReader};

fn upload_place(id: UploadId) -> Place {
    Place::new(Table::Chunks, b'u', &[&id])
}

fn tail_place(id: UploadId) -> Place {
    Place::new(Table::Chunks, b'v', &[&id])
}

fn body_place(id: UploadId, index: u32) -> Place {
    Place::new(Table::Chunks, b'b', &[&id, &index.to_be_bytes()])
}

fn chunk_place(hash: Hash) -> Place {
    Place::new(Table::Chunks, b'i', &[&hash.0])
}

fn arrived_place(hash: Hash) -> Place {
    Place::new(Table::Chunks, b'j', &[&hash.0])
}

fn orphan_place(expires: Timestamp, hash: Hash) -> Place {
    Place::new(Table::Chunks, b'x', &[&expires.as_millis().to_be_bytes(), &hash.0])
}

fn claim_place(hash: Hash, id: MessageId) -> Place {
    Place::new(Table::Chunks, b'a', &[&hash.0, &id.0.0])
}

fn missing_place(id: MessageId, attachment: u32, index: u32) -> Place {
    Place::new(Table::Chunks, b'g', &[&id.0.0, &attachment.to_be_bytes(), &index.to_be_bytes()])
}

fn owner_place(hash: Hash) -> Place {
    Place::new(Table::Chunks, b'o', &[&hash.0])
}

/// Numbers from 0, as chunks and attachments are counted.
fn counted<T>(items: &[T]) -> impl Iterator<Item = (u32, &T)> {
    (0..).zip(items)
}

#[cfg(test)]
mod tests;
