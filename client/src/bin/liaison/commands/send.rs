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
    /// Agencies that are to act on the message
    #[arg(long, value_name = "AGENCY,…", value_delimiter = ',', required_unless_present = "headers")]
    pub(crate) to: Vec<String>,
    /// The message that this answers
    #[arg(long, value_name = "MSG")]
    pub(crate) reply_to: Option<Selector>,
    /// The text begins with 'To:', 'Subject:', 'Tlp:' … lines and a blank line; a flag replaces its line
    #[arg(short = 't', long, conflicts_with = "body")]
    pub(crate) headers: bool,
    /// With -t: also attach the files that 'Attach:' lines name
    #[arg(long, requires = "headers")]
    pub(crate) allow_attach: bool,
    #[command(flatten)]
    pub(crate) content: Content,
    #[command(flatten)]
    pub(crate) delivery: Delivery,
}

pub(crate) async fn run(cx: &Context, args: Args) -> Result<Exit, Failure> {
    let text = input::text(&cx.out, &args.content).await?;
    let mut draft = match (args.headers, text) {
        (true, text) => allowed(headers::parse(&text.unwrap_or_default())?, args.allow_attach)?,
        (false, Some(text)) => Draft { text, ..Draft::default() },
        (false, None) if !args.content.attach.is_empty() => Draft::default(),
        (false, None) => {
            return Err(
                Failure::usage("no text").hint("pipe the text in, or give --body or --file, or use liaison compose")
            );
        }
    };
    if !args.to.is_empty() {
        draft.to = args.to;
    }
    args.content.apply(&mut draft)?;
    check_text(cx, &args.content, &draft)?;
    if let Some(selector) = &args.reply_to {
        draft.in_reply_to = Some(cx.client.message(&cx.resolve(selector)?).await?.id);
    }
    submit::send(cx, draft, &args.delivery).await
}

/// Piped text may come from anywhere: it attaches this user's files only where the user says so.
fn allowed(draft: Draft, allow_attach: bool) -> Result<Draft, Failure> {
    match draft.attach.first() {
        Some(path) if !allow_attach => {
            let message = format!("the text asks to attach {}", path.display());
            Err(Failure::new(Exit::Data, "attach_not_allowed", message).hint("if that is meant, give --allow-attach"))
        }
        _ => Ok(draft),
    }
}

/// An empty text is sent only where somebody asked for it, and never without a word.
fn check_text(cx: &Context, content: &Content, draft: &Draft) -> Result<(), Failure> {
    if !draft.text.trim().is_empty() {
        return Ok(());
    }
    if content.body.is_none() && content.file.is_none() && draft.attach.is_empty() {
        let hint = "to send a message without a text, give --body ''";
        return Err(Failure::usage("the text is empty").hint(hint));
    }
    cx.out.note("the text is empty");
    Ok(())
}
