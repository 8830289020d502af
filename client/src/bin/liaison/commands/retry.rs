//! `liaison retry`.

use liaison_client::api::model::{Retried, RetryRequest};

use crate::context::Context;
use crate::failure::Failure;
use crate::outgoing::submit::agency;
use crate::selector::Selector;
use crate::text::safe_line;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only this message
    #[arg(value_name = "MSG", conflicts_with = "to")]
    message: Option<Selector>,
    /// Only messages for this agency
    #[arg(long, value_name = "AGENCY")]
    to: Option<String>,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<Retried>()?;
    let retried = match &args.message {
        Some(selector) => cx.client.retry(&cx.resolve(selector)?).await?,
        None => {
            let to = match &args.to {
                Some(name) => Some(agency(name, &cx.agencies().await?)?),
                None => None,
            };
            cx.client.retry_all(&RetryRequest { to }).await?
        }
    };
    if cx.out.is_json() {
        cx.out.object(&retried)?;
    } else {
        cx.out.data(&format!("{}\n", safe_line(&retried.detail)))?;
    }
    Ok(Exit::Done)
}
