//! `liaison thread`.

use liaison_client::api::model::{Direction, MessageSummary};

use super::inbox::{parts, precedence, subject, tlp};
use crate::context::Context;
use crate::failure::Failure;
use crate::out::{BOLD, PLAIN, terminal_columns};
use crate::selector::Selector;
use crate::table::{Cell, Table};
use crate::when::Clock;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Any message of the thread
    #[arg(value_name = "MSG")]
    message: Selector,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<MessageSummary>()?;
    let thread = cx.client.thread(&cx.resolve(&args.message)?).await?;
    cx.remember_listing(thread.messages.iter().map(|message| message.id).collect());
    if cx.out.is_json() {
        thread.messages.iter().try_for_each(|message| cx.out.object(message))?;
    } else {
        cx.out.data(&table(&thread.messages, &cx.clock()).render(terminal_columns()))?;
    }
    Ok(Exit::Done)
}

/// Oldest first; sent ones name their recipients.
fn table(messages: &[MessageSummary], clock: &Clock) -> Table {
    let columns = [
        ("", 1, 1),
        ("ID", 10, 2),
        ("WHEN", 6, 2),
        ("WHO", 17, 2),
        ("PREC", 5, 1),
        ("TLP", 6, 2),
        ("SUBJECT", 28, 2),
        ("PARTS", 5, 0),
    ];
    let mut table = Table::new(&columns).elastic(6);
    for message in messages {
        let who = match message.direction {
            Direction::In => format!("from {}", message.from),
            Direction::Out => format!("to {}", message.to.first().map(ToString::to_string).unwrap_or_default()),
        };
        let others = message.to.len().saturating_sub(1);
        let more =
            if message.direction == Direction::Out && others > 0 { format!(" +{others}") } else { String::new() };
        table.row([
            Cell(if message.unread { "●" } else { "" }.into(), PLAIN),
            message.id.short().into(),
            clock.brief(message.at).into(),
            (who + &more).into(),
            precedence(message),
            tlp(message.tlp),
            Cell(subject(message), if message.unread { BOLD } else { PLAIN }),
            parts(message).into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::inbox::tests::summary;
    use crate::when::tests::clock;

    #[test]
    fn a_thread_shows_both_directions() {
        let to = ["ncb.ee", "ncb.fr"].map(|name| name.parse().unwrap()).into();
        let sent = MessageSummary { direction: Direction::Out, to, unread: false, ..summary() };
        let text = table(&[summary(), sent], &clock()).render(None);
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(text.contains("● 4m7x0qd2ka  14:31   from ncb.sg        PRIO  AMBER"), "{text}");
        assert!(text.contains("  4m7x0qd2ka  14:31   to ncb.ee +1       PRIO  AMBER"), "{text}");
    }
}
