//! `liaison watch`.

use std::str::FromStr;
use std::time::Duration;

use liaison_client::api::model::{Event, EventQuery};

use crate::context::Context;
use crate::failure::Failure;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison watch\n  liaison watch --cursor 1042 --json=cursor,kind,id")]
pub(crate) struct Args {
    /// Go on after this event: the cursor of the last one that was handled, 'start' for all that is kept, or 'now'
    #[arg(long, value_name = "CURSOR", default_value = "now")]
    cursor: From,
    /// End after this many events
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum From {
    Now,
    After(u64),
}

impl FromStr for From {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "now" => Ok(Self::Now),
            "start" => Ok(Self::After(0)),
            number => number.parse().map(Self::After).map_err(|_| "a cursor is a number, 'start' or 'now'".into()),
        }
    }
}

/// How long a daemon that is restarting is left alone.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// One JSON object a line, with or without `--json`. A restart of the daemon is bridged: nothing is missed.
pub(crate) async fn run(cx: &Context, args: &Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<Event>()?;
    let mut cursor = match args.cursor {
        From::Now => cx.client.events(&EventQuery::default()).await?.next,
        From::After(cursor) => cursor,
    };
    let mut left = args.limit;
    let mut bridging = false;
    while left != Some(0) {
        let limit = left.map(|left| u32::try_from(left.min(100)).unwrap_or(100));
        let page = match cx.client.events(&EventQuery { after: Some(cursor), wait: Some(30), limit }).await {
            Ok(page) => page,
            Err(error) if error.retryable() => {
                if !std::mem::replace(&mut bridging, true) {
                    cx.out.note(&format!("{error}; waiting for the daemon"));
                }
                tokio::time::sleep(AGAIN_AFTER).await;
                continue;
            }
            Err(error) => return Err(error.into()),
        };
        bridging = false;
        page.items.iter().try_for_each(|event| cx.out.object(event))?;
        left = left.map(|left| left.saturating_sub(page.items.len() as u64));
        cursor = page.next;
    }
    Ok(Exit::Done)
}
