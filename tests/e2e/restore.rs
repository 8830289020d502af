//! Stores are put back from copies, by the procedure of docs/operators.md and docs/integrators.md.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use liaison_tests::fed::{Federation, Plan};

use crate::shared::arrived;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

/// Sends one message there and one back, and waits for both delivery receipts.
fn letters(fed: &Federation, what: &str) -> [(&'static str, String); 2] {
    [("ncb.sg", "ncb.ee"), ("ncb.ee", "ncb.sg")].map(|(from, to)| {
        let id = fed.send(from, to, &["-s", what, "--body", "x"]);
        fed.await_delivered(from, &id);
        (from, id)
    })
}

/// By issuer and number, of which message a receipt is. Each message was alone on its way: each number has one.
fn note(fed: &Federation, letters: &[(&str, String)], numbers: &mut BTreeMap<(String, u64), String>) {
    for (sender, id) in letters {
        for receipt in fed.objects(sender, &["receipts", id]) {
            let issuer = receipt["issuer"].as_str().unwrap().to_owned();
            let before = numbers.insert((issuer.clone(), receipt["number"].as_u64().unwrap()), id.clone());
            assert!(before.is_none_or(|before| before == *id), "{issuer} signed one number twice: {receipt}");
        }
    }
}

// [RCPT-4] [RCPT-8]
#[test]
fn stores_that_are_put_back_repeat_no_receipt_and_mail_goes_on() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    let restored = ["eu-1", "ncb.ee"];
    let backup = |node: &str| -> PathBuf { fed.scratch().join(format!("backup-{node}")) };
    let mut numbers = BTreeMap::new();
    note(&fed, &letters(&fed, "Before the backup"), &mut numbers);
    for node in restored {
        assert_eq!(fed.stop(node), Some(0));
        copy(&fed.store_folder(node), &backup(node));
        fed.start_node(node);
    }
    // The receipts of what ncb.ee sends now are forgotten with its store: they are looked at before.
    note(&fed, &letters(&fed, "After the backup"), &mut numbers);
    for node in restored {
        fed.kill(node);
        fs::remove_dir_all(fed.store_folder(node)).unwrap();
        copy(&backup(node), &fed.store_folder(node));
        fed.start_node(node);
    }
    let after = letters(&fed, "After the stores were put back");
    note(&fed, &after, &mut numbers);
    let wanted = [after[0].1.clone()];
    assert_eq!(arrived(&fed.inbox("ncb.ee"), &wanted), [after[0].1.as_str()]);
    let issuers: std::collections::BTreeSet<&str> = numbers.keys().map(|(issuer, _)| issuer.as_str()).collect();
    assert!(restored.iter().all(|node| issuers.contains(node)), "{numbers:?}");
    let lease = fed.store_folder("eu-1").with_extension("lease");
    assert!(lease.is_file(), "it lies beside the store, and was never in the copy");
}
