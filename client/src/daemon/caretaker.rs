//! Letting go of what is over, ending what is late, asking after what is silent, sending it by another way.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_protocol::frame::CustodyState;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{MessageId, Timestamp};

use super::bear;
use crate::api::model::RecipientState;
use crate::office::Office;
use crate::outbox::fact::is_word;
use crate::outbox::ways::{ATTEMPT_MAX, Out};
use crate::outbox::work::{Because, Work};
use crate::problem::Answer;
use crate::shelf::ReadError;

/// How often the disk is looked at.
const TICK: Duration = Duration::from_secs(5);
/// How often open messages are looked through.
const ROUND: Duration = Duration::from_secs(60);
/// How often old records are looked through.
const SWEEP: Duration = Duration::from_secs(3600);
/// After a relay is linked again, open messages are asked after at once, but no more often than this.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// So many inquiries, and then a pause: relays answer 200 a second.
const INQUIRIES: usize = 50;
const INQUIRIES_PAUSE: Duration = Duration::from_millis(500);
/// After so long a silence it is sent again.
const SILENCE: Duration = Duration::from_secs(86_400);
/// Records looked at, or removed, at a time.
const TOGETHER: usize = 500;

pub(super) async fn run(office: Arc<Office>) -> Answer<()> {
    let mut round = Timestamp::ZERO;
    let mut sweep = Timestamp::ZERO;
    let mut asked = office.now();
    let (mut linked, mut asked_all) = (false, Timestamp::ZERO);
    loop {
        let for_worker = Arc::clone(&office);
        crate::blocking(move || for_worker.look_at_disk()).await??;
        let now = office.now();
        let turn = async {
            let all = linked && now.since(asked_all) >= ASK_AGAIN;
            if all || now.since(round) >= ROUND {
                let due = now.since(asked) >= office.policy.inquire_every;
                let ask = if all {
                    Ask::All
                } else if due {
                    Ask::Silent
                } else {
                    Ask::None
                };
                look_through(&office, ask, now).await?;
                round = now;
                asked = if ask == Ask::None { asked } else { now };
                (linked, asked_all) = (linked && !all, if all { now } else { asked_all });
            }
            look_at_due(&office, now).await?;
            if now.since(sweep) >= SWEEP {
                clean(&office, now).await?;
                sweep = now;
            }
            Ok(())
        };
        if let Err(problem) = turn.await {
            bear(&office, problem).await?;
        }
        tokio::select! {
            biased;
            () = office.wake.ask.notified() => linked = true,
            () = office.wake.look.notified() => {}
            () = until_due(&office) => {}
            () = office.clock.idle(TICK) => {}
        }
    }
}

/// Which open messages are asked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// All that relays have.
    All,
    /// What is soon to be sent by another way.
    Due,
    /// None.
    None,
    /// Those of which nothing was heard since the last round.
    Silent,
}

async fn until_due(office: &Office) {
    let next = office.agenda.lock().unwrap_or_else(PoisonError::into_inner).next();
    match next {
        Some(at) => office.clock.sleep(at.since(office.now())).await,
        None => std::future::pending().await,
    }
}

/// Messages that have a time of their own.
async fn look_at_due(office: &Arc<Office>, now: Timestamp) -> Answer<()> {
    let mut asked = 0;
    loop {
        let due = office.agenda.lock().unwrap_or_else(PoisonError::into_inner).pop(now);
        let Some(first) = due else { return Ok(()) };
        see_to(office, first, (Ask::Due, now), &mut asked).await?;
    }
}

/// Every open message: ended if it is late; asked after, or sent again, if it is silent.
async fn look_through(office: &Arc<Office>, ask: Ask, now: Timestamp) -> Answer<()> {
    let mut after = None;
    let mut asked = 0;
    loop {
        let for_worker = Arc::clone(office);
        let page = crate::blocking(move || for_worker.open_messages(after, TOGETHER)).await??;
        let ended = page.len() < TOGETHER;
        after = page.last().copied();
        for first in page {
            see_to(office, first, (ask, now), &mut asked).await?;
        }
        if ended {
            return Ok(());
        }
    }
}

async fn see_to(office: &Arc<Office>, first: MessageId, (ask, now): (Ask, Timestamp), asked: &mut usize) -> Answer<()> {
    let for_worker = Arc::clone(office);
    let alone = office.feeding.lock().await;
    let Attended { ops, inquiries, next } = crate::blocking(move || for_worker.attend(first, ask, now)).await??;
    let changed = !ops.is_empty();
    office.node.commit(ops).await?;
    drop(alone);
    if changed {
        office.wake.feed.notify_one();
    }
    if let Some(next) = next {
        office.look(first, next);
    }
    for (envelope, index) in inquiries {
        office.node.inquire(envelope, index).await?;
        *asked += 1;
        if (*asked).is_multiple_of(INQUIRIES) {
            office.clock.sleep(INQUIRIES_PAUSE).await;
        }
    }
    Ok(())
}

