//! The demo's federation while it plays: who is on it, what was sent, and how to wait for something.

use std::time::{Duration, Instant};

use liaison_client::api::model::{CustodyTrace, Id, LinkState, MessageState, Precedence, Submitted};
use liaison_node::exit::Exit;
use liaison_node::status::{LinkStatus, QueueStatus};
use liaison_protocol::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::json;

use super::federation::Federation;
use super::say::Say;
use crate::failure::Failure;

pub(super) const SENDER: &str = "ncb.sg";
pub(super) const RECIPIENTS: [&str; 2] = ["ncb.ee", "ncb.fr"];
pub(super) const NEAR_RELAY: &str = "ap-1";
pub(super) const FAR_RELAY: &str = "eu-1";

/// Nothing here takes longer on a working system, by far.
const PATIENCE: Duration = Duration::from_secs(15);
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// A message that the sender's outbox took.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) id: Id,
    pub(super) precedence: Precedence,
}

pub(super) struct Stage {
    pub(super) federation: Federation,
    pub(super) say: Say,
    pub(super) sent: Vec<Sent>,
}

/// A promise that was not kept: ends the demo with exit 1.
pub(super) fn broken(what: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Finding, "demo_failed", format!("demo: {what}"))
}

pub(super) fn check(kept: bool, what: impl FnOnce() -> String) -> Result<(), Failure> {
    if kept { Ok(()) } else { Err(broken(what())) }
}

impl Stage {
    pub(super) const fn new(federation: Federation, say: Say) -> Self {
        Self { federation, say, sent: Vec::new() }
    }

    /// Starts all, and waits until all are linked and the agencies know each other's prekeys.
    pub(super) async fn set_up(&mut self) -> Result<(), Failure> {
        self.say.text(
            "liaison demo: a throw-away federation in a temporary folder (removed at the end; --keep leaves the folder)",
        )?;
        self.say.text("  root keys      3 made, 2 needed                roster v1 signed 2 of 3")?;
        let names: Vec<String> = {
            let summary = &self.federation.summary;
            let relays = summary.relays.iter().map(|relay| relay.id.to_string());
            relays.chain(summary.agencies.iter().map(|agency| agency.id.to_string())).collect()
        };
        for name in &names {
            self.federation.start(name)?;
        }
        for agency in [SENDER].iter().chain(&RECIPIENTS) {
            self.linked(agency).await?;
        }
        for agency in [SENDER].iter().chain(&RECIPIENTS) {
            self.acquainted(agency).await?;
        }
        let link = self.relay_link(Timestamp::ZERO).await?;
        let roster = self.federation.client(SENDER).status().await?.roster;
        check((roster.version, roster.signatures, roster.threshold, roster.roots) == (1, 2, 2, 3), || {
            format!("roster version {} signed {} of {}", roster.version, roster.signatures, roster.roots)
        })?;
        self.introduce(&link)
    }

    fn introduce(&self, link: &LinkStatus) -> Result<(), Failure> {
        let summary = &self.federation.summary;
        let relays: Vec<_> = summary.relays.iter().map(|relay| format!("{} ({})", relay.id, relay.region)).collect();
        let rtt = link.rtt_ms.map(|rtt| format!(", {rtt:.1} ms")).unwrap_or_default();
        let facts = json!({ "relays": relays, "rtt_ms": link.rtt_ms });
        self.say.step(0, "relays", facts, &format!("  relays         {:<32}linked{rtt}", relays.join("  ")))?;
        let at = |relay: &str| -> Vec<String> {
            let home =
                |agency: &&super::federation::AgencyFiles| agency.home.first().is_some_and(|id| id.as_str() == relay);
            summary.agencies.iter().filter(home).map(|agency| agency.id.to_string()).collect()
        };
        let (near, far) = (at(NEAR_RELAY).join(", "), at(FAR_RELAY).join(", "));
        let line = format!("  agencies       {near} → {NEAR_RELAY}    {far} → {FAR_RELAY}");
        self.say.step(0, "agencies", json!({ NEAR_RELAY: near, FAR_RELAY: far }), &line)
    }

