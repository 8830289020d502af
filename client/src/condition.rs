//! The daemon's condition: `GET /v1/status`, `/v1/doctor` and `/v1/agencies`, `/readyz`, metrics and log.
//!
//! All of them come from [`Office::checks`], so that they agree: what fails there is an alarm in the status, a failure of
//! the doctor, a line in the log when it begins and when it ends, and counted in the metrics.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use liaison_core::op::Table;
use liaison_node::bundles;
use liaison_node::descriptors;
use liaison_node::status::{self as node, NodeStatus};
use liaison_protocol::roster::{Agency, AgencyStatus, Roster};
use liaison_protocol::{AgencyId, NodeId, Timestamp};

use crate::api::model::{
    Agencies, AgencyView, ClockStatus, Finding, InboxStatus, Level, LinkState, LinkStatus, OutboxStatus, RosterStatus,
    Status, StoreStatus,
};
use crate::office::{Office, size};
use crate::problem::Answer;
use crate::shelf::ReadError;

/// What ends sooner is warned of.
const SOON: Duration = Duration::from_secs(14 * 86_400);
/// What ends sooner fails the check: somebody has to act.
const URGENT: Duration = Duration::from_secs(7 * 86_400);
const DAY: u64 = 86_400;

impl Office {
    /// Home relays: those `configured`, or those of the roster where none are.
    pub(crate) fn home<'a>(&self, configured: &'a [NodeId], roster: &'a Roster) -> &'a [NodeId] {
        if !configured.is_empty() {
            return configured;
        }
        roster.agency(&self.me).map_or(&[], |agency| &agency.home)
    }

    /// `GET /v1/status`, from what the run loop says of itself. `home` as [`Office::home`] takes it.
    ///
    /// # Errors
    /// A problem document.
    pub fn status(&self, node: &NodeStatus, home: &[NodeId]) -> Answer<Status> {
        let (now, roster) = (self.now(), self.roster());
        let (messages, unread, arriving) = self.inbox_counts()?;
        Ok(Status {
            agency: self.me.clone(),
            version: env!("CARGO_PKG_VERSION").into(),
            started: self.started.into(),
            uptime_s: now.since(self.started).as_secs(),
            roster: roster_status(&roster, node),
            links: self.home(home, &roster).iter().map(|relay| link_status(&roster, node, relay)).collect(),
            outbox: self.outbox_status()?,
            inbox: InboxStatus { messages, unread, arriving, unannounced_bytes: self.unannounced.standing().0 },
            store: StoreStatus {
                used_bytes: node.store.used_bytes,
                free_bytes: node.store.free_bytes,
                min_free_bytes: self.policy.min_free_bytes,
            },
            clock: ClockStatus { offset_ms: node.clock_offset_ms, against: None },
            prekeys_until: self.keyring.until().map(Into::into),
            alarms: self.alarms(node, home),
            cursor: self.last_event()?,
        })
    }

    fn outbox_status(&self) -> Result<OutboxStatus, ReadError> {
        let mut status = OutboxStatus { open: 0, waiting: 0, bytes: 0, oldest: None };
        let mut after = None;
        loop {
            let page = self.open_messages(after, 256)?;
            let ended = page.len() < 256;
            after = page.last().copied();
            for first in page {
                let Some(head) = self.sent_head(first)? else { continue };
                status.open += 1;
                status.bytes = status.bytes.saturating_add(head.bytes);
                let older = status.oldest.is_none_or(|oldest| head.created < oldest.0);
                status.oldest = if older { Some(head.created.into()) } else { status.oldest };
                status.waiting += u64::from(!self.shelf.store().positions_of(&first)?.is_empty());
            }
            if ended {
                return Ok(status);
            }
        }
    }