async fn clean(office: &Arc<Office>, now: Timestamp) -> Answer<()> {
    for table in [Table::Inbox, Table::Outbox] {
        let mut after = Some(0);
        while let Some(from) = after {
            let for_worker = Arc::clone(office);
            let (old, next) = crate::blocking(move || for_worker.unretained(table, from, TOGETHER)).await??;
            for id in old {
                let for_worker = Arc::clone(office);
                let _alone = office.matching.lock().await;
                let ops = crate::blocking(move || match table {
                    Table::Inbox => for_worker.forget_received(id),
                    _ => for_worker.forget_sent(id),
                });
                office.node.commit(ops.await??).await?;
            }
            after = next;
        }
    }
    let jobs: [Job; 4] = [
        |office, now| office.forget_events(now.before(office.policy.retain_read), TOGETHER),
        Office::forget_keys,
        Office::forget_uploads,
        |office, now| office.forget_unannounced(now, TOGETHER),
    ];
    for job in jobs {
        loop {
            let for_worker = Arc::clone(office);
            let _alone = office.matching.lock().await;
            let ops = crate::blocking(move || job(&for_worker, now)).await??;
            let more = ops.len() >= TOGETHER;
            office.node.commit(ops).await?;
            if !more {
                break;
            }
        }
    }
    Ok(())
}

/// Finds some of what is to be removed, by the time that it is.
type Job = fn(&Office, Timestamp) -> Result<Vec<Op>, ReadError>;

/// How long nothing may be heard of this attempt. A month of silence does not use up the attempts.
fn silence(attempt: u8) -> Duration {
    SILENCE * (1 << attempt.saturating_sub(ATTEMPT_MAX).min(ATTEMPT_MAX))
}

/// What an open message needs.
#[derive(Default)]
pub(crate) struct Attended {
    /// To be committed.
    pub(crate) ops: Vec<Op>,
    /// Envelopes to ask after, each for one recipient.
    pub(crate) inquiries: Vec<(MessageId, u16)>,
    /// When to look again.
    pub(crate) next: Option<Timestamp>,
}

impl Office {
    // [CUST-12] [CUST-15]
    pub(crate) fn attend(&self, first: MessageId, ask: Ask, now: Timestamp) -> Result<Attended, ReadError> {
        let mut all = Attended::default();
        if ask == Ask::Due && !self.is_open(first)? {
            return Ok(all);
        }
        all.ops = self.expire(first, now)?;
        if !all.ops.is_empty() || planted(Mutant::SilenceIgnored) {
            return Ok(all);
        }
        let Some(standing) = self.standing(first)? else { return Ok(all) };
        let mut arrived = false;
        for (index, recipient) in (0..).zip(&standing.recipients) {
            if !matches!(ask, Ask::Due | Ask::None)
                && recipient.state == RecipientState::Outbox
                && standing.facts.is_unkeyed(index, first)
            {
                // Tomorrow's key may do where today's was lost.
                all.ops.push(Work::Keyed { first, index }.put(&self.shelf, now));
            }
            if recipient.state == RecipientState::Custody {
                let out = Out {
                    first,
                    index,
                    recipient: &recipient.agency,
                    precedence: standing.head.precedence,
                    facts: &standing.facts,
                };
                arrived |= matches!(standing.facts.told(index, first), Some((_, CustodyState::Delivered, _)));
                self.attend_to(&out, ask, now, &mut all)?;
            }
        }
        if arrived {
            all.ops.extend(self.feed_the_silent(first, &standing.head, now)?);
        }
        Ok(all)
    }

    /// One recipient's copy, which a relay has taken over.
    fn attend_to(&self, out: &Out<'_>, ask: Ask, now: Timestamp, all: &mut Attended) -> Result<(), ReadError> {
        let &Out { first, index, facts, .. } = out;
        let envelope = facts.envelope_of(index, first);
        let (sent, attempt) = (self.last_sent(first, envelope, index)?, self.last_attempt(envelope, index)?);
        let told = facts.told(index, first);
        let mut again = |because| all.ops.push(Work::Resubmit { envelope, index, because }.put(&self.shelf, now));
        match told {
            // Told while the last submission was still on its way.
            Some((by, CustodyState::Unknown, at)) if at > sent => {
                again(Because::Unknown { by: by.clone() });
                return Ok(());
            }
            _ => {}
        }
        let held = facts.holders(index, first).map(|fact| fact.at);
        let word = told.filter(|(_, state, _)| is_word(state)).map(|(_, _, at)| at);
        let heard = held.chain(word).fold(sent, Timestamp::max);
        if now.since(heard) >= silence(attempt) {
            again(Because::Silence);
            return Ok(());
        }
        let way = self.another_way(out)?;
        if let Some(way) = way.as_ref().filter(|way| now >= way.due) {
            again(way.because(now));
            return Ok(());
        }
        let asks = match ask {
            Ask::All => true,
            Ask::Due => way.as_ref().is_some_and(|way| now >= way.ask),
            Ask::None => false,
            Ask::Silent => now.since(heard) >= self.policy.inquire_every / 2,
        };
        if asks {
            all.inquiries.push((envelope, index));
        }
        let next = way.map(|way| if now < way.ask { way.ask } else { way.due });
        all.next = all.next.into_iter().chain(next).min();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use liaison_protocol::limits::{ATTEMPTS_MAX, LIFETIME_MAX};

    use super::*;

    // [CUST-15]
    #[test]
    fn a_dark_month_leaves_attempts_for_what_is_known_to_be_lost() {
        let mut until = Duration::ZERO;
        let used = (1..=ATTEMPTS_MAX).take_while(|attempt| {
            until += silence(*attempt);
            until <= LIFETIME_MAX
        });
        assert!(used.count() < 13, "three are left");
    }
}
