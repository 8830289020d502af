//! Every kind of record that the daemon keeps, as bytes: what is read from anything that a disk may hold.
//!
//! For fuzzing, and for the fixture that holds today's form of each. Encrypted records are here as they are inside.

use liaison_protocol::receipt::ReceiptChain;
use liaison_protocol::{Hash, MessageId, Timestamp, codec};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::attachment::arrive::{Arrived, Claim};
use crate::attachment::feed::Next;
use crate::attachment::upload::UploadRecord;
use crate::events::EventRecord;
use crate::inbox::{Head, Line, Way};
use crate::kept::Kept;
use crate::once::Record;
use crate::outbox::fact::{CustodyFact, Fact};
use crate::outbox::work::Work;
use crate::outbox::{EnvelopeRef, SentHead};
use crate::prekeys::alarm::Alarms;
use crate::prekeys::record::{BundleRecord, KeyRecord};
use crate::receipts::due::Due;
use crate::shelf;

/// A kind of record.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name here, in the fixture and in the corpus.
    pub name: &'static str,
    rewritten: fn(&[u8]) -> Option<Vec<u8>>,
}

/// All of them: one for each form, whatever the places where it stands.
pub const KINDS: &[Kind] = &[
    kind::<Alarms>("alarms"),
    kind::<Arrived>("arrived"),
    kind::<(u8, Timestamp)>("attempt"),
    kind::<BundleRecord>("bundle"),
    kind::<ReceiptChain>("chain"),
    kind::<Claim>("claim"),
    kind::<CustodyFact>("custody"),
    kind::<Due>("due"),
    kind::<EnvelopeRef>("envelope"),
    kind::<EventRecord>("event"),
    kind::<Fact>("fact"),
    kind::<(MessageId, Next)>("feed"),
    kind::<Hash>("hash"),
    kind::<Head>("head"),
    kind::<MessageId>("id"),
    kind::<Kept>("kept"),
    kind::<Line>("line"),
    kind::<(Next, u16)>("lost"),
    kind::<u64>("number"),
    kind::<KeyRecord>("prekey"),
    kind::<SentHead>("sent"),
    kind::<Record>("submission"),
    kind::<(Way, MessageId)>("thread"),
    kind::<Timestamp>("time"),
    kind::<(MessageId, u16)>("unkeyed"),
    kind::<UploadRecord>("upload"),
    kind::<Work>("work"),
];

const fn kind<T: Serialize + DeserializeOwned>(name: &'static str) -> Kind {
    Kind { name, rewritten: rewritten::<T> }
}

fn rewritten<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<Vec<u8>> {
    shelf::decoded::<T>(bytes).map(|value| codec::encode(&value))
}

impl Kind {
    /// What the daemon would write for what it reads in `bytes`; `None` if it calls them no record of this version.
    #[must_use]
    pub fn rewritten(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        (self.rewritten)(bytes)
    }
}

#[cfg(test)]
pub(crate) mod places;
#[cfg(test)]
mod tests;
