//! When open messages are looked at next, in memory. After a restart the first look through all of them fills it anew.

use std::collections::{BTreeMap, BTreeSet};

use liaison_protocol::{MessageId, Timestamp};

/// Messages with a time of their own. Past these, the latest ones wait for the look through all open messages, which comes
/// every minute.
const MESSAGES_MAX: usize = 65_536;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Agenda {
    at: BTreeMap<MessageId, Timestamp>,
    by_time: BTreeSet<(Timestamp, MessageId)>,
}

impl Agenda {
    /// Looks at a message then, or at the time that is set already if that is earlier. True: this is the next of all.
    pub(crate) fn look(&mut self, id: MessageId, at: Timestamp) -> bool {
        if self.at.get(&id).is_some_and(|before| *before <= at) {
            return false;
        }
        if let Some(before) = self.at.insert(id, at) {
            self.by_time.remove(&(before, id));
        }
        self.by_time.insert((at, id));
        if self.by_time.len() > MESSAGES_MAX
            && let Some((_, last)) = self.by_time.pop_last()
        {
            self.at.remove(&last);
        }
        self.by_time.first() == Some(&(at, id))
    }

    /// When there is something to look at.
    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.by_time.first().map(|(at, _)| *at)
    }

    /// A message whose time has come.
    pub(crate) fn pop(&mut self, now: Timestamp) -> Option<MessageId> {
        let (at, id) = *self.by_time.first().filter(|(at, _)| *at <= now)?;
        self.by_time.remove(&(at, id));
        self.at.remove(&id);
        Some(id)
    }
}

#[cfg(test)]
mod tests {
    use liaison_protocol::Hash;

    use super::*;

    fn id(number: usize) -> MessageId {
        MessageId(Hash::of(&[&number.to_be_bytes()]))
    }

    const fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    #[test]
    fn each_message_is_looked_at_once_at_its_earliest_time() {
        let mut agenda = Agenda::default();
        assert!(agenda.look(id(1), at(50)));
        assert!(agenda.look(id(1), at(40)));
        assert!(!agenda.look(id(1), at(90)));
        assert!(!agenda.look(id(2), at(60)));
        assert_eq!(agenda.next(), Some(at(40)));
        assert_eq!((agenda.pop(at(39)), agenda.pop(at(45)), agenda.pop(at(45))), (None, Some(id(1)), None));
        assert_eq!((agenda.pop(at(60)), agenda.next()), (Some(id(2)), None));
    }

    #[test]
    fn at_its_bound_the_earliest_times_are_kept() {
        let mut agenda = Agenda::default();
        for number in (0..=MESSAGES_MAX).rev() {
            agenda.look(id(number), at(u64::try_from(number).unwrap()));
        }
        assert_eq!((agenda.at.len(), agenda.by_time.len()), (MESSAGES_MAX, MESSAGES_MAX));
        assert_eq!(agenda.next(), Some(at(0)));
    }
}