    /// Sets the daemon's own gauges.
    ///
    /// # Errors
    /// The store's.
    pub(crate) fn set_gauges(&self, node: &NodeStatus, home: &[NodeId]) -> Result<(), ReadError> {
        #[expect(clippy::cast_precision_loss, reason = "far fewer than 2^52 messages")]
        let number = |count: u64| count as f64;
        let unacked = self.shelf.scan(Table::Inbox, b"a").try_fold(0, |n, record| record.map(|_| n + 1))?;
        metrics::gauge!("liaison_daemon_outbox_messages").set(number(self.outbox_status()?.open));
        metrics::gauge!("liaison_daemon_inbox_unacked_messages").set(number(unacked));
        let foreign = self.keyring.alarms().standing_foreign(&self.me, &self.roster(), self.now());
        metrics::gauge!("liaison_daemon_foreign_prekeys").set(f64::from(u8::from(foreign.is_some())));
        metrics::gauge!("liaison_daemon_failing_checks").set(number(self.alarms(node, home).len() as u64));
        metrics::gauge!("liaison_daemon_unannounced_chunk_bytes").set(number(self.unannounced.standing().0));
        Ok(())
    }

    /// `GET /v1/agencies`.
    ///
    /// # Errors
    /// A problem document.
    pub fn agencies(&self) -> Answer<Agencies> {
        let roster = self.roster();
        let agencies = roster.agencies().map(|agency| self.agency_view(&roster, agency)).collect::<Result<_, _>>()?;
        Ok(Agencies { roster_version: roster.version().0, agencies })
    }

    fn agency_view(&self, roster: &Roster, agency: &Agency) -> Result<AgencyView, ReadError> {
        let may = |from: &AgencyId, to: &AgencyId| roster.agreement(from, to).map(|a| a.max_precedence.into());
        let bundle = bundles::get(self.shelf.store(), &agency.id, roster, self.now())?;
        Ok(AgencyView {
            id: agency.id.clone(),
            name: agency.name.clone(),
            home: agency.home.clone(),
            status: match agency.status {
                AgencyStatus::Active => "active".into(),
                AgencyStatus::Suspended => "suspended".into(),
            },
            me: agency.id == self.me,
            we_may_send: may(&self.me, &agency.id),
            they_may_send: may(&agency.id, &self.me),
            keys: agency.sign_keys.iter().map(|key| key.id.to_string()).collect(),
            prekeys_until: bundle.and_then(|bundle| bundle.until()).map(Into::into),
            lifetime_max_s: agency.max_ttl.as_secs(),
        })
    }

    /// `GET /v1/doctor`: every check, in a fixed order.
    ///
    /// # Errors
    /// A problem document.
    pub fn doctor(self: &Arc<Self>, node: &NodeStatus, home: &[NodeId]) -> Answer<Vec<Finding>> {
        let up = span(self.now().since(self.started));
        let text = format!("liaisond {} of {}, up {up}", env!("CARGO_PKG_VERSION"), self.me);
        let mut findings = vec![finding("daemon", Level::Ok, text, None)];
        findings.extend(self.checks(node, home));
        findings.push(self.check_outbox(self.now())?);
        findings.push(self.check_inbox());
        findings.extend(check_descriptors());
        Ok(findings)
    }

    /// Every check that costs little, in a fixed order. The outbox and the inbox are not among them: mail that waits is no
    /// failure of the daemon.
    pub(crate) fn checks(&self, node: &NodeStatus, home: &[NodeId]) -> Vec<Finding> {
        let (now, roster) = (self.now(), self.roster());
        let mut checks = vec![
            check_roster(&roster, node, now),
            self.check_identity(&roster, now),
            self.check_prekeys(now),
            self.check_copies(&roster, now),
            check_clock(node),
        ];
        checks.extend(check_links(node, self.home(home, &roster)));
        checks.extend(self.check_flapping(now));
        checks.extend(check_refusals(node));
        checks.push(self.check_store(node));
        checks.extend(check_others(node));
        checks
    }

    /// Why no new message is taken, in words; nothing: they are taken. A relay that is down is no reason: mail waits.
    pub(crate) fn unready(&self, node: &NodeStatus) -> Vec<String> {
        let mut reasons: Vec<String> = node
            .readiness()
            .into_iter()
            .filter(|condition| !condition.ok)
            .map(|condition| format!("{}: {}", condition.name, condition.text))
            .collect();
        let store = self.check_store(node);
        if store.level == Level::Fail && reasons.iter().all(|reason| !reason.starts_with("store: ")) {
            reasons.push(format!("{}: {}", store.id, store.text));
        }
        reasons
    }

