//! `liaison` alone: five lines and the likeliest next command.

use std::time::Duration;

use liaison_client::api::model::{LinkState, Status};

use super::status::{link, outbox, roster};
use crate::context::Context;
use crate::failure::Failure;
use crate::text::{safe_line, span};
use crate::when::Clock;
use liaison_node::exit::Exit;

pub(crate) async fn run(cx: &Context) -> Result<Exit, Failure> {
    cx.out.check_fields::<Status>()?;
    let status = cx.client.status().await?;
    if cx.out.is_json() {
        cx.out.object(&status)?;
    } else {
        cx.out.data(&render(&status, &cx.settings.profile.value, &cx.clock()))?;
    }
    Ok(Exit::Done)
}

fn render(status: &Status, profile: &str, clock: &Clock) -> String {
    let up = Duration::from_secs(status.uptime_s);
    let links: Vec<_> = status.links.iter().map(|each| format!("{} {}", each.node, brief(each, clock))).collect();
    let lines = [
        format!("{:<10}profile {profile}, liaisond {} up {}", status.agency.as_str(), status.version, span(up)),
        format!("{:<10}{}", "roster", roster(status, clock)),
        format!("{:<10}{}", "links", if links.is_empty() { "none".into() } else { links.join(", ") }),
        format!(
            "{:<10}inbox {} unread of {}; outbox {}",
            "messages",
            status.inbox.unread,
            status.inbox.messages,
            outbox(status, clock)
        ),
        format!("{:<10}{}", "next", next(status)),
    ];
    lines.iter().map(|line| safe_line(line) + "\n").collect()
}

/// One link among others in a line.
fn brief(each: &liaison_client::api::model::LinkStatus, clock: &Clock) -> String {
    match (each.state, each.rtt_ms) {
        (LinkState::Up, Some(rtt)) => format!("up {rtt:.1} ms"),
        (LinkState::Up, None) => "up".into(),
        _ => link(each, clock),
    }
}

fn next(status: &Status) -> &'static str {
    let up = status.links.iter().any(|each| each.state == LinkState::Up);
    match (up, status.inbox.unread, status.outbox.open) {
        (false, ..) => "liaison doctor",
        (true, 1.., _) => "liaison inbox --unread",
        (true, 0, 1..) => "liaison outbox --waiting",
        (true, 0, 0) => "liaison send --help",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commands::status::tests::status;
    use crate::when::tests::clock;

    #[test]
    fn five_lines_and_the_likeliest_command() {
        let expected = "\
ncb.sg    profile live, liaisond 0.1.0 up 3d
roster    version 14, signed 2 of 3, 61d left
links     ap-1 up 38.0 ms, ap-2 down since 13:40: no answer; next try in 12s
messages  inbox 3 unread of 214; outbox 3 not delivered yet, 1 still here, 1.2 MiB, oldest 22m
next      liaison inbox --unread
";
        assert_eq!(render(&status(), "live", &clock()), expected);
        let mut cut_off = status();
        cut_off.links.clear();
        assert_eq!(next(&cut_off), "liaison doctor");
    }
}
