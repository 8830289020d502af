//! `liaison-relay roster show`, `roster diff` and `roster settle`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use liaison_node::clock;
use liaison_node::exit::Exit;
use liaison_node::status::{ForkReport, ForkSide, hash_from_hex};
use liaison_protocol::Timestamp;
use liaison_protocol::roster::{AgencyStatus, Roster, TrustAnchor};
use serde::Serialize;
use serde_json::{Value, json};

use super::out::{BAD, GOOD, WARN, paint};
use super::table::{Side, Table};
use super::words::{moment, safe, until};
use super::{Failure, Global, Out, load};
use crate::admin::api::{InForce, Settled};
use crate::admin::client::{Client, ClientError};
use crate::finding::Finding;
use crate::keys::{check_roster, read_anchor};

#[derive(Debug, clap::Subcommand)]
#[command(before_help = "Examples:\n  liaison-relay roster show\n  liaison-relay roster diff new-roster.json\n  \
                         liaison-relay roster settle --follow 5f2c…")]
pub(crate) enum Command {
    /// The roster that the relay follows; if no relay runs, the configured file
    Show,
    /// What another roster would change in that roster; verifies the other roster's signatures
    Diff {
        /// The other roster
        file: PathBuf,
    },
    /// Decide for one of two rosters of one version, both signed; without --follow: show both
    Settle {
        /// The hash of the one that is right: ask the root holders, over a second channel
        #[arg(long, value_name = "HASH")]
        follow: Option<String>,
    },
}

pub(super) async fn run(global: &Global, out: &Out, command: &Command) -> Result<Exit, Failure> {
    if let Command::Settle { follow } = command {
        return settle(&super::client(global)?, out, follow.as_deref()).await;
    }
    let config = load(global)?;
    let anchor = read_anchor(&config.roots).map_err(refused)?;
    let (roster, followed) = match in_force(&super::client(global)?, &config.roster, &anchor).await? {
        Some(roster) => (roster, true),
        None => (check_roster(&config.roster, &anchor).map_err(refused)?, false),
    };
    if !followed {
        out.note(&format!("no relay runs here: this is the file {}", config.roster.display()));
    }
    match command {
        Command::Show if out.json => out.object(roster.document())?,
        Command::Show => out.data(&render(&roster, clock::now()))?,
        Command::Settle { .. } => {}
        Command::Diff { file } => {
            let other = read_other(file, &roster)?;
            let changes = changes(&roster, &other);
            if out.json {
                out.objects(&changes)?;
            } else {
                out.data(&changes.iter().map(Change::line).collect::<String>())?;
                let (from, to) = (roster.version(), other.version());
                out.note(&format!("version {from} to {to}: {} changes", changes.len()));
            }
        }
    }
    Ok(Exit::Done)
}

