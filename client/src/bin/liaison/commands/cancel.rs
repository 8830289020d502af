//! `liaison cancel`.

use liaison_client::api::model::CustodyTrace;

use super::status::print_trace;
use crate::context::Context;
use crate::failure::Failure;
use crate::selector::Selector;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// The message
    #[arg(value_name = "MSG")]
    message: Selector,
}

/// Shows what became of it: recipients whose copy a relay already has are not cancelled.
pub(crate) async fn run(cx: &Context, args: &Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<CustodyTrace>()?;
    let trace = cx.client.cancel(&cx.resolve(&args.message)?).await?;
    print_trace(cx, &trace)?;
    Ok(Exit::Done)
}
