//! `liaison send`.

use crate::context::Context;
use crate::failure::Failure;
use crate::outgoing::flags::{Content, Delivery};
use crate::outgoing::{Draft, headers, input, submit};
use crate::selector::Selector;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison send --to ncb.ee -s \"Case 1142\" --tlp amber < note.txt\n  \
                   liaison send --to ncb.ee,ncb.fr -s Hits --tlp green --body \"see file\" -a hits.csv --wait delivered\n  \
                   liaison compose --print | liaison send -t")]
pub(crate) struct Args {
    /// Agencies that are to act on it
    #[arg(long, value_name = "AGENCY,…", value_delimiter = ',', required_unless_present = "headers")]
    pub(crate) to: Vec<String>,
    /// The message that this answers
    #[arg(long, value_name = "MSG")]
    pub(crate) reply_to: Option<Selector>,
    /// The text begins with 'To:', 'Subject:', 'Tlp:' … lines and a blank line; flags go before them
    #[arg(short = 't', long, conflicts_with = "body")]
    pub(crate) headers: bool,
    #[command(flatten)]
    pub(crate) content: Content,
    #[command(flatten)]
    pub(crate) delivery: Delivery,
}

pub(crate) async fn run(cx: &Context, args: Args) -> Result<Exit, Failure> {
    let text = input::text(&cx.out, &args.content).await?;
    let mut draft = match (args.headers, text) {
        (true, text) => headers::parse(&text.unwrap_or_default())?,
        (false, Some(text)) => Draft { text, ..Draft::default() },
        (false, None) if !args.content.attach.is_empty() => Draft::default(),
        (false, None) => {
            return Err(Failure::usage("no text").hint("pipe it in, or give --body or --file, or use liaison compose"));
        }
    };
    draft.to.extend(args.to);
    args.content.apply(&mut draft);
    if let Some(selector) = &args.reply_to {
        draft.in_reply_to = Some(cx.client.message(&cx.resolve(selector)?).await?.id);
    }
    submit::send(cx, draft, &args.delivery).await
}
