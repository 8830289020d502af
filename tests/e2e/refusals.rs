//! What is refused, and how it is said.

use std::time::Duration;

use certs_dev::{agree, disagree, remove_agency};
use liaison_protocol::precedence::Precedence;
use liaison_protocol::roster::Party;
use liaison_tests::fed::{Ended, Federation, Plan, eventually, eventually_within};

use crate::shared::{arrived, calm};

fn send(fed: &Federation, from: &str, to: &str, more: &[&str]) -> Ended {
    let common = ["send", "--yes", "--to", to, "--tlp", "green", "-s", "Refused?", "--body", "x"];
    fed.liaison(from, &[&common, more].concat())
}

fn party(name: &str) -> Party {
    Party::Agency(name.parse().unwrap())
}

/// Every relay takes the published roster, and these agencies' daemons have it from them.
fn take_roster(fed: &Federation, agencies: &[&str]) {
    for relay in &fed.files().relays {
        let _ = fed.relay(relay.id.as_str(), &["reload"]).success();
    }
    for agency in agencies {
        eventually(&format!("roster version 2 at {agency}"), || {
            (fed.get(agency, "/v1/status").ok()?["roster"]["version"] == 2).then_some(())
        });
    }
}

#[test]
fn an_unknown_recipient_is_refused_with_the_one_that_may_be_meant() {
    let fed = calm();
    let ended = send(&fed, "ncb.sg", "ncb.eee", &[]);
    assert_eq!((ended.code, ended.stdout.as_str()), (67, ""), "{ended:?}");
    assert!(ended.stderr.contains("unknown agency 'ncb.eee'; did you mean 'ncb.ee'?"), "{ended:?}");
}

#[test]
fn a_second_daemon_on_the_same_store_is_refused_and_the_first_goes_on() {
    let fed = calm();
    let second = fed.run_again("ncb.sg");
    assert_eq!(second.code, 74, "{second:?}");
    assert!(
        second.stderr.contains("[store] path: ") && second.stderr.contains("in use by another process"),
        "{second:?}"
    );
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", "Still here", "--body", "x"]);
    fed.await_delivered("ncb.sg", &id);
}

#[test]
fn an_agreement_bounds_the_precedence_and_without_one_nothing_is_sent() {
    let fed = Federation::start(&Plan::default());
    fed.files()
        .publish(|roster| {
            disagree(roster, &Party::Any, &Party::Any);
            agree(roster, party("ncb.sg"), party("ncb.ee"), Precedence::Priority);
            // Receipts travel as mail does, and need leave as mail does.
            agree(roster, party("ncb.ee"), party("ncb.sg"), Precedence::Routine);
        })
        .unwrap();
    take_roster(&fed, &["ncb.sg", "ncb.ee"]);
    let above = send(&fed, "ncb.sg", "ncb.ee", &["--precedence", "flash"]);
    assert_eq!(above.code, 77, "{above:?}");
    assert!(above.stderr.contains("ncb.sg may write to ncb.ee up to priority, not flash"), "{above:?}");
    let without = send(&fed, "ncb.sg", "ncb.fr", &[]);
    assert_eq!(without.code, 77, "{without:?}");
    assert!(without.stderr.contains("no agreement lets ncb.sg write to ncb.fr"), "{without:?}");
    let within = fed.send("ncb.sg", "ncb.ee", &["-s", "As agreed", "--body", "x", "--precedence", "priority"]);
    fed.await_delivered("ncb.sg", &within);
    assert_eq!(arrived(&fed.inbox("ncb.ee"), std::slice::from_ref(&within)).len(), 1);
    assert!(fed.inbox("ncb.fr").is_empty());
}

// [ROSTER-12]
#[test]
fn an_agency_that_is_removed_from_the_roster_loses_its_link_at_once() {
    let fed = Federation::start(&Plan::default());
    let link = || {
        let links = fed.relay("eu-1", &["--json", "links"]).success().objects();
        links.into_iter().find(|link| link["peer"] == "ncb.fr").is_some_and(|link| link["up"] == true)
    };
    assert!(link());
    fed.files().publish(|roster| remove_agency(roster, &"ncb.fr".parse().unwrap())).unwrap();
    let _ = fed.relay("eu-1", &["reload"]).success();
    eventually_within(Duration::from_secs(1), "the end of ncb.fr's link", || (!link()).then_some(()));
    take_roster(&fed, &["ncb.sg", "ncb.ee"]);
    let unknown = send(&fed, "ncb.sg", "ncb.fr", &[]);
    assert_eq!(unknown.code, 67, "{unknown:?}");
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", "We go on", "--body", "x"]);
    fed.await_delivered("ncb.sg", &id);
    // It has dialled in vain meanwhile.
    assert!(!link());
    let status = fed.get("ncb.fr", "/v1/status").unwrap();
    assert_ne!(status["links"][0]["state"], "up", "{status}");
}
