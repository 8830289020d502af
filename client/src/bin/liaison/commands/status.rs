//! `liaison status`: a message hop by hop, or the daemon.

use std::time::Duration;

use liaison_client::api::model::{
    Attempt, CustodyTrace, Hop, LinkState, LinkStatus, MessageState, RecipientState, Stage, Status,
};

use crate::context::Context;
use crate::failure::Failure;
use crate::out::{BAD, GOOD, WARN, paint};
use crate::outgoing::flags::WaitFor;
use crate::outgoing::wait;
use crate::selector::Selector;
use crate::text::{bytes, count, pad, parse_span, safe_line, span};
use crate::when::Clock;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(
    before_help = "Examples:\n  liaison status\n  liaison status @last\n  liaison status 4m7x0q --wait delivered --timeout 5m"
)]
pub(crate) struct Args {
    /// The message; if left out, the daemon
    #[arg(value_name = "MSG")]
    message: Option<Selector>,
    /// Return only once the message is so far
    #[arg(long, value_enum, value_name = "STATE", requires = "message")]
    wait: Option<WaitFor>,
    /// How long to wait
    #[arg(long, value_name = "SPAN", default_value = "30s", value_parser = parse_span)]
    timeout: Duration,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<Exit, Failure> {
    match &args.message {
        Some(selector) => of_message(cx, selector, args).await,
        None => of_daemon(cx).await,
    }
}

async fn of_message(cx: &Context, selector: &Selector, args: &Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<CustodyTrace>()?;
    let trace = cx.client.custody(&cx.resolve(selector)?).await?;
    let waited = match args.wait {
        Some(goal) => wait::until(&cx.client, trace.id, goal, args.timeout).await.map(drop),
        None => Ok(()),
    };
    // Where it is now is wanted most when the wait ran out.
    let trace = if args.wait.is_some() { cx.client.custody(&trace.id.to_string()).await? } else { trace };
    print_trace(cx, &trace)?;
    waited?;
    Ok(if trace.state == MessageState::Undeliverable { Exit::Finding } else { Exit::Done })
}

pub(super) fn print_trace(cx: &Context, trace: &CustodyTrace) -> Result<(), Failure> {
    if cx.out.is_json() {
        return cx.out.object(trace);
    }
    let attempts = if cx.out.verbose { attempts(trace, &cx.clock()) } else { String::new() };
    cx.out.data(&(render_trace(trace, &cx.clock()) + &attempts))
}

fn render_trace(trace: &CustodyTrace, clock: &Clock) -> String {
    let id = trace.id.short();
    let subject = safe_line(&trace.subject);
    let tlp = trace.tlp.as_str().to_uppercase();
    let expires =
        clock.until(trace.expires).map_or_else(|| "expired".into(), |left| format!("expires in {}", span(left)));
    let head = format!("{id}  \"{subject}\"  TLP:{tlp}  {}  {expires}\n", trace.precedence);
    let hops: String = trace.hops.iter().map(|hop| render_hop(hop, trace, clock)).collect();
    format!("{head}{hops}state: {}\n", safe_line(&state(trace)))
}

/// The later envelopes of a message, for whoever follows one through logs.
fn attempts(trace: &CustodyTrace, clock: &Clock) -> String {
    let line = |attempt: &Attempt| {
        let names: Vec<_> = attempt.recipients.iter().map(|agency| agency.as_str()).collect();
        format!("  {}  {}  sealed again for {}\n", attempt.id.short(), clock.precise(attempt.at), names.join(", "))
    };
    let lines: String = trace.attempts.iter().map(line).collect();
    if lines.is_empty() { lines } else { format!("later envelopes of this message:\n{lines}") }
}

const TIME_COLUMNS: usize = 12;
const NODE_COLUMNS: usize = 10;

fn render_hop(hop: &Hop, trace: &CustodyTrace, clock: &Clock) -> String {
    let (mark, style) = match (hop.stage, hop.verified) {
        (Stage::Waiting, _) => ("…", WARN),
        (Stage::Refused | Stage::Expired, _) => ("✗", BAD),
        (_, true) => ("✓", GOOD),
        (_, false) => ("?", BAD),
    };
    let stage = match hop.stage {
        Stage::Outbox => "outbox",
        Stage::Custody => "custody",
        Stage::Inbox => "inbox",
        Stage::Read => "read",
        Stage::Waiting => "waiting",
        Stage::Refused => "refused",
        Stage::Expired => "expired",
        Stage::Cancelled => "cancelled",
        Stage::Resealed => "resealed",
        Stage::Resubmitted => "sent again",
        Stage::Unknown => "other",
    };
    let place = match hop.at {
        Some(at) => format!("{}  {}", pad(&clock.precise(at), TIME_COLUMNS), pad(hop.node.as_str(), NODE_COLUMNS)),
        None => pad(hop.node.as_str(), TIME_COLUMNS + 2 + NODE_COLUMNS),
    };
    let mut detail = safe_line(&hop.detail);
    if !hop.verified && hop.at.is_some() {
        detail = format!("NOT VERIFIED {detail}");
    }
    if (1..trace.recipients.len()).contains(&hop.recipients.len()) && hop.stage == Stage::Custody {
        let names: Vec<_> = hop.recipients.iter().map(|agency| agency.as_str()).collect();
        detail = format!("{detail}, for {}", names.join(", "));
    }
    format!("  {} {place}  {stage:<9}  {detail}", paint(style, mark)).trim_end().to_owned() + "\n"
}

/// `at eu-1 for ncb.ee; delivered to ncb.fr`
fn state(trace: &CustodyTrace) -> String {
    let mut groups: Vec<(String, Vec<&str>)> = Vec::new();
    for recipient in &trace.recipients {
        let phrase = match (recipient.state, &recipient.holder) {
            (RecipientState::Outbox, _) => "in the outbox for".into(),
            (RecipientState::Custody, Some(holder)) => format!("at {holder} for"),
            (RecipientState::Custody, None) => "on its way to".into(),
            (RecipientState::Delivered, _) => "delivered to".into(),
            (RecipientState::Read, _) => "read by".into(),
            (RecipientState::Expired, _) => "expired for".into(),
            (RecipientState::Refused, _) => "refused for".into(),
            (RecipientState::Cancelled, _) => "cancelled for".into(),
            (RecipientState::Unknown, _) => "not known for".into(),
        };
        match groups.iter_mut().find(|(known, _)| *known == phrase) {
            Some((_, names)) => names.push(recipient.agency.as_str()),
            None => groups.push((phrase, vec![recipient.agency.as_str()])),
        }
    }
    let groups: Vec<_> = groups.into_iter().map(|(phrase, names)| format!("{phrase} {}", names.join(", "))).collect();
    groups.join("; ")
}

async fn of_daemon(cx: &Context) -> Result<Exit, Failure> {
    cx.out.check_fields::<Status>()?;
    let status = cx.client.status().await?;
    if cx.out.is_json() {
        cx.out.object(&status)?;
    } else {
        cx.out.data(&render_status(&status, &cx.clock()))?;
    }
    let up = status.links.iter().any(|link| link.state == LinkState::Up);
    Ok(if up && status.alarms.is_empty() { Exit::Done } else { Exit::Finding })
}

fn render_status(status: &Status, clock: &Clock) -> String {
    let mut rows = vec![
        (
            status.agency.to_string(),
            format!("liaisond {}, up {}", status.version, span(Duration::from_secs(status.uptime_s))),
        ),
        ("roster".into(), roster(status, clock)),
    ];
    rows.extend(status.links.iter().map(|link| (format!("link {}", link.node), self::link(link, clock))));
    rows.push(("outbox".into(), outbox(status, clock)));
    let inbox = &status.inbox;
    let arriving = if inbox.arriving > 0 { format!(", {} still arriving", inbox.arriving) } else { String::new() };
    let stray = match inbox.unannounced_bytes {
        0 => String::new(),
        stray => format!(", {} of attachments without a message", bytes(stray)),
    };
    rows.push((
        "inbox".into(),
        format!("{}, {} unread{arriving}{stray}", count(inbox.messages, "message", "messages"), inbox.unread),
    ));
    let store = &status.store;
    rows.push(("store".into(), format!("{} used, {} free", bytes(store.used_bytes), bytes(store.free_bytes))));
    if let (Some(offset), Some(node)) = (status.clock.offset_ms, &status.clock.against) {
        rows.push(("clock".into(), format!("{offset:+} ms against {node}")));
    }
    rows.extend(status.alarms.iter().map(|alarm| ("ALARM".into(), alarm.clone())));
    rows.iter().map(|(name, text)| format!("{}  {}\n", pad(&safe_line(name), 12), safe_line(text))).collect()
}

pub(super) fn roster(status: &Status, clock: &Clock) -> String {
    let roster = &status.roster;
    let left = clock.until(roster.expires).map_or_else(|| "EXPIRED".into(), |left| format!("{} left", span(left)));
    format!("version {}, signed {} of {}, {left}", roster.version, roster.signatures, roster.roots)
}

pub(super) fn link(link: &LinkStatus, clock: &Clock) -> String {
    let since = link.since.map(|at| format!(" since {}", clock.brief(at))).unwrap_or_default();
    match link.state {
        LinkState::Up => {
            let rtt = link.rtt_ms.map(|rtt| format!(", {rtt:.1} ms")).unwrap_or_default();
            let heard =
                link.last_receive.map(|at| format!(", heard {} ago", span(clock.since(at)))).unwrap_or_default();
            format!("up{since}{rtt}{heard}")
        }
        LinkState::Connecting => format!("connecting{since}{}", trouble(link, clock)),
        LinkState::Down => format!("down{since}{}", trouble(link, clock)),
        LinkState::Unknown => format!("not known{since}"),
    }
}

fn trouble(link: &LinkStatus, clock: &Clock) -> String {
    let error = link.last_error.as_ref().map(|error| format!(": {error}")).unwrap_or_default();
    let next = link.next_try.and_then(|at| clock.until(at)).map(|left| format!("; next try in {}", span(left)));
    error + &next.unwrap_or_default()
}

pub(super) fn outbox(status: &Status, clock: &Clock) -> String {
    let outbox = &status.outbox;
    if outbox.open == 0 {
        return "all delivered".into();
    }
    let waiting = if outbox.waiting > 0 { format!(", {} still here", outbox.waiting) } else { String::new() };
    let oldest = outbox.oldest.map(|at| format!(", oldest {}", span(clock.since(at)))).unwrap_or_default();
    format!("{} not delivered yet{waiting}, {}{oldest}", outbox.open, bytes(outbox.bytes))
}

#[cfg(test)]
pub(super) mod tests;