    /// Links that come and go: the sign of a second machine with this agency's keys.
    fn check_flapping(&self, now: Timestamp) -> Option<Finding> {
        let flapping = self.links.lock().unwrap_or_else(PoisonError::into_inner).flapping(now);
        let (relay, changes) = flapping.first()?;
        let text = format!(
            "the link to {relay} came or went {changes} times in 10 minutes: another machine may use this agency's keys, \
             or the path is bad"
        );
        let fix = "stop the other machine; if there is none, have the link key replaced, or see to the path";
        Some(finding("links", Level::Fail, text, Some(fix)))
    }

    /// What needs somebody, in words: the checks that fail.
    fn alarms(&self, node: &NodeStatus, home: &[NodeId]) -> Vec<String> {
        let failing = self.checks(node, home).into_iter().filter(|check| check.level == Level::Fail);
        failing.map(|check| format!("{}: {}", check.id, check.text)).collect()
    }

    fn check_identity(&self, roster: &Roster, now: Timestamp) -> Finding {
        let id = "identity-key";
        let Some(agency) = roster.agency(&self.me) else {
            let text = format!("{} is not in roster version {}: no relay takes its mail", self.me, roster.version());
            return finding(id, Level::Fail, text, Some("ask the roster's publishers to enrol this agency"));
        };
        let key = self.signer.key_id();
        let enrol = "ask the roster's publishers to enter the key of a new one";
        let Some(entry) = agency.sign_keys.iter().find(|entry| entry.id == key) else {
            let text = format!("signing key {key} is not one that the roster names for {}", self.me);
            return finding(id, Level::Fail, text, Some("use the key that the roster names, or have this key entered"));
        };
        if now > entry.not_after {
            return finding(id, Level::Fail, format!("signing key {key} has ended"), Some(enrol));
        }
        let left = entry.not_after.since(now);
        let level = by_time_left(left);
        finding(id, level, format!("signing key {key} ends in {}", span(left)), (level != Level::Ok).then_some(enrol))
    }

    fn check_prekeys(&self, now: Timestamp) -> Finding {
        match self.keyring.until() {
            Some(until) if until > now => {
                let left = until.since(now);
                let level = if left < SOON { Level::Warn } else { Level::Ok };
                finding("prekeys", level, format!("published for {} ahead", span(left)), None)
            }
            _ => finding(
                "prekeys",
                Level::Fail,
                "no prekey is published for today: no agency can write to this agency".into(),
                None,
            ),
        }
    }

    /// Whether all that is published in this agency's name is its own.
    fn check_copies(&self, roster: &Roster, now: Timestamp) -> Finding {
        let (id, alarms) = ("identity-copy", self.keyring.alarms());
        if let Some(foreign) = alarms.standing_foreign(&self.me, roster, now) {
            let text = format!("{}; last seen {} ago", foreign.in_words(), span(now.since(foreign.last_seen)));
            let fix =
                "stop the other daemon; if there is none, have the roster's publishers replace the signing key now";
            return finding(id, Level::Fail, text, Some(fix));
        }
        if let Some((at, restored)) = alarms.standing_restored(now) {
            let text = format!(
                "at the start {} ago {}: new prekeys were published, and mail sealed to lost ones comes again",
                span(now.since(at)),
                restored.in_words()
            );
            return finding(
                id,
                Level::Warn,
                text,
                Some("a restore leaves this; without one, see who changed these files"),
            );
        }
        finding(id, Level::Ok, "all prekeys seen in this agency's name are its own".into(), None)
    }

    /// The disk as a submission sees it: the last look of the daemon itself counts, and that of its run loop.
    fn check_store(&self, node: &NodeStatus) -> Finding {
        let (used, min) = (node.store.used_bytes, self.policy.min_free_bytes);
        let free = node.store.free_bytes.min(self.free_bytes());
        let text = format!("{} used, {} free; nothing new is taken below {}", size(used), size(free), size(min));
        let fix = Some("make room, or lower [store] min_free");
        match free {
            free if free < min => finding("store", Level::Fail, text, fix),
            _ if !node.store.writable => finding("store", Level::Fail, format!("{text}; now nothing is taken"), fix),
            free if free / 2 < min => finding("store", Level::Warn, text, fix),
            _ => finding("store", Level::Ok, text, None),
        }
    }

