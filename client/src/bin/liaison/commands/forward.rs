//! `liaison forward`.

use std::io::IsTerminal;

use liaison_client::api::model::{Message, Tlp};

use super::reply::{check_mark, gives_text, prefixed};
use crate::context::Context;
use crate::failure::Failure;
use crate::outgoing::flags::{Content, Delivery};
use crate::outgoing::{Carried, Draft, confirm, input, submit};
use crate::selector::Selector;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(
    before_help = "Examples:\n  liaison forward @1 --to ncb.fr\n  liaison forward 4m7x0q --to ncb.fr --body \"for your desk\""
)]
pub(crate) struct Args {
    /// The message to send on
    #[arg(value_name = "MSG")]
    message: Selector,
    /// Agencies that are to act on the message
    #[arg(long, value_name = "AGENCY,…", value_delimiter = ',', required = true)]
    to: Vec<String>,
    /// Leave its attachments out
    #[arg(long)]
    no_attachments: bool,
    #[command(flatten)]
    content: Content,
    #[command(flatten)]
    delivery: Delivery,
}

pub(crate) async fn run(cx: &Context, args: Args) -> Result<Exit, Failure> {
    let original = cx.client.message(&cx.resolve(&args.message)?).await?;
    check_forwardable(&original, args.no_attachments)?;
    let mut draft = forwarded(&original, args.to, args.no_attachments);
    args.content.apply(&mut draft)?;
    check_mark(original.tlp, &draft, &args.delivery).await?;
    if let Some((reason, word)) = restricted(original.tlp)
        && !args.delivery.yes
    {
        confirm::ask(reason, word).await?;
    }
    // Standard input counts only when asked for: a forwarded message has a text already.
    if gives_text(&args.content) || !std::io::stdin().is_terminal() {
        let own = input::text(&cx.out, &args.content).await?.unwrap_or_default();
        draft.text = if own.is_empty() { draft.text } else { format!("{}\n\n{}", own.trim_end(), draft.text) };
    }
    submit::send(cx, draft, &args.delivery).await
}

/// What its marks say about sending it on at all.
const fn restricted(tlp: Tlp) -> Option<(&'static str, &'static str)> {
    match tlp {
        Tlp::Red => Some(("TLP:RED is for its named recipients only", "red")),
        Tlp::AmberStrict => Some(("TLP:AMBER+STRICT is for its recipients' organisations only", "strict")),
        _ => None,
    }
}

fn check_forwardable(original: &Message, without_attachments: bool) -> Result<(), Failure> {
    let id = original.id.short();
    if !original.verification.verified {
        let reason = original.verification.reason.as_deref().unwrap_or("no reason given");
        return Err(Failure::new(Exit::Data, "not_verified", format!("{id}: not verified ({reason}); not sent on")));
    }
    let missing = original.parts.iter().find(|part| part.bytes_here < part.bytes && !without_attachments);
    match missing {
        Some(part) => {
            Err(Failure::new(Exit::TryLater, "not_ready", format!("{id}: attachment {} is still arriving", part.n))
                .hint("wait, or forward the message with --no-attachments"))
        }
        None => Ok(()),
    }
}

fn forwarded(original: &Message, to: Vec<String>, without_attachments: bool) -> Draft {
    let to_all: Vec<_> = original.to.iter().chain(&original.info).map(ToString::to_string).collect();
    let head = format!(
        "--- forwarded message {} ---\nFrom: {}\nTo: {}\nSent: {}\nSubject: {}\n\n",
        original.id,
        original.from,
        to_all.join(", "),
        original.created,
        original.subject
    );
    let carry = original.parts.iter().map(|part| Carried { message: original.id, part: part.clone() });
    Draft {
        to,
        subject: prefixed("Fwd: ", &original.subject),
        text: head + &original.text,
        tlp: Some(original.tlp),
        handling: original.handling.clone(),
        carry: if without_attachments { Vec::new() } else { carry.collect() },
        ..Draft::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::read::tests::message;

    #[test]
    fn a_forwarded_message_names_its_origin_and_carries_its_attachments() {
        let draft = forwarded(&message(), vec!["ncb.fr".into()], false);
        assert!(draft.text.contains("From: ncb.sg\nTo: ncb.ee, ncb.jp, ncb.fr\n"), "{}", draft.text);
        assert_eq!((draft.carry.len(), draft.tlp), (1, Some(Tlp::Amber)));
        assert!(forwarded(&message(), vec![], true).carry.is_empty());
    }

    #[test]
    fn what_is_not_verified_or_not_whole_is_not_sent_on() {
        let mut forged = message();
        forged.verification.verified = false;
        assert_eq!(check_forwardable(&forged, false).unwrap_err().exit, 65);
        let mut partial = message();
        partial.parts[0].bytes_here = 1;
        assert_eq!(check_forwardable(&partial, false).unwrap_err().exit, 75);
        check_forwardable(&partial, true).unwrap();
    }
}
