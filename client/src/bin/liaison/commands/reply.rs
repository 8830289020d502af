//! `liaison reply`.

use std::io::IsTerminal;

use liaison_client::api::model::{Direction, Message, Tlp};
use liaison_protocol::AgencyId;
use liaison_protocol::limits::SUBJECT_BYTES_MAX;

use super::compose::edit_and_send;
use crate::context::Context;
use crate::failure::Failure;
use crate::outgoing::flags::{Content, Delivery};
use crate::outgoing::{Draft, confirm, input, submit};
use crate::selector::Selector;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(
    before_help = "Examples:\n  liaison reply @1 --body \"thanks, confirmed\"\n  liaison reply 4m7x0q --all -a answer.pdf"
)]
pub(crate) struct Args {
    /// The message to answer
    #[arg(value_name = "MSG")]
    message: Selector,
    /// Answer all recipients, too
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    content: Content,
    #[command(flatten)]
    delivery: Delivery,
}

pub(crate) async fn run(cx: &Context, args: Args) -> Result<Exit, Failure> {
    let original = cx.client.message(&cx.resolve(&args.message)?).await?;
    let me = cx.client.status().await?.agency;
    let mut draft = answer(&original, &me, args.all);
    let info = std::mem::take(&mut draft.info);
    args.content.apply(&mut draft)?;
    // --info adds to those that --all names.
    draft.info.splice(0..0, info);
    announce(cx, &original, &draft);
    check_mark(original.tlp, &draft, &args.delivery).await?;
    if std::io::stdin().is_terminal() && !gives_text(&args.content) {
        draft.text = quote(&original);
        return edit_and_send(cx, draft, &args.delivery).await;
    }
    draft.text = input::text(&cx.out, &args.content).await?.unwrap_or_default();
    submit::send(cx, draft, &args.delivery).await
}

pub(crate) fn gives_text(content: &Content) -> bool {
    content.body.is_some() || content.file.is_some() || content.dash()
}

/// An answer inherits mark and handling: never less than what it answers, unless its author says so.
fn answer(original: &Message, me: &AgencyId, all: bool) -> Draft {
    let others = |agencies: &[AgencyId]| -> Vec<String> {
        agencies.iter().filter(|agency| *agency != me && **agency != original.from).map(ToString::to_string).collect()
    };
    let mut to = match original.direction {
        Direction::In => vec![original.from.to_string()],
        // An answer to one's own message goes on to those who got it.
        Direction::Out => others(&original.to),
    };
    let mut info = Vec::new();
    if all {
        if original.direction == Direction::In {
            to.extend(others(&original.to));
        }
        info = others(&original.info);
    }
    Draft {
        to,
        info,
        subject: prefixed("Re: ", &original.subject),
        tlp: Some(original.tlp),
        handling: original.handling.clone(),
        in_reply_to: Some(original.id),
        ..Draft::default()
    }
}

/// Says whom the answer goes to and what it answers, before anything is written or sent.
fn announce(cx: &Context, original: &Message, draft: &Draft) {
    let to = draft.to.iter().chain(&draft.info).map(String::as_str).collect::<Vec<_>>().join(", ");
    let (from, id) = (&original.from, original.id.short());
    cx.out.note(&format!("to {to}, in answer to {id} of {from}: {}", original.subject));
}

/// `subject` with `prefix`, once, and no longer than a subject may be.
pub(crate) fn prefixed(prefix: &str, subject: &str) -> String {
    if subject.to_lowercase().starts_with(&prefix.to_lowercase()) {
        return subject.into();
    }
    let room = SUBJECT_BYTES_MAX - prefix.len();
    if subject.len() <= room {
        return format!("{prefix}{subject}");
    }
    let cut = (0..=room - '…'.len_utf8()).rev().find(|at| subject.is_char_boundary(*at)).unwrap_or(0);
    format!("{prefix}{}…", subject.get(..cut).unwrap_or_default())
}

/// Marking something down is the originator's to do.
pub(crate) async fn check_mark(original: Tlp, draft: &Draft, how: &Delivery) -> Result<(), Failure> {
    match draft.tlp {
        Some(tlp) if tlp < original && !how.yes => {
            let words = (original.as_str().to_uppercase(), tlp.as_str().to_uppercase());
            confirm::ask(&format!("marks TLP:{} down to TLP:{}", words.0, words.1), tlp.as_str()).await
        }
        _ => Ok(()),
    }
}

fn quote(original: &Message) -> String {
    if !original.verification.verified {
        return String::new();
    }
    let quoted: String = original.text.lines().map(|line| format!("> {line}\n")).collect();
    format!("\n{} wrote:\n{quoted}", original.from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::read::tests::message;

    #[test]
    fn an_answer_goes_to_the_sender_with_the_same_mark() {
        let draft = answer(&message(), &"ncb.ee".parse().unwrap(), false);
        assert_eq!((draft.to, draft.info), (vec!["ncb.sg".to_owned()], vec![]));
        assert_eq!((draft.subject.as_str(), draft.tlp), ("Re: Case 1142: sinkhole hits", Some(Tlp::Amber)));
        assert_eq!(draft.in_reply_to, Some(message().id));
    }

    #[test]
    fn an_answer_to_all_leaves_out_oneself() {
        let draft = answer(&message(), &"ncb.ee".parse().unwrap(), true);
        assert_eq!((draft.to, draft.info), (vec!["ncb.sg".to_owned(), "ncb.jp".to_owned()], vec!["ncb.fr".to_owned()]));
    }

    #[test]
    fn an_answer_to_ones_own_goes_to_its_recipients() {
        let own = Message { direction: Direction::Out, ..message() };
        assert_eq!(answer(&own, &"ncb.sg".parse().unwrap(), false).to, ["ncb.ee", "ncb.jp"]);
    }

    #[test]
    fn subjects_do_not_grow_prefixes() {
        assert_eq!(prefixed("Re: ", "RE: x"), "RE: x");
        assert_eq!(prefixed("Fwd: ", "Re: x"), "Fwd: Re: x");
        let longest = prefixed("Re: ", &"é".repeat(SUBJECT_BYTES_MAX / 2));
        assert!(longest.len() <= SUBJECT_BYTES_MAX && longest.ends_with("é…"), "{longest}");
    }

    #[test]
    fn only_verified_text_is_quoted() {
        assert_eq!(quote(&message()), "\nncb.sg wrote:\n> Two hits since noon.\n");
        let mut forged = message();
        forged.verification.verified = false;
        assert_eq!(quote(&forged), "");
    }
}
