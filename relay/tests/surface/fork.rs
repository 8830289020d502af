//! Two rosters of one version, and a clock that is behind.

use std::fs;

use certs_dev::{remove_agency, set_status};
use liaison_protocol::roster::AgencyStatus;
use rustix::process::Signal;
use serde_json::Value;

use crate::site::{Site, eventually};

fn fork(site: &Site) -> Value {
    let shown = site.relay(&["--json", "roster", "settle"]);
    assert_eq!(shown.code, 1, "{shown:?}");
    serde_json::from_str(&shown.stdout).unwrap()
}

fn roster(site: &Site) -> Value {
    let status: Value = serde_json::from_str(&site.relay(&["--json", "status"]).stdout).unwrap();
    status["roster"].clone()
}

fn hash(site: &Site) -> Value {
    roster(site)["hash"].clone()
}

// [ROSTER-6]
#[test]
fn a_fork_survives_a_restart_and_stops_updates_until_an_operator_settles_it() {
    let site = Site::new(1);
    let file = site.federation.roster_path();
    let agency = site.federation.agencies[1].id.clone();
    let one = fs::read(&file).unwrap();
    site.federation.publish(|roster| remove_agency(roster, &agency)).unwrap();
    let first = fs::read(&file).unwrap();
    fs::write(&file, &one).unwrap();
    let running = site.start();
    fs::write(&file, &first).unwrap();
    assert_eq!(site.relay(&["reload"]).code, 0);
    eventually("version 2", || (roster(&site)["version"] == 2).then_some(()));
    let followed = hash(&site);

    fs::write(&file, &one).unwrap();
    site.federation.publish(|roster| set_status(roster, &agency, AgencyStatus::Suspended)).unwrap();
    let told = site.relay(&["reload"]);
    assert!(told.code != 0 && told.stderr.contains("the roots tell two stories"), "{told:?}");
    eventually("the proof", || (site.relay(&["roster", "settle"]).code == 1).then_some(()));
    running.signal(Signal::KILL);
    drop(running);

    // The file holds the other one: the relay stays on the first, and still knows.
    let _running = site.start();
    assert_eq!(hash(&site), followed);
    let status = site.relay(&["status"]);
    assert_eq!(status.code, 1);
    assert!(status.stdout.contains("no update until liaison-relay roster settle"), "{status:?}");
    let shown = fork(&site);
    assert_eq!((&shown["version"], &shown["followed"]["hash"]), (&2.into(), &followed));
    site.federation.publish(|_| {}).unwrap();
    let refused = site.relay(&["reload"]);
    assert!(refused.stderr.contains("liaison-relay roster settle"), "{refused:?}");

    assert_eq!(site.relay(&["roster", "settle", "--follow", "5f2c"]).code, 2);
    assert_ne!(site.relay(&["roster", "settle", "--follow", &"0".repeat(64)]).code, 0);
    let other = shown["other"]["hash"].as_str().unwrap();
    let settled = site.relay(&["roster", "settle", "--follow", other]);
    assert_eq!(settled.code, 0, "{settled:?}");
    eventually("the other roster in force", || (hash(&site) == other).then_some(()));
    assert_eq!(site.relay(&["status"]).code, 0);
    // Version 3 follows it.
    let reloaded = site.relay(&["reload"]);
    assert!(reloaded.stdout.contains("version 3 now, 2 before"), "{reloaded:?}");
    let none = site.relay(&["roster", "settle"]);
    assert_eq!((none.code, none.stdout.as_str()), (0, ""));
}

#[test]
fn a_clock_before_the_rosters_issue_keeps_a_relay_from_starting() {
    let site = Site::new(1);
    site.federation
        .publish(|roster| roster.issued = roster.issued.after(std::time::Duration::from_secs(3 * 86_400)))
        .unwrap();
    let ended = site.relay(&["run"]);
    assert_eq!(ended.code, 78, "{ended:?}");
    let last = ended.stderr.lines().last().unwrap();
    assert!(last.contains("clock: the clock is before the roster was issued") && last.contains("set-ntp"), "{last}");
}
