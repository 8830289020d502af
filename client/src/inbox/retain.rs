//! Letting go of received messages that have been handed over and read.

use liaison_core::op::{Op, Table};
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{MessageId, limits};

use super::{
    Head, arriving_place, chain_place, head_place, kept_place, line_place, receipt_place, thread_place, unacked_place,
    unread_place,
};
use crate::office::Office;
use crate::shelf::ReadError;

impl Office {
    /// Messages that are no longer retained, from the oldest on, at most `limit` looked at after `after`. The second
    /// is where to go on.
    pub(crate) fn unretained(
        &self,
        table: Table,
        after: u64,
        limit: usize,
    ) -> Result<(Vec<MessageId>, Option<u64>), ReadError> {
        let key = crate::shelf::Place::new(table, b's', &[&after.to_be_bytes()]).key;
        let records = self.shelf.store().scan(table, b"s", Some(&key), limit)?;
        let mut old = Vec::new();
        let mut last = None;
        for (key, value) in records {
            let number = crate::shelf::last_u64(&key).ok_or(ReadError::Malformed { table })?;
            let line: super::Line = self.shelf.open_record(table, key, &value)?;
            if !self.older_than(line.at, self.policy.retain_read) {
                return Ok((old, None));
            }
            last = Some(number);
            if self.may_go(table, number, line.id)? {
                old.push(line.id);
            }
        }
        Ok((old, last))
    }

    fn may_go(&self, table: Table, number: u64, id: MessageId) -> Result<bool, ReadError> {
        if table == Table::Outbox {
            return Ok(!self.is_open(id)?);
        }
        let kept_by = [unread_place(number), unacked_place(number), arriving_place(id)];
        for place in &kept_by {
            if self.shelf.has(place)? {
                return Ok(false);
            }
        }
        // Until then another envelope of it may come, or its sender ask for the receipt again.
        let head: Option<Head> = self.shelf.get_clear(&head_place(id))?;
        let late = head.is_some_and(|head| self.now() <= head.expires.after(limits::DEDUPE_MARGIN));
        Ok(!late || planted(Mutant::ForgottenWhileAlive))
    }

    /// Removes a received message, with all that is known of it.
    pub(crate) fn forget_received(&self, id: MessageId) -> Result<Vec<Op>, ReadError> {
        let Some(head) = self.shelf.get_clear::<Head>(&head_place(id))? else { return Ok(Vec::new()) };
        let mut ops = vec![
            line_place(head.number).delete(),
            head_place(id).delete(),
            unread_place(head.number).delete(),
            unacked_place(head.number).delete(),
            arriving_place(id).delete(),
            receipt_place(id).delete(),
            thread_place(head.thread, head.number).delete(),
        ];
        ops.extend(head.chain.map(|chain| chain_place(chain).delete()));
        ops.extend(self.forget_name(id)?);
        if head.chunks > 0
            && let Some(letter) = self.received(id)?
        {
            ops.extend(self.drop_chunks(id, &head.from, &letter.message)?);
        }
        ops.push(kept_place(id).delete());
        Ok(ops)
    }
}
