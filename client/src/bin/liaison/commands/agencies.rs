//! `liaison agencies` and `liaison agency show`.

use std::fmt::Write;

use liaison_client::api::model::{AgencyView, Precedence};

use crate::context::Context;
use crate::failure::Failure;
use crate::out::{BOLD, PLAIN, terminal_columns};
use crate::outgoing::submit::agency;
use crate::table::{Cell, Table};
use crate::text::{safe_line, span};
use crate::when::Clock;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
pub(crate) struct Args {
    /// Only those whose id or name contains this
    pattern: Option<String>,
}

#[derive(clap::Subcommand, Debug)]
pub(crate) enum AgencyCommand {
    /// Show an agency: name, home relays, keys, and who may write to whom
    Show {
        /// Its id
        agency: String,
    },
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<AgencyView>()?;
    let agencies = cx.agencies().await?.agencies;
    let found: Vec<_> = agencies.iter().filter(|agency| matches(agency, args.pattern.as_deref())).collect();
    if cx.out.is_json() {
        found.into_iter().try_for_each(|agency| cx.out.object(agency))?;
    } else {
        cx.out.data(&table(&found).render(terminal_columns()))?;
    }
    Ok(Exit::Done)
}

fn matches(agency: &AgencyView, pattern: Option<&str>) -> bool {
    let Some(pattern) = pattern.map(str::to_lowercase) else { return true };
    agency.id.as_str().contains(&pattern) || agency.name.to_lowercase().contains(&pattern)
}

fn table(agencies: &[&AgencyView]) -> Table {
    let columns =
        [("AGENCY", 15, 2), ("NAME", 20, 2), ("HOME", 10, 2), ("WE SEND", 9, 2), ("THEY SEND", 9, 2), ("STATUS", 6, 0)];
    let mut table = Table::new(&columns).elastic(1);
    for agency in agencies {
        table.row([
            Cell(agency.id.to_string(), if agency.me { BOLD } else { PLAIN }),
            safe_line(&agency.name).into(),
            home(agency).into(),
            up_to(agency.me, agency.we_may_send).into(),
            up_to(agency.me, agency.they_may_send).into(),
            safe_line(&if agency.me { format!("{}, this is us", agency.status) } else { agency.status.clone() }).into(),
        ]);
    }
    table
}

fn home(agency: &AgencyView) -> String {
    agency.home.iter().map(|node| node.as_str()).collect::<Vec<_>>().join(", ")
}

fn up_to(me: bool, precedence: Option<Precedence>) -> String {
    match (precedence, me) {
        (Some(precedence), _) => precedence.to_string(),
        (None, true) => "-".into(),
        (None, false) => "no".into(),
    }
}

pub(crate) async fn show(cx: &Context, command: &AgencyCommand) -> Result<Exit, Failure> {
    let AgencyCommand::Show { agency: name } = command;
    cx.out.check_fields::<AgencyView>()?;
    let agencies = cx.agencies().await?;
    let id = agency(name, &agencies)?;
    for view in agencies.agencies.iter().filter(|view| view.id == id) {
        if cx.out.is_json() {
            cx.out.object(view)?;
        } else {
            cx.out.data(&render(view, agencies.roster_version, &cx.clock()))?;
        }
    }
    Ok(Exit::Done)
}

fn render(view: &AgencyView, roster_version: u32, clock: &Clock) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "{name:<12}{}", safe_line(value));
    };
    line("Agency", view.id.as_str());
    line("Name", &view.name);
    line("Status", &format!("{}, by roster version {roster_version}", view.status));
    line("Home", &home(view));
    if view.me {
        line("", "this is us");
    } else {
        let agreement = |precedence: Option<Precedence>| {
            precedence.map_or_else(|| "no agreement".into(), |precedence| format!("up to {precedence}"))
        };
        line("We send", &agreement(view.we_may_send));
        line("They send", &agreement(view.they_may_send));
        let held = view.prekeys_until.map_or_else(
            || "none yet: messages wait in the outbox for one".into(),
            |until| format!("until {}", clock.full(until)),
        );
        line("Prekeys", &held);
    }
    line("Lifetime", &format!("at most {}", span(std::time::Duration::from_secs(view.lifetime_max_s))));
    view.keys.iter().for_each(|key| line("Key", key));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::when::tests::{at, clock};

    fn view() -> AgencyView {
        AgencyView {
            id: "ncb.ee".parse().unwrap(),
            name: "NCB Tallinn".into(),
            home: vec!["eu-1".parse().unwrap(), "eu-2".parse().unwrap()],
            status: "active".into(),
            me: false,
            we_may_send: Some(Precedence::Flash),
            they_may_send: None,
            keys: vec!["0123456789abcdef".into()],
            prekeys_until: Some(at("2026-12-28T16:00:00Z")),
            lifetime_max_s: 2_592_000,
        }
    }

    #[test]
    fn agencies_are_found_by_id_and_name() {
        assert!(matches(&view(), None) && matches(&view(), Some("EE")) && matches(&view(), Some("tallinn")));
        assert!(!matches(&view(), Some("paris")));
    }

    #[test]
    fn the_list_says_who_may_write_to_whom() {
        let expected = "\
AGENCY           NAME                  HOME        WE SEND    THEY SEND  STATUS
ncb.ee           NCB Tallinn           eu-1, eu-2  flash      no         active
";
        assert_eq!(table(&[&view()]).render(None), expected);
    }

    #[test]
    fn one_agency_is_shown_in_full() {
        let text = render(&view(), 14, &clock());
        assert!(text.contains("Prekeys     until 2026-12-29 00:00:00 +08:00\n"), "{text}");
        assert!(text.contains("They send   no agreement\n"), "{text}");
    }
}