    /// Waits until `agency`'s daemon answers and is linked to its home relay.
    pub(super) async fn linked(&mut self, agency: &str) -> Result<(), Failure> {
        let client = self.federation.client(agency);
        let what = format!("{agency} is not linked to its home relay");
        self.wait(&what, async || {
            // Not listening yet is not up yet.
            let Ok(status) = client.status().await else { return Ok(None) };
            Ok(status.links.iter().any(|link| link.state == LinkState::Up).then_some(()))
        })
        .await
    }

    /// Waits until `agency`'s daemon has prekeys of every agency.
    async fn acquainted(&mut self, agency: &str) -> Result<(), Failure> {
        let client = self.federation.client(agency);
        let what = format!("{agency} does not get the others' prekeys");
        self.wait(&what, async || {
            let known = client.agencies().await?.agencies;
            Ok(known.iter().all(|agency| agency.prekeys_until.is_some()).then_some(()))
        })
        .await
    }

    /// Waits until the two relays have a link that came up after `since`, as the near one's operator sees it: a relay
    /// that was killed says no goodbye, and its link is believed in for some seconds.
    pub(super) async fn relay_link(&mut self, since: Timestamp) -> Result<LinkStatus, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(link) = self.far_link().filter(|link| link.up && link.since_ms >= Some(since)) {
                return Ok(link);
            }
            self.look_again(deadline, "the relays are not linked").await?;
        }
    }

    /// The near relay's link to the far one, as its operator sees it. Asking fails while it starts.
    fn far_link(&self) -> Option<LinkStatus> {
        let output = self.federation.relay(NEAR_RELAY, &["--json", "links"]).ok()?;
        objects::<LinkStatus>(&output.stdout).find(|link| link.peer.as_str() == FAR_RELAY)
    }

    /// How many messages the near relay holds for `agency`, as its operator sees it.
    pub(super) fn held_for(&self, agency: &str) -> Result<u64, Failure> {
        let output = self.federation.relay(NEAR_RELAY, &["--json", "queues"])?;
        let queue = objects::<QueueStatus>(&output.stdout).find(|queue| queue.queue.as_str() == agency);
        Ok(queue.map_or(0, |queue| queue.entries))
    }

    /// Sends to both recipients, as an analyst would.
    pub(super) fn send(&mut self, precedence: Precedence, words: &[&str]) -> Result<Submitted, Failure> {
        let fixed = [
            "--json",
            "-q",
            "send",
            "--to",
            "ncb.ee,ncb.fr",
            "--tlp",
            "amber",
            "--yes",
            "--precedence",
            precedence.as_str(),
        ];
        let output = self.federation.liaison(SENDER, &[&fixed[..], words].concat())?;
        let submitted: Submitted =
            serde_json::from_slice(&output.stdout).map_err(|error| broken(format!("send answered {error}")))?;
        let id = submitted.id.ok_or_else(|| broken("send named no id"))?;
        self.sent.push(Sent { id, precedence });
        Ok(submitted)
    }

    /// Waits until the sender has the message at `state`, by receipts, and every receipt of its way verifies.
    pub(super) async fn traced(&mut self, id: Id, state: MessageState) -> Result<CustodyTrace, Failure> {
        let client = self.federation.client(SENDER);
        let what = format!("{} does not become {state:?}", id.short());
        let trace = self
            .wait(&what, async || {
                let trace = client.custody(&id.to_string()).await?;
                Ok((trace.state == state).then_some(trace))
            })
            .await?;
        let unproven = trace.hops.iter().find(|hop| hop.at.is_some() && !hop.verified);
        check(unproven.is_none(), || {
            format!("{}: a receipt of {:?} does not verify", id.short(), unproven.map(|hop| &hop.node))
        })?;
        Ok(trace)
    }

    /// Looks until there is something.
    pub(super) async fn wait<T>(
        &mut self,
        what: &str,
        look: impl AsyncFn() -> Result<Option<T>, Failure>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = look().await? {
                return Ok(found);
            }
            self.look_again(deadline, what).await?;
        }
    }

    async fn look_again(&mut self, deadline: Instant, what: &str) -> Result<(), Failure> {
        self.federation.check_alive()?;
        check(Instant::now() < deadline, || format!("{what} after {} s", PATIENCE.as_secs()))?;
        tokio::time::sleep(LOOK_EVERY).await;
        Ok(())
    }
}

/// One JSON object a line.
fn objects<T: DeserializeOwned>(lines: &[u8]) -> impl Iterator<Item = T> {
    lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok())
}
