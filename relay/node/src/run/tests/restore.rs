//! An old copy of the store is put back, as operators do after a disaster.

use std::path::Path;
use std::sync::Arc;

use super::fed::Fed;
use super::party::{Mail, check_honest};
use super::{Disk, Relay, alone};

/// Ends once the relay has taken two letters.
async fn take_letters(fed: &Fed, disk: &Disk) -> Mail {
    let (mut mail, store) = (Mail::new(fed), Arc::new(disk.open()));
    let relay = Relay::start(fed, disk, Arc::clone(&store) as _).unwrap();
    mail.run_without_recipient(fed, relay).await.unwrap();
    drop(alone(store).await);
    mail
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to);
        } else {
            std::fs::copy(entry.path(), to).unwrap();
        }
    }
}

async fn put_back(lose_lease: bool) {
    let (fed, backup) = (Fed::new(), super::folder());
    let disk = Disk::new(&fed);
    let mut receipts = take_letters(&fed, &disk).await.receipts().to_vec();
    copy(&disk.directory(), backup.path());
    receipts.extend_from_slice(take_letters(&fed, &disk).await.receipts());
    // Twice: the first time, the backup may just have the luck that nothing was signed at its numbers.
    for _ in 0..2 {
        std::fs::remove_dir_all(disk.directory()).unwrap();
        copy(backup.path(), &disk.directory());
        if lose_lease {
            std::fs::remove_file(disk.lease_file()).unwrap();
        }
        receipts.extend_from_slice(take_letters(&fed, &disk).await.receipts());
    }
    assert!(receipts.len() >= 4, "{}", receipts.len());
    check_honest(&receipts);
}

// [RCPT-4] [RCPT-8]
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_put_back_repeats_no_receipts_number() {
    put_back(false).await;
}

// [RCPT-8] The clock tells starts apart then, if more than a second lies between them.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_put_back_without_its_lease_repeats_no_receipts_number() {
    put_back(true).await;
}
