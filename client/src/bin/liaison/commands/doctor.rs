//! `liaison doctor`.

use liaison_client::api::client::ClientError;
use liaison_client::api::model::{Finding, Level};

use crate::context::Context;
use crate::failure::Failure;
use crate::out::{BAD, GOOD, WARN, paint};
use crate::text::{count, pad, safe_line, width};
use liaison_node::exit::Exit;

/// The daemon's checks after our own. A daemon that does not answer is a finding too.
pub(crate) async fn run(cx: &Context) -> Result<Exit, Failure> {
    cx.out.check_fields::<Finding>()?;
    let mut findings = vec![configuration(cx)];
    match cx.client.doctor().await {
        Ok(doctor) => {
            findings.extend(versions(cx).await);
            findings.extend(doctor.findings);
        }
        Err(error) => findings.push(unreachable(error)),
    }
    if cx.out.is_json() {
        findings.iter().try_for_each(|finding| cx.out.object(finding))?;
    } else {
        cx.out.data(&render(&findings))?;
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if failed { Exit::Finding } else { Exit::Done })
}

/// It was read before this runs, so it is well; what is of use is which.
fn configuration(cx: &Context) -> Finding {
    let settings = &cx.settings;
    let text = format!(
        "profile {} ({}), socket {}",
        settings.profile.value,
        settings.profile.origin,
        settings.socket.value.display()
    );
    Finding { id: "configuration".into(), level: Level::Ok, text, fix: None }
}

async fn versions(cx: &Context) -> Option<Finding> {
    let daemon = cx.client.status().await.ok()?.version;
    let own = env!("CARGO_PKG_VERSION");
    (daemon != own).then(|| Finding {
        id: "versions".into(),
        level: Level::Warn,
        text: format!("liaison is {own}, liaisond is {daemon}"),
        fix: Some("install both from one release".into()),
    })
}

fn unreachable(error: ClientError) -> Finding {
    let failure = Failure::from(error);
    Finding { id: "daemon".into(), level: Level::Fail, text: failure.message, fix: failure.hint }
}

fn render(findings: &[Finding]) -> String {
    const ID_COLUMNS: usize = 14;
    let columns = findings.iter().map(|finding| width(&safe_line(&finding.id))).max().unwrap_or(0).max(ID_COLUMNS);
    let line = |finding: &Finding| {
        let (word, style) = match finding.level {
            Level::Ok => ("ok", GOOD),
            Level::Warn => ("warn", WARN),
            Level::Fail => ("fail", BAD),
        };
        let level = paint(style, word) + &" ".repeat(4 - word.len());
        let fix = finding.fix.as_ref().map(|fix| format!("        fix: {}", safe_line(fix))).unwrap_or_default();
        format!("{level}  {}  {}{fix}\n", pad(&safe_line(&finding.id), columns), safe_line(&finding.text))
    };
    let lines: String = findings.iter().map(line).collect();
    let number = |level| findings.iter().filter(|finding| finding.level == level).count() as u64;
    let (ok, warn, fail) = (number(Level::Ok), number(Level::Warn), number(Level::Fail));
    format!("{lines}{ok} ok, {}, {}\n", count(warn, "warning", "warnings"), count(fail, "failure", "failures"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_listed_with_their_fixes_as_in_the_manual() {
        let finding = |id: &str, level, text: &str, fix: Option<&str>| Finding {
            id: id.into(),
            level,
            text: text.into(),
            fix: fix.map(Into::into),
        };
        let findings = [
            finding("daemon", Level::Ok, "liaisond 0.1.0 on the local socket, up 3 d", None),
            finding("identity-key", Level::Warn, "signing certificate ends in 9 days", Some("liaison identity renew")),
            finding("clock", Level::Fail, "off by 94 s from relay ap-1 (limit 30 s)", Some("timedatectl set-ntp true")),
        ];
        let expected = "\
ok    daemon          liaisond 0.1.0 on the local socket, up 3 d
warn  identity-key    signing certificate ends in 9 days        fix: liaison identity renew
fail  clock           off by 94 s from relay ap-1 (limit 30 s)        fix: timedatectl set-ntp true
1 ok, 1 warning, 1 failure
";
        assert_eq!(anstream::adapter::strip_str(&render(&findings)).to_string(), expected);
    }
}
