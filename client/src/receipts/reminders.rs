//! How often a delivery receipt is made anew for those who ask after its message.

use std::collections::BTreeMap;
use std::time::Duration;

use liaison_protocol::{MessageId, Timestamp};

/// After the first time; twice as long after each further one. A sender whose link flaps asks every few seconds, and
/// every receipt that is on its way is kept by relays until it expires.
const PAUSE_MIN: Duration = Duration::from_secs(60);
/// Senders ask about hourly: a receipt that was lost again is not waited for longer.
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
/// Messages within their pause at a time, some megabytes. Beyond them nobody is answered anew: they will ask again.
const MESSAGES_MAX: usize = 65_536;

/// Messages that were asked after. Not kept on disk: after a start each is answered at once again.
#[derive(Default)]
pub(crate) struct Reminders(BTreeMap<MessageId, Paid>);

struct Paid {
    at: Timestamp,
    pause: Duration,
}

impl Paid {
    /// Whether its pause goes on. A clock that was set back since has nothing to say.
    fn rests(&self, now: Timestamp) -> bool {
        self.at <= now && now.since(self.at) < self.pause
    }
}

impl Reminders {
    /// Whether the receipt of `id`, which was asked after, is to be made anew.
    pub(crate) fn is_due(&mut self, id: MessageId, now: Timestamp) -> bool {
        let pause = match self.0.get(&id) {
            Some(paid) if paid.rests(now) => return false,
            Some(paid) => (paid.pause * 2).min(PAUSE_MAX),
            None => PAUSE_MIN,
        };
        if self.0.len() >= MESSAGES_MAX {
            self.0.retain(|_, paid| paid.rests(now));
        }
        let room = self.0.len() < MESSAGES_MAX;
        if room {
            self.0.insert(id, Paid { at: now, pause });
        }
        room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u32) -> MessageId {
        let mut bytes = [0; 32];
        bytes[..4].copy_from_slice(&number.to_le_bytes());
        MessageId(liaison_protocol::Hash(bytes))
    }

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_millis(1_000_000_000 + seconds * 1_000)
    }

    #[test]
    fn whoever_asks_every_second_for_a_day_is_answered_a_few_times_and_then_hourly() {
        let mut reminders = Reminders::default();
        let paid: Vec<u64> = (0..86_400).filter(|second| reminders.is_due(id(1), at(*second))).collect();
        assert_eq!(paid[..7], [0, 60, 180, 420, 900, 1_860, 3_780]);
        assert!(paid[7..].windows(2).all(|two| two[1] - two[0] == 3_600), "{paid:?}");
    }

    #[test]
    fn a_clock_that_is_set_back_silences_nobody() {
        let mut reminders = Reminders::default();
        assert!(reminders.is_due(id(1), at(40_000)));
        assert!(reminders.is_due(id(1), at(0)));
        assert!(!reminders.is_due(id(1), at(1)));
    }

    #[test]
    fn there_is_room_for_so_many_messages_and_again_after_their_pause() {
        let mut reminders = Reminders::default();
        let most = u32::try_from(MESSAGES_MAX).unwrap();
        assert!((0..most).all(|number| reminders.is_due(id(number), at(0))));
        assert!(!reminders.is_due(id(most), at(30)));
        assert!(reminders.is_due(id(most), at(60)));
    }
}
