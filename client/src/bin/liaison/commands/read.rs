//! `liaison read`.

use std::fmt::Write;
use std::io::IsTerminal;

use liaison_client::api::model::{Direction, Message, Part};
use liaison_protocol::AgencyId;

use crate::context::Context;
use crate::failure::Failure;
use crate::out::{BAD, BOLD, GOOD, paint};
use crate::selector::Selector;
use crate::text::{bytes, safe_line, safe_text};
use crate::when::Clock;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison read @1\n  liaison read 4m7x0q --raw > note.txt")]
pub(crate) struct Args {
    /// The message
    #[arg(value_name = "MSG")]
    message: Selector,
    /// The text alone, as sent
    #[arg(long)]
    raw: bool,
    /// Leave the message unread: the sender gets no read receipt
    #[arg(long)]
    mark_unread: bool,
    /// Show the text although nothing proves who wrote the message
    #[arg(long)]
    unverified: bool,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<Message>()?;
    let mut message = cx.client.message(&cx.resolve(&args.message)?).await?;
    let withheld = !message.verification.verified && !args.unverified;
    if withheld {
        message.text.clear();
    }
    if cx.out.is_json() {
        cx.out.object(&message)?;
    } else if args.raw && !withheld {
        // Exact bytes belong in a file; a terminal gets them made safe.
        let terminal = std::io::stdout().is_terminal();
        write_raw(&if terminal { safe_text(&message.text) } else { message.text.clone() })?;
    } else if !args.raw {
        crate::pager::page(&cx.out, &render(&message, &cx.clock(), withheld))?;
    }
    if withheld {
        return Err(not_verified(&message));
    }
    if message.direction == Direction::In && message.unread && !args.mark_unread {
        cx.client.mark_read(&message.id.to_string()).await?;
    }
    Ok(Exit::Done)
}

/// Past the stream that drops styles: the sender's bytes may look like some.
fn write_raw(text: &str) -> Result<(), Failure> {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    Ok(stdout.flush()?)
}

pub(super) fn not_verified(message: &Message) -> Failure {
    let reason = message.verification.reason.as_deref().unwrap_or("no reason given");
    let text = format!("{}: not verified ({reason}); its content is withheld", message.id.short());
    Failure::new(Exit::Data, "not_verified", text).hint("to see the content all the same: --unverified")
}

fn render(message: &Message, clock: &Clock, withheld: bool) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<11}{value}");
    };
    line("Id", &message.id.to_string());
    line("From", message.from.as_str());
    line("To", &list(&message.to));
    if !message.info.is_empty() {
        line("Info", &list(&message.info));
    }
    line("Subject", &paint(BOLD, &safe_line(&message.subject)));
    line("Sent", &sent(message, clock));
    line("Marked", &marks(message));
    line("Signed", &signed(message));
    if let Some(id) = message.in_reply_to {
        line("Answers", &id.short());
    }
    for part in &message.parts {
        line(&format!("Part {}", part.n), &attachment(part));
    }
    if !message.parts.is_empty() {
        line("", &format!("(liaison save {})", message.id.short()));
    }
    if withheld {
        return out;
    }
    let text = safe_text(&message.text);
    let end = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    format!("{out}\n{text}{end}")
}

fn list(agencies: &[AgencyId]) -> String {
    agencies.iter().map(AgencyId::as_str).collect::<Vec<_>>().join(", ")
}

fn sent(message: &Message, clock: &Clock) -> String {
    let received = message.received.map(|at| format!("   received {}", clock.precise(at))).unwrap_or_default();
    format!("{}{received}", clock.full(message.created))
}

fn marks(message: &Message) -> String {
    let handling: String = message.handling.iter().map(|code| format!("   {}", safe_line(code))).collect();
    let kind = message.content_type.as_str();
    let kind = if kind == "text" { String::new() } else { format!("   {kind}") };
    format!("TLP:{}   {}{kind}{handling}", message.tlp.as_str().to_uppercase(), message.precedence)
}

