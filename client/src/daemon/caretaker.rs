//! Letting go of what is over, ending what is late, asking after what is silent.

use std::sync::Arc;
use std::time::Duration;

use liaison_core::op::{Op, Table};
use liaison_protocol::frame::CustodyState;
use liaison_protocol::mutant::{Mutant, planted};
use liaison_protocol::{MessageId, Timestamp};

use super::bear;
use crate::api::model::RecipientState;
use crate::office::Office;
use crate::outbox::fact::is_word;
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
            () = office.clock.idle(TICK) => {}
        }
    }
}

/// Which open messages are asked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// All that relays have.
    All,
    /// None.
    None,
    /// Those of which nothing was heard since the last round.
    Silent,
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
            let for_worker = Arc::clone(office);
            let alone = office.feeding.lock().await;
            let (ops, inquiries) = crate::blocking(move || for_worker.attend(first, ask, now)).await??;
            let changed = !ops.is_empty();
            office.node.commit(ops).await?;
            drop(alone);
            if changed {
                office.wake.feed.notify_one();
            }
            for (envelope, index) in inquiries {
                office.node.inquire(envelope, index).await?;
                asked += 1;
                if asked % INQUIRIES == 0 {
                    office.clock.sleep(INQUIRIES_PAUSE).await;
                }
            }
        }
        if ended {
            return Ok(());
        }
    }
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

/// Envelopes to ask after, each for one recipient.
pub(crate) type Inquiries = Vec<(MessageId, u16)>;

impl Office {
    // [CUST-12]
    pub(crate) fn attend(&self, first: MessageId, ask: Ask, now: Timestamp) -> Result<(Vec<Op>, Inquiries), ReadError> {
        let mut ops = self.expire(first, now)?;
        let (mut inquiries, mut arrived) = (Vec::new(), false);
        if !ops.is_empty() || planted(Mutant::SilenceIgnored) {
            return Ok((ops, inquiries));
        }
        let Some(standing) = self.standing(first)? else { return Ok((ops, inquiries)) };
        for (index, recipient) in (0..).zip(&standing.recipients) {
            if ask != Ask::None && recipient.state == RecipientState::Outbox && standing.facts.is_unkeyed(index, first)
            {
                // Tomorrow's key may do where today's was lost.
                ops.push(Work::Keyed { first, index }.put(&self.shelf, now));
            }
            if recipient.state != RecipientState::Custody {
                continue;
            }
            let envelope = standing.facts.envelope_of(index, first);
            let sent = self.last_sent(first, envelope, index)?;
            let told = standing.facts.told(index, first);
            arrived |= matches!(told, Some((_, CustodyState::Delivered, _)));
            let again = |because| Work::Resubmit { envelope, index, because }.put(&self.shelf, now);
            match told {
                // Told while the last submission was still on its way.
                Some((by, CustodyState::Unknown, at)) if at > sent => {
                    ops.push(again(Because::Unknown { by: by.clone() }));
                    continue;
                }
                _ => {}
            }
            let held = standing.facts.holders(index, first).map(|fact| fact.at);
            let word = told.filter(|(_, state, _)| is_word(state)).map(|(_, _, at)| at);
            let heard = held.chain(word).fold(sent, Timestamp::max);
            if now.since(heard) >= SILENCE {
                ops.push(again(Because::Silence));
            } else if ask == Ask::All || ask == Ask::Silent && now.since(heard) >= self.policy.inquire_every / 2 {
                inquiries.push((envelope, index));
            }
        }
        if arrived {
            ops.extend(self.feed_the_silent(first, &standing.head)?);
        }
        Ok((ops, inquiries))
    }
}
