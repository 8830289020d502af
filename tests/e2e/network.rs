//! Links that are cut, and relays that hang.

use std::thread::sleep;
use std::time::{Duration, Instant};

use liaison_tests::fed::{Cable, Federation, Plan, eventually};
use serde_json::Value;

use crate::shared::ids;

/// What a loaded machine may take where a second is promised.
const LOADED: Duration = Duration::from_secs(5);

fn link(fed: &Federation, relay: &str, peer: &str) -> bool {
    let links = fed.relay(relay, &["--json", "links"]).success().objects();
    links.into_iter().any(|link| link["peer"] == peer && link["up"] == true)
}

/// Between two relays, whoever dials.
fn cables(fed: &Federation, one: &str, other: &str) -> [Cable; 2] {
    [fed.lay_cable(one, other), fed.lay_cable(other, one)]
}

/// Who has issued custody receipts for a message, says its sender.
fn holders(fed: &Federation, sender: &str, id: &str) -> Vec<String> {
    let issuer = |receipt: &Value| receipt["issuer"].as_str().unwrap().to_owned();
    fed.receipts(sender, id, "custody").iter().map(issuer).collect()
}

#[test]
fn with_the_direct_link_cut_mail_goes_through_a_transit_relay() {
    let fed = Federation::make(&Plan { regions: 3, agencies: 2, ..Plan::default() });
    let direct = cables(&fed, "ap-1", "eu-1");
    fed.start_all();
    let straight = fed.send("ncb.sg", "ncb.ee", &["-s", "Straight", "--body", "x"]);
    fed.await_delivered("ncb.sg", &straight);
    direct.iter().for_each(Cable::cut);
    // Before the link is known to be dead, and after.
    let mut sent = vec![straight, fed.send("ncb.sg", "ncb.ee", &["-s", "Just cut", "--body", "x"])];
    eventually("the end of the direct link", || (!link(&fed, "ap-1", "eu-1")).then_some(()));
    sent.push(fed.send("ncb.sg", "ncb.ee", &["-s", "Around", "--body", "x"]));
    sent.iter().for_each(|id| fed.await_delivered("ncb.sg", id));
    eventually("the transit relay's receipt", || {
        holders(&fed, "ncb.sg", &sent[2]).iter().any(|holder| holder == "af-1").then_some(())
    });
    direct.iter().for_each(Cable::mend);
    eventually("the direct link", || link(&fed, "ap-1", "eu-1").then_some(()));
    sent.push(fed.send("ncb.sg", "ncb.ee", &["-s", "Straight again", "--body", "x"]));
    fed.await_delivered("ncb.sg", &sent[3]);
    assert!(!holders(&fed, "ncb.sg", &sent[3]).iter().any(|holder| holder == "af-1"));
    let inbox = fed.inbox("ncb.ee");
    let mut arrived = ids(&inbox);
    arrived.sort_unstable();
    sent.sort_unstable();
    assert_eq!(arrived, sent);
}

#[test]
fn mail_moves_within_a_second_of_the_links_return_however_long_it_was_gone() {
    let fed = Federation::make(&Plan { agencies: 2, ..Plan::default() });
    let cables = cables(&fed, "ap-1", "eu-1");
    fed.start_all();
    let first = fed.send("ncb.sg", "ncb.ee", &["-s", "Before", "--body", "x"]);
    fed.await_delivered("ncb.sg", &first);
    let mut lags = Vec::new();
    // The link survives the short ones; in the long one it is given up, and dialed anew all the while.
    for outage in [3, 25, 3] {
        cables.iter().for_each(Cable::cut);
        let id = fed.send("ncb.sg", "ncb.ee", &["-s", &format!("{outage} seconds"), "--body", "x"]);
        sleep(Duration::from_secs(outage));
        assert!(fed.inbox("ncb.ee").iter().all(|item| item["id"] != id.as_str()), "the cable is not cut");
        let back = Instant::now();
        cables.iter().for_each(Cable::mend);
        eventually("the message", || fed.inbox("ncb.ee").iter().any(|item| item["id"] == id.as_str()).then_some(()));
        lags.push(back.elapsed());
        fed.await_delivered("ncb.sg", &id);
    }
    eprintln!("from the link's return to the inbox: {lags:?}");
    // Waits that grew with the outage would show in every figure; other tests' load does not.
    assert!(lags.iter().all(|lag| *lag < LOADED), "{lags:?}");
    assert!(lags.iter().any(|lag| *lag < Duration::from_secs(1)), "{lags:?}");
}

#[test]
fn a_home_relay_that_hangs_is_passed_over_and_taken_back() {
    let fed = Federation::start(&Plan { relays_per_region: 2, agencies: 2, ..Plan::default() });
    fed.pause("eu-1");
    let during = fed.send("ncb.sg", "ncb.ee", &["-s", "It hangs", "--body", "x"]);
    fed.await_delivered("ncb.sg", &during);
    fed.resume("eu-1");
    eventually("the links of eu-1", || (link(&fed, "eu-1", "ncb.ee") && link(&fed, "eu-1", "ap-1")).then_some(()));
    let after = fed.send("ncb.sg", "ncb.ee", &["-s", "It is back", "--body", "x"]);
    fed.await_delivered("ncb.sg", &after);
    // Whatever it held when it hung comes a second time, and is delivered once.
    assert_eq!(ids(&fed.inbox("ncb.ee")), [during, after]);
}