    /// Attachments without a message: what a sender fills the disk with unseen.
    fn check_inbox(&self) -> Finding {
        let (bytes, most) = self.unannounced.standing();
        let max = self.unannounced.limits().bytes_max;
        let Some((sender, most)) = most else {
            return finding("inbox", Level::Ok, "no attachment waits for its message".into(), None);
        };
        let text = format!(
            "{} of attachments wait for messages that announce them, {} from {sender}; at most {}",
            size(bytes),
            size(most),
            size(max)
        );
        let fix = "ask that agency; they go after [inbox] unannounced_life, and nothing else is held up";
        let level = if bytes > max / 16 { Level::Warn } else { Level::Ok };
        finding("inbox", level, text, (level != Level::Ok).then_some(fix))
    }

    fn check_outbox(&self, now: Timestamp) -> Result<Finding, ReadError> {
        let status = self.outbox_status()?;
        let Some(oldest) = status.oldest else {
            return Ok(finding("outbox", Level::Ok, "all delivered".into(), None));
        };
        let age = now.since(oldest.0);
        let text = format!("{} not delivered yet, the oldest for {}", messages(status.open), span(age));
        let level = if age.as_secs() > DAY { Level::Warn } else { Level::Ok };
        let fix = "liaison outbox --waiting lists them, liaison status MSG says what one waits for";
        Ok(finding("outbox", level, text, (level != Level::Ok).then_some(fix)))
    }
}

fn roster_status(roster: &Roster, node: &NodeStatus) -> RosterStatus {
    RosterStatus {
        federation: roster.federation().to_string(),
        version: roster.version().0,
        hash: roster.hash().to_string(),
        issued: roster.issued().into(),
        expires: roster.expires().into(),
        signatures: node.roster.signed,
        threshold: node.roster.threshold,
        roots: u32::try_from(roster.document().roots.keys.len()).unwrap_or(u32::MAX),
    }
}

fn link_status(roster: &Roster, node: &NodeStatus, relay: &NodeId) -> LinkStatus {
    let link = node.links.iter().find(|link| link.peer == *relay);
    let state = match link {
        Some(link) if link.up => LinkState::Up,
        Some(link) if link.next_try_ms.is_none() => LinkState::Connecting,
        _ => LinkState::Down,
    };
    LinkStatus {
        node: relay.clone(),
        region: roster.relay(relay).map(|relay| relay.region.to_string()).unwrap_or_default(),
        state,
        since: link.and_then(|link| link.since_ms).map(Into::into),
        rtt_ms: link.and_then(|link| link.rtt_ms),
        last_receive: link.and_then(|link| link.last_receive_ms).map(Into::into),
        last_error: link.filter(|link| !link.up).and_then(|link| link.last_error.clone()),
        next_try: link.and_then(|link| link.next_try_ms).map(Into::into),
    }
}

fn check_roster(roster: &Roster, node: &NodeStatus, now: Timestamp) -> Finding {
    let (signed, roots) = (node.roster.signed, roster.document().roots.keys.len());
    let what = format!("version {}, signed {signed} of {roots}", roster.version());
    let renew = Some("get the next roster from the federation's publishers");
    let left = roster.expires().since(now);
    match node.roster.standing {
        node::RosterStanding::Forked => {
            let text = format!("{what}; another roster of this version is in circulation");
            finding("roster", Level::Fail, text, Some("ask the federation's publishers which one holds"))
        }
        node::RosterStanding::Expired => finding("roster", Level::Fail, format!("{what}, has ended"), renew),
        node::RosterStanding::Grace => {
            finding("roster", Level::Fail, format!("{what}, has ended; in use for 14 days more"), renew)
        }
        node::RosterStanding::Current => {
            let level = by_time_left(left);
            finding("roster", level, format!("{what}, {} left", span(left)), renew.filter(|_| level != Level::Ok))
        }
    }
}

