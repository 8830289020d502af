//! The straight way.

use std::collections::BTreeSet;

use liaison_tests::fed::{Federation, Plan, eventually};

use crate::shared::{arrived, calm, ids};

#[test]
fn a_message_arrives_and_its_verified_delivery_receipt_comes_back() {
    let fed = calm();
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", "Straight", "--body", "Two regions", "--precedence", "priority"]);
    fed.await_delivered("ncb.sg", &id);
    let delivered = fed.receipts("ncb.sg", &id, "delivery");
    assert_eq!(delivered.len(), 1, "{delivered:?}");
    assert_eq!((&delivered[0]["issuer"], &delivered[0]["recipients"][0]), (&"ncb.ee".into(), &"ncb.ee".into()));
    let custody = fed.receipts("ncb.sg", &id, "custody");
    let holders: BTreeSet<&str> = custody.iter().map(|receipt| receipt["issuer"].as_str().unwrap()).collect();
    assert!(holders.contains("ap-1"), "{custody:?}");

    let read = fed.objects("ncb.ee", &["read", &id]);
    let said = |name: &str| read[0][name].as_str().unwrap();
    assert_eq!((said("from"), said("subject"), said("text")), ("ncb.sg", "Straight", "Two regions"));
    assert_eq!((said("tlp"), said("precedence")), ("green", "priority"));
    assert_eq!(read[0]["verification"]["verified"], true);
    fed.await_state("ncb.sg", &id, "read");
    assert_eq!(arrived(&fed.inbox("ncb.ee"), &[id]).len(), 1);
}

#[test]
fn one_message_to_two_agencies_arrives_at_both_under_one_id() {
    let fed = calm();
    let id = fed.send("ncb.sg", "ncb.ee", &["--to", "ncb.fr", "-s", "Both", "--body", "One body, two wraps"]);
    fed.await_delivered("ncb.sg", &id);
    let receipts = fed.receipts("ncb.sg", &id, "delivery");
    let issuers: BTreeSet<&str> = receipts.iter().map(|receipt| receipt["issuer"].as_str().unwrap()).collect();
    assert_eq!(issuers, BTreeSet::from(["ncb.ee", "ncb.fr"]));
    for agency in ["ncb.ee", "ncb.fr"] {
        assert_eq!(arrived(&fed.inbox(agency), std::slice::from_ref(&id)).len(), 1, "{agency}");
        let read = fed.objects(agency, &["read", &id]);
        assert_eq!(
            (&read[0]["text"], &read[0]["to"]),
            (&"One body, two wraps".into(), &["ncb.ee", "ncb.fr"][..].into())
        );
    }
}

#[test]
fn a_message_waits_at_the_relay_for_a_daemon_that_is_off() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    assert_eq!(fed.stop("ncb.ee"), Some(0));
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", "Later", "--body", "You sleep"]);
    eventually("custody of eu-1", || {
        let trace = fed.trace("ncb.sg", &id);
        (trace["recipients"][0]["holder"] == "eu-1").then_some(())
    });
    let queued = fed.relay("eu-1", &["queue", "show", "ncb.ee"]).success().stdout;
    assert!(queued.contains(&id[..10]), "{queued}");
    let held = fed.relay("eu-1", &["trace", &id[..10]]).success().stdout;
    assert!(held.contains("accepted  for ncb.ee  with ap-1") && held.contains("in custody here:"), "{held}");
    // The sender may leave in the meantime.
    assert_eq!(fed.stop("ncb.sg"), Some(0));
    fed.start_node("ncb.ee");
    eventually("the message", || (!fed.inbox("ncb.ee").is_empty()).then_some(()));
    assert_eq!(ids(&fed.inbox("ncb.ee")), [id.as_str()]);
    let left = fed.relay("eu-1", &["trace", &id]).success().stdout;
    assert!(left.contains("forwarded  with ncb.ee") && left.contains("not in custody here"), "{left}");
    fed.start_node("ncb.sg");
    fed.await_delivered("ncb.sg", &id);
}