/// Who signed, by which roster, and whether that holds: in words, not in colour alone.
fn signed(message: &Message) -> String {
    let verification = &message.verification;
    let by =
        format!("by {}, key {}, roster version {}", verification.signer, verification.key, verification.roster_version);
    if verification.verified {
        return format!("{}, {}", paint(GOOD, "verified"), safe_line(&by));
    }
    let reason = verification.reason.as_deref().unwrap_or("no reason given");
    format!("{}: {}; claims to be {}", paint(BAD, "NOT VERIFIED"), safe_line(reason), safe_line(&by))
}

fn attachment(part: &Part) -> String {
    let here = match part.bytes_here {
        here if here == part.bytes => String::new(),
        here => format!(", {} here, still arriving", bytes(here)),
    };
    format!("{}   {}{here}", safe_line(&part.name), bytes(part.bytes))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::when::tests::{at, clock};
    use liaison_client::api::model::{ContentType, MessageState, Precedence, Tlp, Verification};

    pub(crate) fn message() -> Message {
        let id = "4m7x0qd2ka000000000000000000000000000000000000000000".parse().unwrap();
        let agency = |name: &str| name.parse::<AgencyId>().unwrap();
        Message {
            id,
            direction: Direction::In,
            state: MessageState::Arriving,
            from: agency("ncb.sg"),
            to: vec![agency("ncb.ee"), agency("ncb.jp")],
            info: vec![agency("ncb.fr")],
            subject: "Case 1142: sinkhole hits".into(),
            text: "Two hits since noon.".into(),
            content_type: ContentType::Text,
            tlp: Tlp::Amber,
            handling: vec!["A1".into()],
            precedence: Precedence::Priority,
            created: at("2026-11-24T06:02:11.204Z"),
            expires: at("2026-12-01T06:02:11.204Z"),
            received: Some(at("2026-11-24T06:02:12.001Z")),
            thread: id,
            in_reply_to: None,
            parts: vec![Part {
                n: 1,
                name: "hits.csv".into(),
                bytes: 1_258_292,
                bytes_here: 1_258_292,
                sha256: "00".repeat(32),
            }],
            verification: Verification {
                verified: true,
                signer: agency("ncb.sg"),
                key: "0123456789abcdef".into(),
                roster_version: 14,
                reason: None,
            },
            unread: true,
            acked: false,
            recipients: Vec::new(),
        }
    }

    fn plain(message: &Message, withheld: bool) -> String {
        anstream::adapter::strip_str(&render(message, &clock(), withheld)).to_string()
    }

    #[test]
    fn a_message_says_who_signed_it_before_what_it_says() {
        let expected = "\
Id         4m7x0qd2ka000000000000000000000000000000000000000000
From       ncb.sg
To         ncb.ee, ncb.jp
Info       ncb.fr
Subject    Case 1142: sinkhole hits
Sent       2026-11-24 14:02:11 +08:00   received 14:02:12.001
Marked     TLP:AMBER   priority   A1
Signed     verified, by ncb.sg, key 0123456789abcdef, roster version 14
Part 1     hits.csv   1.2 MiB
           (liaison save 4m7x0qd2ka)

Two hits since noon.
";
        assert_eq!(plain(&message(), false), expected);
    }

    #[test]
    fn a_text_that_nothing_proves_is_withheld() {
        let mut forged = message();
        forged.verification.verified = false;
        forged.verification.reason = Some("key revoked".into());
        let text = plain(&forged, true);
        assert!(text.contains("NOT VERIFIED: key revoked; claims to be by ncb.sg"), "{text}");
        assert!(!text.contains("Two hits"));
        assert_eq!(not_verified(&forged).exit, 65);
    }

    #[test]
    fn foreign_text_cannot_drive_the_terminal() {
        let mut hostile = message();
        hostile.subject = "a\u{1b}[1A\rSigned     verified".into();
        hostile.text = "line\n\u{1b}]52;c;x\u{7}".into();
        hostile.parts[0].name = "\u{202e}fdp.exe".into();
        let text = plain(&hostile, false);
        assert!(text.contains("Subject    a\u{fffd}[1A\u{fffd}Signed     verified\n"), "{text}");
        assert!(text.ends_with("line\n\u{fffd}]52;c;x\u{fffd}\n"), "{text}");
        assert!(text.contains("\u{fffd}fdp.exe"));
    }
}
