//! `liaison-relay trace`.

use liaison_node::clock;
use liaison_node::exit::Exit;
use liaison_node::status::{Trace, TraceEvent};
use liaison_node::store::IdPrefix;
use liaison_protocol::{AgencyId, Timestamp};

use super::queues::render_entries;
use super::words::{moment, safe};
use super::{Failure, Out};
use crate::admin::client::Client;

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison-relay trace 4m7x0qd2ka")]
pub(crate) struct Args {
    /// Any unique beginning of the message's id
    message: String,
}

pub(super) async fn run(client: &Client, out: &Out, args: &Args) -> Result<Exit, Failure> {
    if let Err(error) = args.message.parse::<IdPrefix>() {
        return Err(Failure::new(Exit::Usage, "bad_id", format!("'{}': {error}", args.message)));
    }
    let trace: Trace = client.get(&format!("/v1/trace/{}", args.message)).await?;
    if out.json {
        out.object(&trace)?;
    } else {
        out.data(&render(&trace, clock::now()))?;
    }
    Ok(Exit::Done)
}

pub(super) fn render(trace: &Trace, now: Timestamp) -> String {
    let mut text = format!("{}  {}\n", trace.id.short(), trace.id);
    for event in &trace.events {
        text.push_str(&line(event));
    }
    if trace.entries.is_empty() {
        return text + "not in custody here\n";
    }
    text + "in custody here:\n" + &render_entries(&trace.entries, now)
}

fn line(event: &TraceEvent) -> String {
    let agencies: Vec<_> = event.agencies.iter().map(AgencyId::as_str).collect();
    let when = event.at_ms.map_or_else(|| "-".into(), moment);
    let mut parts = vec![format!("  {when:<23}  {}", event.what.as_str())];
    if !agencies.is_empty() {
        parts.push(format!("for {}", agencies.join(", ")));
    }
    if let Some(peer) = &event.peer {
        parts.push(format!("with {peer}"));
    }
    if !event.detail.is_empty() {
        parts.push(safe(&event.detail));
    }
    parts.join("  ") + "\n"
}
