//! `liaison-relay check`.

use liaison_node::exit::Exit;

use super::out::{BAD, GOOD, WARN};
use super::table::{Cell, Side, Table};
use super::words::safe;
use super::{Failure, Global, Out, load};
use crate::finding::{Finding, Level};

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison-relay --config relay.toml check --strict")]
pub(crate) struct Args {
    /// Warnings count as failures
    #[arg(long)]
    strict: bool,
}

pub(super) async fn run(global: &Global, out: &Out, args: &Args) -> Result<Exit, Failure> {
    let config = load(global)?;
    let mut findings = vec![Finding::ok("config", global.config.display())];
    findings.extend(crate::check::check(&config).await);
    if out.json {
        out.objects(&findings)?;
    } else {
        out.data(&render(&findings))?;
    }
    let bound = if args.strict { Level::Warn } else { Level::Fail };
    let failed = findings.iter().any(|finding| finding.level >= bound);
    Ok(if failed { Exit::Finding } else { Exit::Done })
}

pub(super) fn render(findings: &[Finding]) -> String {
    let mut table = Table::new(&[("LEVEL", Side::Left), ("CHECK", Side::Left), ("RESULT", Side::Left)]);
    for finding in findings {
        let style = match finding.level {
            Level::Fail => BAD,
            Level::Ok => GOOD,
            Level::Warn => WARN,
        };
        let fix = finding.fix.as_ref().map(|fix| format!("  fix: {}", safe(fix))).unwrap_or_default();
        let result = safe(&finding.text) + &fix;
        table.row([Cell(finding.level.as_str().into(), style), finding.id.as_str().into(), result.into()]);
    }
    let of = |level| findings.iter().filter(|finding| finding.level == level).count();
    table.render() + &format!("{} ok, {} warnings, {} failures\n", of(Level::Ok), of(Level::Warn), of(Level::Fail))
}
