//! `liaison-relay status`.

use std::time::Duration;

use liaison_node::clock;
use liaison_node::exit::Exit;
use liaison_node::status::{LinkStatus, NodeStatus, QueueStatus, RosterStanding};
use liaison_protocol::Timestamp;

use super::out::{BAD, GOOD, paint};
use super::words::{age, bytes, clock_time, count, safe, span};
use super::{Failure, Out};
use crate::admin::client::Client;

pub(super) async fn run(client: &Client, out: &Out) -> Result<Exit, Failure> {
    let status: NodeStatus = client.get("/v1/status").await?;
    if out.json {
        out.object(&status)?;
    } else {
        out.data(&render(&status, clock::now()))?;
    }
    let well = status.alarms.is_empty() && status.readiness().iter().all(|condition| condition.ok);
    Ok(if well { Exit::Done } else { Exit::Finding })
}

pub(super) fn render(status: &NodeStatus, now: Timestamp) -> String {
    let failing: Vec<_> = status.readiness().into_iter().filter(|condition| !condition.ok).collect();
    let state = if failing.is_empty() {
        paint(GOOD, "ready")
    } else {
        let names: Vec<_> = failing.iter().map(|condition| condition.name.as_str()).collect();
        paint(BAD, &format!("not ready: {}", names.join(", ")))
    };
    let uptime = span(Duration::from_secs(status.uptime_s));
    let (id, role, region, version) = (&status.id, status.role, safe(&status.region), safe(&status.version));
    format!("{id}  {role}  {region}  version {version}  up {uptime}  {state}\n")
        + &format!("roster   {}\n", roster(status, now))
        + &format!("store    {}\n", store(status))
        + &format!("links    {}\n", links(&status.links, now))
        + &format!("queues   {}\n", queues(&status.queues, now))
        + &alarms(&status.alarms)
}

fn roster(status: &NodeStatus, now: Timestamp) -> String {
    let roster = &status.roster;
    let end = match roster.standing {
        RosterStanding::Current => format!("{} left", span(roster.expires_ms.since(now))),
        RosterStanding::Expired => paint(BAD, "ended: no new custody"),
        RosterStanding::Forked => paint(BAD, "another one of this version is in circulation"),
        RosterStanding::Grace => {
            paint(BAD, &format!("ended {} ago, days of grace", span(now.since(roster.expires_ms))))
        }
    };
    format!("version {}, {} signatures ({} needed), {end}", roster.version, roster.signed, roster.threshold)
}

fn store(status: &NodeStatus) -> String {
    let store = &status.store;
    let commit = store.commit_p50_ms.map(|millis| format!(", commit {millis:.1} ms")).unwrap_or_default();
    format!(
        "{} used, {} free (low water {}){commit}",
        bytes(store.used_bytes),
        bytes(store.free_bytes),
        bytes(store.low_water_bytes)
    )
}

fn links(links: &[LinkStatus], now: Timestamp) -> String {
    let up: Vec<_> = links.iter().filter(|link| link.up).map(link_up).collect();
    let down: Vec<_> = links.iter().filter(|link| !link.up).map(|link| link_down(link, now)).collect();
    let mut text = format!("{} of {} up", up.len(), links.len());
    for (word, peers) in [("", up), ("down: ", down)] {
        if !peers.is_empty() {
            text.push_str(&format!("; {word}{}", peers.join(", ")));
        }
    }
    text
}

fn link_up(link: &LinkStatus) -> String {
    match link.rtt_ms {
        Some(rtt) => format!("{} {rtt:.1} ms", link.peer),
        None => link.peer.to_string(),
    }
}

fn link_down(link: &LinkStatus, now: Timestamp) -> String {
    let since = link.since_ms.or(link.failure_since_ms).map(|since| format!(" since {}", clock_time(since, now)));
    format!("{}{}", link.peer, since.unwrap_or_default())
}

fn queues(queues: &[QueueStatus], now: Timestamp) -> String {
    let entries = queues.iter().map(|queue| queue.entries).sum();
    let held = queues.iter().map(|queue| queue.bytes).sum();
    let oldest = queues.iter().filter_map(|queue| queue.oldest_ms).min();
    let flash = queues.iter().filter_map(|queue| queue.oldest_by_precedence_ms.first().copied().flatten()).min();
    if queues.is_empty() {
        return "empty".into();
    }
    let flash = flash.map(|flash| format!(", oldest flash {}", span(now.since(flash)))).unwrap_or_default();
    format!(
        "{} not empty, {} messages, {}, oldest {}{flash}",
        queues.len(),
        count(entries),
        bytes(held),
        age(oldest, now)
    )
}

fn alarms(alarms: &[String]) -> String {
    if alarms.is_empty() {
        return "alarms   none\n".into();
    }
    alarms.iter().map(|alarm| format!("alarm    {}\n", paint(BAD, &safe(alarm)))).collect()
}
