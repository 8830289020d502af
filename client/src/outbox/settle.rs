//! The end of sent messages: tidying up behind those that are over, and ending those whose time is up.

use std::time::Duration;

use bytes::Bytes;
use liaison_core::op::{Op, Table};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::refusal::RefusalReason;
use liaison_protocol::{Hash, MessageId, NodeId, Timestamp};

use super::{Place, Refusal, kept_place, open_place, unkeyed_place};
use crate::api::model::RecipientState;
use crate::kept::Kept;
use crate::office::Office;
use crate::shelf::{ReadError, decode};

/// Past the expiry, so long a receipt that was on its way is waited for.
const GRACE: Duration = Duration::from_secs(3600);

impl Office {
    /// If no recipient is waited for any more: what is to be removed of the message. Its text stays until it is no
    /// longer retained; what only sending again needs goes.
    pub(crate) fn settle(&self, first: MessageId) -> Result<Vec<Op>, ReadError> {
        if !self.is_open(first)? {
            return Ok(Vec::new());
        }
        let Some(standing) = self.standing(first)? else { return Ok(Vec::new()) };
        if !standing.is_over() && !planted(Mutant::SettledEarly) {
            return Ok(Vec::new());
        }
        let federation = self.roster().federation();
        let mut ops = vec![open_place(first).delete()];
        if let Some(kept) = self.shelf.get::<Kept>(&kept_place(first))? {
            ops.push(self.shelf.put(kept_place(first), &kept.slim(Table::Outbox, &federation)?));
        }
        ops.extend(standing.head.recipients.iter().map(|agency| unkeyed_place(agency, first).delete()));
        ops.extend(self.drop_uploads(first, &standing.head)?);
        Ok(ops)
    }

    /// Every open message, from `after` on, at most `limit`.
    pub(crate) fn open_messages(&self, after: Option<MessageId>, limit: usize) -> Result<Vec<MessageId>, ReadError> {
        let after = after.map(|id| open_place(id).key);
        let records = self.shelf.store().scan(Table::Outbox, b"o", after.as_deref(), limit)?;
        records.into_iter().map(|(_, value)| decode(Table::Outbox, &value)).collect()
    }

    /// Ends what an expired message still waits for.
    pub(crate) fn expire(&self, first: MessageId, now: Timestamp) -> Result<Vec<Op>, ReadError> {
        let Some(standing) = self.standing(first)? else { return Ok(vec![open_place(first).delete()]) };
        if now <= standing.head.expires.after(GRACE) {
            return Ok(Vec::new());
        }
        let mut ops = Vec::new();
        for (index, recipient) in (0..).zip(&standing.recipients) {
            if matches!(recipient.state, RecipientState::Outbox | RecipientState::Custody) {
                ops.extend(self.refused(self.timed_out(first, index, &standing.facts, now), now)?);
            }
        }
        Ok(ops)
    }

    fn timed_out(&self, first: MessageId, index: u16, facts: &super::fact::Facts, now: Timestamp) -> Refusal {
        Refusal {
            envelope: facts.envelope_of(index, first),
            index,
            by: NodeId::from(&self.me),
            reason: RefusalReason::Expired,
            detail: "no delivery receipt came in time".into(),
            at: now,
            receipt: Bytes::new(),
        }
    }

    /// Removes a finished message that is no longer retained, with all that is known of it.
    pub(crate) fn forget_sent(&self, first: MessageId) -> Result<Vec<Op>, ReadError> {
        let Some(head) = self.sent_head(first)? else { return Ok(Vec::new()) };
        let mut ops = vec![
            kept_place(first).delete(),
            super::line_place(head.number).delete(),
            super::head_place(first).delete(),
            open_place(first).delete(),
            crate::inbox::thread_place(head.thread, head.number).delete(),
        ];
        let mut envelopes = vec![first];
        for record in self.shelf.scan(Table::Outbox, &Place::new(Table::Outbox, b'z', &[&first.0.0]).key) {
            let (key, _) = record?;
            envelopes.extend(key.last_chunk().map(|id| MessageId(Hash(*id))));
            ops.push(Op::Delete { table: Table::Outbox, key });
        }
        for envelope in &envelopes {
            ops.push(super::resealed_place(*envelope).delete());
            ops.push(super::envelope_place(*envelope).delete());
            ops.extend(self.delete_all(b'y', *envelope)?);
        }
        // A step of the feed may have been under way when the message ended.
        ops.extend(self.forget_feed(first)?);
        for kind in [b'r', b'k'] {
            ops.extend(self.delete_all(kind, first)?);
        }
        Ok(ops)
    }

    pub(crate) fn delete_all(&self, kind: u8, id: MessageId) -> Result<Vec<Op>, ReadError> {
        let prefix = Place::new(Table::Outbox, kind, &[&id.0.0]).key;
        let records = self.shelf.scan(Table::Outbox, &prefix);
        records.map(|record| Ok(Op::Delete { table: Table::Outbox, key: record?.0 })).collect()
    }
}
