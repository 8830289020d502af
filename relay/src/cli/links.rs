//! `liaison-relay links`.

use liaison_node::clock;
use liaison_node::config::did_you_mean;
use liaison_node::exit::Exit;
use liaison_node::status::LinkStatus;
use liaison_protocol::{NodeId, Timestamp};

use super::out::{BAD, GOOD};
use super::table::{Cell, Side, Table};
use super::words::{age, safe, until};
use super::{Failure, Out};
use crate::admin::api::Retried;
use crate::admin::client::Client;

#[derive(clap::Args, Debug)]
#[command(
    args_conflicts_with_subcommands = true,
    before_help = "Examples:\n  liaison-relay links\n  liaison-relay links ap-1\n  liaison-relay links retry ap-1"
)]
pub(crate) struct Args {
    /// Only this peer
    peer: Option<NodeId>,
    #[command(subcommand)]
    command: Option<LinksCommand>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum LinksCommand {
    /// Dial at once, without waiting for the next try
    Retry {
        /// This peer; if left out, all that are down
        peer: Option<NodeId>,
    },
}

pub(super) async fn run(client: &Client, out: &Out, args: Args) -> Result<Exit, Failure> {
    if let Some(LinksCommand::Retry { peer }) = args.command {
        return retry(client, out, peer).await;
    }
    let mut links: Vec<LinkStatus> = client.get("/v1/links").await?;
    if let Some(peer) = &args.peer {
        let near = did_you_mean(peer.as_str(), links.iter().map(|link| link.peer.as_str())).map(String::from);
        links.retain(|link| link.peer == *peer);
        if links.is_empty() {
            let failure = Failure::new(Exit::Data, "unknown_peer", format!("no link to '{peer}' is configured or up"));
            return Err(near
                .into_iter()
                .fold(failure, |failure, near| failure.hint(format!("did you mean '{near}'?"))));
        }
    }
    if out.json {
        out.objects(&links)?;
    } else {
        out.data(&render(&links, clock::now()))?;
    }
    Ok(Exit::Done)
}

async fn retry(client: &Client, out: &Out, peer: Option<NodeId>) -> Result<Exit, Failure> {
    let query = peer.map(|peer| format!("?peer={peer}")).unwrap_or_default();
    let retried: Retried = client.post(&format!("/v1/links/retry{query}")).await?;
    if out.json {
        out.object(&retried)?;
    } else if retried.peers.is_empty() {
        out.note("every link is up");
    } else {
        let peers: Vec<_> = retried.peers.iter().map(NodeId::as_str).collect();
        out.data(&format!("dialing {}\n", peers.join(", ")))?;
    }
    Ok(Exit::Done)
}

pub(super) fn render(links: &[LinkStatus], now: Timestamp) -> String {
    use Side::{Left, Right};
    let mut table = Table::new(&[
        ("PEER", Left),
        ("ROLE", Left),
        ("STATE", Left),
        ("SINCE", Right),
        ("RTT", Right),
        ("HEARD", Right),
        ("LAST ERROR", Left),
        ("NEXT TRY", Left),
    ]);
    for link in links {
        let state = if link.up { Cell("up".into(), GOOD) } else { Cell("down".into(), BAD) };
        let since = if link.up { link.since_ms } else { link.failure_since_ms.or(link.since_ms) };
        table.row([
            link.peer.as_str().into(),
            link.role.as_str().into(),
            state,
            age(since, now).into(),
            link.rtt_ms.filter(|_| link.up).map_or_else(|| "-".into(), |rtt| format!("{rtt:.1} ms")).into(),
            age(link.last_receive_ms, now).into(),
            link.last_error.as_deref().map_or_else(|| "-".into(), safe).into(),
            next_try(link, now).into(),
        ]);
    }
    table.render()
}

fn next_try(link: &LinkStatus, now: Timestamp) -> String {
    match link.next_try_ms {
        _ if link.up => "-".into(),
        Some(at) => until(at, now),
        None => "every second".into(),
    }
}
