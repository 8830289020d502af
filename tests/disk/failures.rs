//! Disks that fail.

use crate::shared::Site;

/// Exit code of a fault (`docs/operators.md`).
const IO: Option<i32> = Some(74);

/// Starts `node` anew with a disk that fails as `plan` says, `after` so many syncs or writes.
fn with_failure(node: &str, plan: &dyn Fn(usize) -> String) -> Site {
    let site = Site::start();
    assert_eq!(site.fed.stop(node), Some(0));
    site.disk(node).cut_power(None);
    site.fed.start_node(node);
    // What a start takes, so that the failure comes after it.
    let (syncs, _) = site.disk(node).syncs();
    assert_eq!(site.fed.stop(node), Some(0));
    site.disk(node).cut_power(None);
    site.plan(node, &plan(syncs));
    site.fed.start_node(node);
    site
}

fn goes_on_after(mut site: Site, node: &str) {
    for number in 0..30 {
        if site.fed.runs("ncb.sg") {
            site.try_send("ncb.sg", "ncb.ee", &format!("{number}"));
        }
        if !site.fed.runs(node) {
            break;
        }
    }
    assert_eq!(site.fed.await_end(node), IO, "{}", site.fed.log_tail(node, 5));
    site.disk(node).cut_power(None);
    site.plan(node, "");
    site.fed.start_node(node);
    site.check();
}

// [CUST-1]
#[test]
fn a_failed_sync_stops_the_relay_and_what_it_had_not_acknowledged_comes_again() {
    let site = with_failure("eu-1", &|syncs| format!("sync@{}=EIO", syncs + 6));
    goes_on_after(site, "eu-1");
}

/// Accepting, forwarding, receipts, releasing: wherever in a relay's work the sync fails, from the first after a start on.
#[test]
fn whichever_sync_fails_the_relay_stops_and_nothing_is_lost() {
    let failures = crate::shared::setting("LIAISON_SYNC_FAILURES", 5);
    let mut site = Site::start();
    for nth in 1..=failures {
        site.cut("eu-1", None);
        site.plan("eu-1", &format!("sync@{nth}=EIO"));
        site.fed.launch("eu-1");
        for number in 0..30 {
            if !site.fed.runs("eu-1") {
                break;
            }
            site.try_send("ncb.sg", "ncb.ee", &format!("{nth}/{number}"));
        }
        assert_eq!(site.fed.await_end("eu-1"), IO, "sync {nth}: {}", site.fed.log_tail("eu-1", 5));
        site.disk("eu-1").cut_power(Some(nth));
        site.plan("eu-1", "");
        site.fed.start_node("eu-1");
    }
    site.check();
}

#[test]
fn a_failed_write_stops_the_relay_and_so_does_one_that_is_cut_short_by_a_full_disk() {
    let site = with_failure("eu-1", &|_| "write@40=SHORT,write@41=ENOSPC".into());
    goes_on_after(site, "eu-1");
}

#[test]
fn a_failed_sync_stops_the_daemon_and_nothing_that_it_said_was_accepted_is_lost() {
    let site = with_failure("ncb.sg", &|syncs| format!("sync@{}=EIO", syncs + 6));
    goes_on_after(site, "ncb.sg");
}
