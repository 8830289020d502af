//! `liaison receipts`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use liaison_client::api::model::{Direction, ReceiptKind, ReceiptView, Receipts};
use liaison_protocol::AgencyId;

use crate::context::Context;
use crate::failure::Failure;
use crate::out::{BAD, GOOD, terminal_columns};
use crate::selector::Selector;
use crate::table::{Cell, Table};
use crate::text::{bytes, safe_line};
use crate::when::Clock;
use liaison_node::exit::Exit;

#[derive(clap::Args, Debug)]
#[command(before_help = "Examples:\n  liaison receipts 4m7x0q\n  liaison receipts 4m7x0q --export case1142.evidence")]
pub(crate) struct Args {
    /// The message
    #[arg(value_name = "MSG")]
    message: Selector,
    /// Write the receipts as evidence, to be verified offline with the federation's root keys ('-': standard output)
    #[arg(long, value_name = "FILE")]
    export: Option<PathBuf>,
}

pub(crate) async fn run(cx: &Context, args: &Args) -> Result<Exit, Failure> {
    cx.out.check_fields::<ReceiptView>()?;
    let id = cx.resolve(&args.message)?;
    if let Some(path) = &args.export {
        let evidence = cx.client.evidence(&id).await?;
        export(path, &evidence)?;
        cx.out.note(&format!("{} of evidence in {}", bytes(evidence.len() as u64), path.display()));
        return Ok(Exit::Done);
    }
    let receipts = cx.client.receipts(&id).await?;
    if cx.out.is_json() {
        receipts.receipts.iter().try_for_each(|receipt| cx.out.object(receipt))?;
    } else {
        cx.out.data(&table(&receipts.receipts, &cx.clock()).render(terminal_columns()))?;
        cx.out.note(&summary(&receipts));
    }
    let sound = receipts.receipts.iter().all(|receipt| receipt.verified);
    Ok(if sound { Exit::Done } else { Exit::Finding })
}

/// A new file, never over another.
fn export(path: &Path, evidence: &[u8]) -> Result<(), Failure> {
    if path.as_os_str() == "-" {
        return Ok(std::io::stdout().lock().write_all(evidence)?);
    }
    // Evidence may open the message: it is for this user, until its owner shares it.
    let made = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let mut file = made.map_err(|error| Failure::output(path, &error))?;
    file.write_all(evidence).and_then(|()| file.sync_all()).map_err(|error| Failure::output(path, &error))
}

fn summary(receipts: &Receipts) -> String {
    let names = |agencies: &[AgencyId]| agencies.iter().map(|agency| agency.as_str()).collect::<Vec<_>>().join(", ");
    let (awaited, undelivered) = (names(&receipts.awaited), names(&receipts.undelivered));
    if receipts.direction == Direction::In {
        return "this message was received: its receipts are kept by its sender".into();
    }
    if !receipts.receipts.iter().all(|receipt| receipt.verified) {
        return "NOT VERIFIED: at least one receipt does not hold".into();
    }
    match (awaited.as_str(), undelivered.as_str()) {
        ("", "") if receipts.complete => "complete: every recipient's delivery receipt is in and verified".into(),
        ("", "") => "no delivery receipt is expected".into(),
        (awaited, "") => format!("not complete: no delivery receipt from {awaited} yet"),
        ("", undelivered) => format!("no more to come: not delivered to {undelivered}"),
        (awaited, undelivered) => {
            format!("not delivered to {undelivered}; no delivery receipt from {awaited} yet")
        }
    }
}

fn table(receipts: &[ReceiptView], clock: &Clock) -> Table {
    let columns =
        [("WHEN", 12, 2), ("ISSUER", 10, 2), ("SAYS", 9, 2), ("NUMBER", 6, 2), ("SIGNATURE", 9, 2), ("FOR", 8, 0)];
    let mut table = Table::new(&columns).elastic(5);
    for receipt in receipts {
        let says = match receipt.kind {
            ReceiptKind::Custody => "custody",
            ReceiptKind::Delivery => "delivered",
            ReceiptKind::Read => "read",
            ReceiptKind::NonDelivery => "not delivered",
            ReceiptKind::Unknown => "other",
        };
        let names: Vec<_> = receipt.recipients.iter().map(|agency| agency.as_str()).collect();
        let detail =
            if receipt.detail.is_empty() { String::new() } else { format!("  {}", safe_line(&receipt.detail)) };
        table.row([
            clock.precise(receipt.at).into(),
            receipt.issuer.as_str().into(),
            says.into(),
            receipt.number.to_string().into(),
            if receipt.verified { Cell("verified".into(), GOOD) } else { Cell("NOT VERIFIED".into(), BAD) },
            (names.join(", ") + &detail).into(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::when::tests::{at, clock};

    fn receipt(issuer: &str, kind: ReceiptKind, verified: bool) -> ReceiptView {
        ReceiptView {
            kind,
            issuer: issuer.parse().unwrap(),
            at: at("2026-11-24T06:02:11.251Z"),
            recipients: vec!["ncb.ee".parse().unwrap()],
            number: 812,
            key: "0123456789abcdef".into(),
            verified,
            detail: String::new(),
        }
    }

    #[test]
    fn receipts_say_whether_they_hold() {
        let receipts = [receipt("ap-1", ReceiptKind::Custody, true), receipt("ncb.ee", ReceiptKind::Delivery, false)];
        let expected = "\
WHEN          ISSUER      SAYS       NUMBER  SIGNATURE     FOR
14:02:11.251  ap-1        custody    812     verified      ncb.ee
14:02:11.251  ncb.ee      delivered  812     NOT VERIFIED  ncb.ee
";
        let text = table(&receipts, &clock()).render(None);
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }

    #[test]
    fn the_summary_waits_for_nothing_that_cannot_come() {
        let of = |direction, complete, awaited: &[&str], undelivered: &[&str]| {
            let names = |names: &[&str]| names.iter().map(|name| name.parse().unwrap()).collect();
            let id = "4m7x0qd2ka000000000000000000000000000000000000000000".parse().unwrap();
            let (awaited, undelivered) = (names(awaited), names(undelivered));
            summary(&Receipts { id, direction, receipts: Vec::new(), complete, awaited, undelivered })
        };
        use Direction::{In, Out};
        assert_eq!(of(In, false, &[], &[]), "this message was received: its receipts are kept by its sender");
        assert_eq!(of(Out, true, &[], &[]), "complete: every recipient's delivery receipt is in and verified");
        assert_eq!(of(Out, false, &["ncb.ee"], &[]), "not complete: no delivery receipt from ncb.ee yet");
        assert_eq!(of(Out, false, &[], &["ncb.ee", "ncb.fr"]), "no more to come: not delivered to ncb.ee, ncb.fr");
    }

    #[test]
    fn an_export_replaces_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.evidence");
        export(&path, b"1").unwrap();
        assert_eq!(export(&path, b"2").unwrap_err().exit, 74);
        assert_eq!(std::fs::read(&path).unwrap(), b"1");
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