fn check_clock(node: &NodeStatus) -> Finding {
    let Some(offset) = node.clock_offset_ms else {
        return finding("clock", Level::Ok, "no relay has told its time yet".into(), None);
    };
    let text = format!("off by {offset} ms from the relays (limit {} s)", node::CLOCK_OFFSET_MS_MAX / 1000);
    let off = offset.unsigned_abs() > node::CLOCK_OFFSET_MS_MAX || node.clock == node::ClockStanding::Off;
    if off {
        return finding("clock", Level::Fail, text, Some("timedatectl set-ntp true"));
    }
    finding("clock", Level::Ok, text, None)
}

/// What the run loop alarms of, and no check here covers.
fn check_others(node: &NodeStatus) -> impl Iterator<Item = Finding> + '_ {
    const COVERED: [&str; 5] =
        ["roster version", "two rosters", "the disk is", "this clock", "this node's signing key"];
    let others = node.alarms.iter().filter(|alarm| !COVERED.iter().any(|covered| alarm.starts_with(covered)));
    others.map(|alarm| finding("relays", Level::Fail, alarm.clone(), None))
}

fn by_time_left(left: Duration) -> Level {
    match left {
        left if left < URGENT => Level::Fail,
        left if left < SOON => Level::Warn,
        _ => Level::Ok,
    }
}

fn messages(count: u64) -> String {
    if count == 1 { "1 message".into() } else { format!("{count} messages") }
}

/// The store, the links and the API share the process's file descriptors.
fn check_descriptors() -> Option<Finding> {
    let (used, limit) = (descriptors::used()?, descriptors::limit());
    let text = format!("{used} of {limit} file descriptors in use");
    let short = limit < descriptors::WANTED || used > limit / 10 * 9;
    let level = if short { Level::Warn } else { Level::Ok };
    Some(finding("descriptors", level, text, short.then_some("raise LimitNOFILE of the service")))
}

/// One home relay that is down is a warning while another is up.
fn check_links<'a>(node: &'a NodeStatus, home: &'a [NodeId]) -> impl Iterator<Item = Finding> + 'a {
    let up = |relay: &NodeId| node.links.iter().find(|link| link.peer == *relay && link.up);
    let any = home.iter().any(|relay| up(relay).is_some());
    home.iter().map(move |relay| {
        let id = format!("relay {relay}");
        if let Some(link) = up(relay) {
            let rtt = link.rtt_ms.map(|rtt| format!(", {rtt:.1} ms")).unwrap_or_default();
            return finding(&id, Level::Ok, format!("link up{rtt}"), None);
        }
        let link = node.links.iter().find(|link| link.peer == *relay);
        let why = link.and_then(|link| link.last_error.clone()).unwrap_or_else(|| "no answer yet".into());
        let level = if any { Level::Warn } else { Level::Fail };
        finding(&id, level, format!("no link: {why}"), Some("check address and firewall (UDP); mail waits safely here"))
    })
}

/// What relays refuse for now, in their words. Nothing is lost: it waits here, or goes by another relay.
fn check_refusals(node: &NodeStatus) -> Option<Finding> {
    let refused = node.queues.iter().filter(|queue| queue.state == node::QueueState::Backoff);
    let words: Vec<String> =
        refused.filter_map(|queue| Some(format!("for {}: {}", queue.queue, queue.last_error.as_ref()?))).collect();
    let first = words.first()?;
    let others = if words.len() > 1 { format!(" (and {} more)", words.len() - 1) } else { String::new() };
    // A recipient's full quota is one queue's trouble. A clock that is off stops every message.
    let clock = words.iter().any(|words| words.contains("clock"));
    let level = if clock { Level::Fail } else { Level::Warn };
    let fix =
        if clock { "compare the clocks of this machine and of that relay" } else { "the refusal names its cause" };
    let text = format!("mail waits here {first}{others}");
    Some(finding("refusals", level, text, Some(fix)))
}

fn finding(id: &str, level: Level, text: String, fix: Option<&str>) -> Finding {
    Finding { id: id.into(), level, text, fix: fix.map(Into::into) }
}

fn span(span: Duration) -> String {
    match span.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7200 => format!("{} min", seconds / 60),
        seconds if seconds < 2 * DAY => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / DAY),
    }
}
