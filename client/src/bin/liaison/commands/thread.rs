//! `liaison thread`.

use liaison_client::api::model::MessageSummary;

use super::listing::{Kind, Listing};
use crate::context::Context;
use crate::failure::Failure;
use crate::selector::Selector;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Any message of the thread
    #[arg(value_name = "MSG")]
    message: Selector,
}

/// Oldest first, both directions.
pub(crate) async fn run(cx: &Context, args: &Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<MessageSummary>()?;
    let thread = cx.client.thread(&cx.resolve(&args.message)?).await?;
    Listing::new(Kind::Thread).print(cx, &thread.messages)?;
    Ok(Exit::Done)
}
