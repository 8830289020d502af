//! `liaison outbox`.

use liaison_client::api::model::{ListQuery, MessageSummary, SentFilter};

use super::inbox::Range;
use super::listing::{self, Kind, Listing};
use crate::context::Context;
use crate::failure::Failure;
use crate::outgoing::submit::agency;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(
    before_help = "Examples:\n  liaison outbox\n  liaison outbox --waiting\n  liaison outbox --failed --to ncb.ee --since 7d"
)]
pub(crate) struct Args {
    /// Only messages that a recipient has not got yet
    #[arg(long, conflicts_with = "failed")]
    waiting: bool,
    /// Only messages that a recipient will not get: refused or expired
    #[arg(long)]
    failed: bool,
    /// Only to this agency
    #[arg(long, value_name = "AGENCY")]
    to: Option<String>,
    #[command(flatten)]
    range: Range,
}

pub(crate) async fn run(cx: &Context, args: Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<MessageSummary>()?;
    let from = match &args.to {
        Some(name) => Some(agency(name, &cx.agencies().await?)?),
        None => None,
    };
    let sent = match (args.waiting, args.failed) {
        (true, _) => Some(SentFilter::Waiting),
        (_, true) => Some(SentFilter::Failed),
        _ => None,
    };
    let query = ListQuery { from, sent, ..args.range.query(cx)? };
    let get = async |query: &ListQuery| Ok(cx.client.outbox(query).await?);
    let page = listing::collect(query, args.range.limit, get).await?;
    Listing::new(Kind::Outbox).print(cx, &page.items)?;
    listing::footer(cx, &page);
    Ok(Exit::Done)
}
