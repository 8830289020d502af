//! Attachments: uploaded in pieces, sent in chunks, put together again.
//!
//! ```text
//!  Table::Chunks  u upload            UploadRecord: how far it is                encrypted
//!                 v upload            what does not fill a chunk yet             encrypted
//!                 b upload index      a chunk's sealed body, on its way out
//!                 i name              a chunk's sealed body that has arrived
//!                 j name              Arrived: its sender, and when it goes if no message announces it
//!                 x time name         chunks that no message has been given yet, by that time
//!                 a name id part index  Claim: message `id` announces this chunk
//!                 g id part index     → hash: a chunk that message `id` still misses
//! ```
//! A chunk's name is a hash of its sender and of its body's hash ([`ChunkName`]): what one agency sends again of
//! another's is another chunk, and changes nothing about the other's.
//!
//! A chunk is sealed as soon as it is complete, with the key that the recipients get in the message: what rests here
//! is what travels. No more than one chunk of a file is in memory at a time.

pub(crate) mod arrive;
pub(crate) mod attach;
pub(crate) mod complete;
pub(crate) mod feed;
mod part;
pub mod unannounced;
pub(crate) mod upload;

use liaison_core::op::Table;
use liaison_protocol::{AgencyId, Hash, MessageId, Timestamp};

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

/// Names a received chunk: by its sender and its sealed body. Anybody may sign somebody else's sealed body as their own
/// chunk; it then has another name.
// [CHUNK-1]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ChunkName(Hash);

impl ChunkName {
    pub(crate) fn new(sender: &AgencyId, body_hash: &Hash) -> Self {
        Self(Hash::of(&[b"chunk", sender.as_str().as_bytes(), &[0], &body_hash.0]))
    }
}

fn chunk_place(name: ChunkName) -> Place {
    Place::new(Table::Chunks, b'i', &[&name.0.0])
}

fn arrived_place(name: ChunkName) -> Place {
    Place::new(Table::Chunks, b'j', &[&name.0.0])
}

fn unannounced_place(until: Timestamp, name: ChunkName) -> Place {
    Place::new(Table::Chunks, b'x', &[&until.as_millis().to_be_bytes(), &name.0.0])
}

fn claim_place(name: ChunkName, id: MessageId, attachment: u32, index: u32) -> Place {
    let place = [attachment.to_be_bytes(), index.to_be_bytes()].concat();
    Place::new(Table::Chunks, b'a', &[&name.0.0, &id.0.0, &place])
}

/// All messages' claims to this chunk.
fn claims_prefix(name: ChunkName) -> Vec<u8> {
    Place::new(Table::Chunks, b'a', &[&name.0.0]).key
}

fn missing_place(id: MessageId, attachment: u32, index: u32) -> Place {
    Place::new(Table::Chunks, b'g', &[&id.0.0, &attachment.to_be_bytes(), &index.to_be_bytes()])
}

/// Numbers from 0, as chunks and attachments are counted.
fn counted<T>(items: &[T]) -> impl Iterator<Item = (u32, &T)> {
    (0..).zip(items)
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
