//! 2 and 3: the far relay dies in the middle of the work, and comes back.

use std::time::Instant;

use liaison_client::api::model::{MessageState, Precedence};
use liaison_node::clock;
use serde_json::json;

use super::stage::{FAR_RELAY, NEAR_RELAY, RECIPIENTS, Stage, check};
use super::{arrivals, tamper};
use crate::failure::Failure;

/// Sent into the outage, the urgent ones last.
const MEANWHILE: [(Precedence, usize); 4] =
    [(Precedence::Routine, 4), (Precedence::Priority, 3), (Precedence::Immediate, 2), (Precedence::Flash, 1)];

pub(super) async fn play(stage: &mut Stage) -> Result<(), Failure> {
    let before = stage.sent.len();
    fall(stage).await?;
    rise(stage, before).await
}

async fn fall(stage: &mut Stage) -> Result<(), Failure> {
    stage.say.text("\n2. the European relay is killed (SIGKILL)")?;
    stage.federation.kill(FAR_RELAY);
    let before = stage.sent.len();
    for (precedence, count) in MEANWHILE {
        for number in 1..=count {
            let subject = format!("{precedence} {number} of {count}");
            stage.send(precedence, &["-s", &subject, "--body", "sent into the outage"])?;
        }
    }
    let words: Vec<_> = MEANWHILE.iter().map(|(precedence, count)| format!("{count} {precedence}")).collect();
    let count = stage.sent.len() - before;
    let line = format!("   {count} messages sent meanwhile: {}", words.join(", "));
    stage.say.step(2, "sent", json!({ "messages": count }), &line)?;
    held(stage, before).await
}

/// All of them are at the near relay, which says so by signed receipts, and goes on trying.
async fn held(stage: &mut Stage, before: usize) -> Result<(), Failure> {
    let waiting: Vec<_> = stage.sent.iter().skip(before).copied().collect();
    let count = waiting.len() as u64;
    for message in waiting {
        let trace = stage.traced(message.id, MessageState::Custody).await?;
        let holder = |recipient: &liaison_client::api::model::RecipientStatus| {
            recipient.holder.as_ref().is_some_and(|node| node.as_str() == NEAR_RELAY)
        };
        check(trace.recipients.iter().all(holder), || format!("{} is not held at {NEAR_RELAY}", message.id.short()))?;
    }
    for agency in RECIPIENTS {
        let held = stage.held_for(agency)?;
        check(held == count, || format!("{NEAR_RELAY} holds {held} of {count} messages for {agency}"))?;
    }
    let line = format!("   liaison status: held at {NEAR_RELAY}, custody receipt good, next try every second");
    stage.say.step(2, "held", json!({ "at": NEAR_RELAY, "messages": count }), &line)?;
    tamper::copy_store(stage)
}

async fn rise(stage: &mut Stage, before: usize) -> Result<(), Failure> {
    stage.say.text("\n3. eu-1 starts again, from its disk")?;
    let (started, since) = (Instant::now(), clock::now());
    stage.federation.start(FAR_RELAY)?;
    stage.relay_link(since).await?;
    let after = started.elapsed().as_secs_f64();
    let meanwhile: Vec<_> = stage.sent.iter().skip(before).copied().collect();
    for message in &meanwhile {
        stage.traced(message.id, MessageState::Delivered).await?;
    }
    for agency in RECIPIENTS {
        let arrived = arrivals::inbox(stage, agency).await?;
        arrivals::exactly_once(agency, &stage.sent, &arrived)?;
        arrivals::in_order(agency, arrived.get(before..).unwrap_or_default())?;
    }
    let line = format!("   link up after {after:.1} s; flash first, then immediate, priority, routine");
    stage.say.step(3, "link", json!({ "after_s": after }), &line)?;
    let (count, agencies) = (meanwhile.len(), RECIPIENTS.len());
    let line =
        format!("   delivered {count} of {count} to {agencies} agencies, 0 lost, 0 twice, order by precedence kept");
    stage.say.step(3, "delivered", json!({ "messages": count, "agencies": agencies, "lost": 0, "twice": 0 }), &line)
}