/// What the running relay follows, verified with the roots file, or with a roster file that leads on from it. `None`: no
/// relay runs.
async fn in_force(client: &Client, file: &Path, anchor: &TrustAnchor) -> Result<Option<Roster>, Failure> {
    let InForce { signed } = match client.get("/v1/roster").await {
        Ok(in_force) => in_force,
        Err(ClientError::Unreachable { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let by_anchor = Roster::verify_first(signed.as_bytes(), anchor);
    let by_file = |_| Roster::verify_offered(signed.as_bytes(), &check_roster(file, anchor).ok()?).ok();
    let verified = by_anchor.map_or_else(by_file, Some);
    verified.map(Some).ok_or_else(|| {
        let text = "the relay follows a roster that neither the roots file nor the roster file leads to";
        Failure::new(Exit::Data, "roster_refused", text)
    })
}

/// The running relay's fork: shown, or decided.
async fn settle(client: &Client, out: &Out, follow: Option<&str>) -> Result<Exit, Failure> {
    if let Some(follow) = follow {
        let settled: Settled = client.post(&format!("/v1/roster/settle?follow={}", hex_only(follow)?)).await?;
        if out.json {
            out.object(&settled)?;
        } else {
            out.data(&format!(
                "roster version {} is settled for {follow}; the other roster is refused\n",
                settled.version
            ))?;
        }
        return Ok(Exit::Done);
    }
    let fork: Option<ForkReport> = client.get("/v1/roster/fork").await?;
    let Some(fork) = fork else {
        out.note("no fork: one roster of each version is known");
        return Ok(Exit::Done);
    };
    if out.json {
        out.object(&fork)?;
    } else {
        out.data(&render_fork(&fork))?;
        out.note("ask the root holders which one is right, then: liaison-relay roster settle --follow HASH");
    }
    Ok(Exit::Finding)
}

/// What goes into a request's query.
fn hex_only(text: &str) -> Result<&str, Failure> {
    if hash_from_hex(text).is_some() {
        return Ok(text);
    }
    let shown = safe(text);
    Err(Failure::new(Exit::Usage, "bad_hash", format!("'{shown}': a roster's hash has 64 hexadecimal digits")))
}

fn render_fork(fork: &ForkReport) -> String {
    let side = |word: &str, side: &ForkSide| {
        format!("{word:<9} {}  issued {}, ends {}\n", side.hash, moment(side.issued_ms), moment(side.expires_ms))
    };
    let head = format!("two rosters of version {} are in circulation, both sufficiently signed\n", fork.version);
    head + &side("followed", &fork.followed) + &side("other", &fork.other)
}

fn refused(finding: Finding) -> Failure {
    Failure::findings(&[finding])
}

/// A roster that the configured one would be replaced by.
fn read_other(file: &Path, trusted: &Roster) -> Result<Roster, Failure> {
    use liaison_node::config::read_public;
    let bytes = read_public(file, crate::keys::ROSTER_FILE_BYTES_MAX)
        .map_err(|error| Failure::new(Exit::NoInput, "input_unreadable", error))?;
    Roster::verify_offered(&bytes, trusted)
        .map_err(|error| Failure::new(Exit::Data, "roster_refused", format!("{}: {error}", file.display())))
}

fn render(roster: &Roster, now: Timestamp) -> String {
    let document = roster.document();
    let mut text = format!(
        "{}  version {}  federation {}\nissued {}, ends {} ({})\nsigned by {} of {} root keys, {} needed\n\n",
        safe(&document.name),
        roster.version(),
        roster.federation(),
        moment(roster.issued()),
        moment(roster.expires()),
        until(roster.expires(), now),
        roster.signatures(),
        document.roots.keys.len(),
        roster.threshold(),
    );
    let mut relays = Table::new(&[
        ("RELAY", Side::Left),
        ("REGION", Side::Left),
        ("ADDRESSES", Side::Left),
        ("OPERATOR", Side::Left),
    ]);
    for relay in roster.relays() {
        relays.row([
            relay.id.as_str().into(),
            relay.region.to_string().into(),
            safe(&relay.addresses.join(" ")).into(),
            safe(&relay.operator).into(),
        ]);
    }
    let mut agencies =
        Table::new(&[("AGENCY", Side::Left), ("HOME", Side::Left), ("STATUS", Side::Left), ("NAME", Side::Left)]);
    for agency in roster.agencies() {
        let home: Vec<_> = agency.home.iter().map(|relay| relay.as_str()).collect();
        let status = match agency.status {
            AgencyStatus::Active => "active",
            AgencyStatus::Suspended => "suspended",
        };
        agencies.row([agency.id.as_str().into(), home.join(" ").into(), status.into(), safe(&agency.name).into()]);
    }
    let mut agreements = Table::new(&[("FROM", Side::Left), ("TO", Side::Left), ("UP TO", Side::Left)]);
    for agreement in roster.agreements() {
        let (from, to) = (agreement.from.to_string(), agreement.to.to_string());
        agreements.row([from.into(), to.into(), agreement.max_precedence.as_str().into()]);
    }
    text.push_str(&[relays.render(), agencies.render(), agreements.render()].join("\n"));
    text
}

/// One difference between two rosters.
#[derive(Debug, PartialEq, Serialize)]
struct Change {
    change: &'static str,
    what: &'static str,
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Value>,
}

impl Change {
    fn line(&self) -> String {
        let (mark, style) = match self.change {
            "added" => ("+", GOOD),
            "removed" => ("-", BAD),
            _ => ("~", WARN),
        };
        let mut line = format!("{mark} {} {}", self.what, safe(&self.name));
        if let (Some(before), Some(after)) = (&self.before, &self.after) {
            let fields = differing_fields(before, after);
            line.push_str(&format!(": {}", safe(&fields.join("; "))));
        }
        paint(style, &line) + "\n"
    }
}

fn differing_fields(before: &Value, after: &Value) -> Vec<String> {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        return vec![format!("{before} → {after}")];
    };
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    let differs = |name: &&&String| old.get(**name) != new.get(**name);
    let show = |value: Option<&Value>| value.map_or_else(|| "none".into(), ToString::to_string);
    names
        .iter()
        .filter(differs)
        .map(|name| format!("{name} {} → {}", show(old.get(*name)), show(new.get(*name))))
        .collect()
}

fn changes(old: &Roster, new: &Roster) -> Vec<Change> {
    let (a, b) = (old.document(), new.document());
    let mut changes = Vec::new();
    let single = [
        ("expiry", json!(a.expires), json!(b.expires)),
        ("minimum suite", json!(a.min_suite), json!(b.min_suite)),
        ("roots", json!(a.roots), json!(b.roots)),
    ];
    for (what, before, after) in single {
        if before != after {
            changes.push(Change {
                change: "changed",
                what,
                name: String::new(),
                before: Some(before),
                after: Some(after),
            });
        }
    }
    let relays =
        |d: &liaison_protocol::roster::RosterDocument| d.relays.iter().map(|r| (r.id.to_string(), json!(r))).collect();
    let agencies = |d: &liaison_protocol::roster::RosterDocument| {
        d.agencies.iter().map(|a| (a.id.to_string(), json!(a))).collect()
    };
    let agreements = |d: &liaison_protocol::roster::RosterDocument| {
        d.agreements.iter().map(|a| (format!("{} → {}", a.from, a.to), json!(a))).collect()
    };
    compare("relay", &relays(a), &relays(b), &mut changes);
    compare("agency", &agencies(a), &agencies(b), &mut changes);
    compare("agreement", &agreements(a), &agreements(b), &mut changes);
    changes
}

fn compare(
    what: &'static str,
    old: &BTreeMap<String, Value>,
    new: &BTreeMap<String, Value>,
    changes: &mut Vec<Change>,
) {
    let mut names: Vec<_> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (before, after) = (old.get(name).cloned(), new.get(name).cloned());
        let change = match (&before, &after) {
            (None, _) => "added",
            (_, None) => "removed",
            (before, after) if before == after => continue,
            _ => "changed",
        };
        changes.push(Change { change, what, name: name.clone(), before, after });
    }
}
