//! The command line of certs-dev.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::bail;
use certs_dev::{Federation, Kdf, Options, agree, disagree, make, remove_agency, set_status};
use clap::{Args, Parser, Subcommand};
use liaison_protocol::AgencyId;
use liaison_protocol::precedence::Precedence;
use liaison_protocol::roster::{AgencyStatus, Party, RosterDocument, RosterVersion};

/// Makes a throw-away federation: root keys, roster, identities, certificates and configuration files.
///
/// For development only: all root keys lie in one folder, and every passphrase beside the key that it opens.
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    make: Option<MakeArgs>,
}

#[derive(Args)]
struct MakeArgs {
    /// A new or empty folder.
    out_dir: PathBuf,
    /// What people call the federation.
    #[arg(long, default_value = "dev")]
    name: String,
    /// Regions: asia, europe, africa, americas, oceania, then numbered ones.
    #[arg(long, value_name = "N", default_value_t = 2)]
    regions: usize,
    /// Relays in each region; all are home to the region's agencies.
    #[arg(long, value_name = "N", default_value_t = 1)]
    relays_per_region: usize,
    /// Agencies: ncb.sg, ncb.ee, ncb.fr and so on.
    #[arg(long, value_name = "N", default_value_t = 3)]
    agencies: usize,
    /// Two ports a relay on 127.0.0.1, from here on; left out, ports that are free now.
    #[arg(long, value_name = "PORT")]
    base_port: Option<u16>,
    /// Key files that open fast, and are easy to guess: for tests.
    #[arg(long)]
    fast_kdf: bool,
}

#[derive(Subcommand)]
enum Command {
    /// Signs a new version of the roster; running nodes take it on SIGHUP.
    Roster(RosterArgs),
}

#[derive(Args)]
struct RosterArgs {
    /// A folder that certs-dev made.
    out_dir: PathBuf,
    /// Take an agency out, with the agreements that name it.
    #[arg(long, value_name = "AGENCY")]
    remove: Vec<AgencyId>,
    /// Suspend an agency: no link, no agreement; what it signed still verifies.
    #[arg(long, value_name = "AGENCY")]
    suspend: Vec<AgencyId>,
    /// Let a suspended agency take part again.
    #[arg(long, value_name = "AGENCY")]
    resume: Vec<AgencyId>,
    /// End the agreement of one pair, as in `*:*` or `ncb.sg:ncb.ee`.
    #[arg(long, value_name = "FROM:TO", value_parser = pair)]
    disagree: Vec<(Party, Party)>,
    /// Let FROM write to TO up to PRECEDENCE.
    #[arg(long, value_name = "FROM:TO:PRECEDENCE", value_parser = agreement)]
    agree: Vec<(Party, Party, Precedence)>,
    /// Let it expire after so many seconds; default 60 days.
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u64>,
    /// Give it this version, not the next one.
    #[arg(long, value_name = "N")]
    version: Option<u32>,
}

fn main() -> anyhow::Result<()> {
    match Cli::parse() {
        Cli { command: Some(Command::Roster(args)), .. } => publish(&args),
        Cli { make: Some(args), .. } => make_federation(args),
        Cli { .. } => bail!("name a folder: certs-dev OUT_DIR"),
    }
}

fn make_federation(args: MakeArgs) -> anyhow::Result<()> {
    let federation = make(&Options {
        out: args.out_dir,
        name: args.name,
        regions: args.regions,
        relays_per_region: args.relays_per_region,
        agencies: args.agencies,
        base_port: args.base_port,
        kdf: if args.fast_kdf { Kdf::Fast } else { Kdf::Standard },
    })?;
    println!("{}", summary(&federation));
    Ok(())
}

/// What was made, and the commands that start it. Long lists are cut.
fn summary(federation: &Federation) -> String {
    const SHOWN: usize = 6;
    let folder = federation.folder().display();
    let mut lines = vec![format!(
        "federation {} ({}) in {folder}: {} relays, {} agencies, roster v1 signed 2 of 3\n",
        federation.name,
        federation.federation,
        federation.relays.len(),
        federation.agencies.len()
    )];
    lines.push("start the relays and the agencies' daemons, each in its own terminal:".into());
    for relay in federation.relays.iter().take(SHOWN) {
        lines.push(format!("  liaison-relay run --config {}", federation.relay_config(&relay.id).display()));
    }
    for agency in federation.agencies.iter().take(SHOWN) {
        lines.push(format!("  liaisond --config {}", federation.agency_config(&agency.id).display()));
    }
    if federation.relays.len() > SHOWN || federation.agencies.len() > SHOWN {
        lines.push(format!("  and so on: {folder}/relays/*/relay.toml, {folder}/agencies/*/liaisond.toml"));
    }
    if let [first, second, ..] = federation.agencies.as_slice() {
        let socket = |id| federation.agency_socket(id).display().to_string();
        lines.push("\nthen send a message, and read it:".into());
        lines.push(format!("  liaison --socket {} send --to {} -s Hello --body Hello", socket(&first.id), second.id));
        lines.push(format!("  liaison --socket {} inbox", socket(&second.id)));
    }
    lines.push("\nfor development only: root keys and passphrases lie in that folder".into());
    lines.join("\n")
}

fn publish(args: &RosterArgs) -> anyhow::Result<()> {
    let federation = Federation::load(&args.out_dir)?;
    let current = federation.roster()?;
    let named = args.remove.iter().chain(&args.suspend).chain(&args.resume);
    if let Some(unknown) = named.into_iter().find(|id| current.agency(id).is_none()) {
        bail!("{unknown} is not in roster v{}", current.version());
    }
    let roster = federation.publish(|document| change(document, args))?;
    println!(
        "roster v{} signed and written to {}; running nodes take it on SIGHUP",
        roster.version(),
        federation.roster_path().display()
    );
    Ok(())
}

fn change(document: &mut RosterDocument, args: &RosterArgs) {
    args.remove.iter().for_each(|id| remove_agency(document, id));
    args.suspend.iter().for_each(|id| set_status(document, id, AgencyStatus::Suspended));
    args.resume.iter().for_each(|id| set_status(document, id, AgencyStatus::Active));
    args.disagree.iter().for_each(|(from, to)| disagree(document, from, to));
    args.agree.iter().cloned().for_each(|(from, to, most)| agree(document, from, to, most));
    if let Some(seconds) = args.expires_in {
        document.expires = document.issued.after(Duration::from_secs(seconds));
    }
    if let Some(version) = args.version {
        document.version = RosterVersion(version);
    }
}

fn pair(text: &str) -> Result<(Party, Party), String> {
    let (from, to) = text.split_once(':').ok_or("write FROM:TO")?;
    Ok((party(from)?, party(to)?))
}

fn agreement(text: &str) -> Result<(Party, Party, Precedence), String> {
    let (parties, word) = text.rsplit_once(':').ok_or("write FROM:TO:PRECEDENCE")?;
    let (from, to) = pair(parties)?;
    Ok((from, to, word.parse().map_err(|error| format!("{error}"))?))
}

fn party(text: &str) -> Result<Party, String> {
    text.parse().map_err(|error| format!("{error}"))
}
