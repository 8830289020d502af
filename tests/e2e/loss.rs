//! A relay comes back without its disk: nothing is lost, and nothing arrives twice.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use liaison_tests::fed::{Federation, Plan, eventually, eventually_within};
use serde_json::Value;

use crate::shared::{Dice, ids};

/// How long everything may take to arrive again. Inquiries are hourly: here somebody asks.
const PATIENCE: Duration = Duration::from_secs(90);

fn hop<'a>(trace: &'a Value, stage: &str) -> Option<&'a Value> {
    trace["hops"].as_array()?.iter().find(|hop| hop["stage"] == stage)
}

fn held_at(fed: &Federation, sender: &str, id: &str, holder: &str) {
    eventually(&format!("custody of {holder}"), || {
        (fed.trace(sender, id)["recipients"][0]["holder"] == holder).then_some(())
    });
}

/// Asks after everything until nothing is open any more.
fn retry_until_delivered(fed: &Federation, sender: &str) {
    eventually_within(PATIENCE, &format!("the last delivery receipt at {sender}"), || {
        if fed.get(sender, "/v1/status").ok()?["outbox"]["open"] == 0 {
            return Some(());
        }
        let _asked = fed.liaison(sender, &["retry"]);
        sleep(Duration::from_secs(1));
        None
    });
}

// [CUST-12] [INQ-1] [INQ-3]
#[test]
fn an_inquiry_is_passed_on_and_tells_who_holds_the_message_or_has_lost_it() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    assert_eq!(fed.stop("ncb.ee"), Some(0));
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", "Where is it", "--body", "x"]);
    held_at(&fed, "ncb.sg", &id, "eu-1");
    let asked = |wanted: &str| {
        eventually(wanted, || {
            assert_eq!(fed.liaison("ncb.sg", &["retry", &id]).code, 0);
            sleep(Duration::from_millis(300));
            let said = fed.trace("ncb.sg", &id)["recipients"][0]["detail"].as_str().unwrap().to_owned();
            (said == wanted).then_some(())
        });
    };
    // ap-1 has handed it over, and asks eu-1.
    asked("held at eu-1 until the next hand-over");
    fed.kill("eu-1");
    eventually("the end of the link", || {
        let links = fed.relay("ap-1", &["--json", "links"]).success().objects();
        links.iter().any(|link| link["peer"] == "eu-1" && link["up"] == false).then_some(())
    });
    asked("handed over by ap-1 to eu-1, which has not answered yet");
    fed.start_node("eu-1");
    asked("held at eu-1 until the next hand-over");
    fed.start_node("ncb.ee");
    fed.await_delivered("ncb.sg", &id);
    assert_eq!(hop(&fed.trace("ncb.sg", &id), "resubmitted"), None, "nobody had lost it");
    assert_eq!(ids(&fed.inbox("ncb.ee")), [id.as_str()]);
}

// [CUST-4] [CUST-5] [CUST-12]
#[test]
fn a_relay_whose_disk_is_destroyed_under_load_loses_no_message_and_none_arrives_twice() {
    let fed = Federation::start(&Plan::default());
    let mut lost = Vec::new();
    // What eu-1 is sure to hold when it dies: nobody is there to take it.
    assert_eq!(fed.stop("ncb.ee"), Some(0));
    for number in 0..20 {
        lost.push(fed.send("ncb.sg", "ncb.ee", &["-s", &format!("Held {number}"), "--body", "x"]));
    }
    held_at(&fed, "ncb.sg", &lost[19], "eu-1");
    let stop = AtomicBool::new(false);
    let flowing: Vec<(&str, String)> = std::thread::scope(|scope| {
        let ways = [("ncb.sg", "ncb.fr"), ("ncb.fr", "ncb.sg")];
        let senders = ways.map(|(from, to)| {
            let (fed, stop) = (&fed, &stop);
            scope.spawn(move || {
                let mut sent = Vec::new();
                let mut dice = Dice::new(from.len() as u64 + u64::from(from.as_bytes()[4]));
                while !stop.load(Ordering::SeqCst) {
                    let subject = format!("Flowing {}", sent.len());
                    let body = "x".repeat(usize::try_from(dice.below(4_000)).unwrap());
                    sent.push((to, fed.send(from, to, &["-s", &subject, "--body", &body])));
                }
                sent
            })
        });
        for relay in ["eu-1", "ap-1"] {
            sleep(Duration::from_secs(2));
            fed.kill(relay);
            fed.destroy_store(relay);
            sleep(Duration::from_millis(500));
            fed.start_node(relay);
        }
        sleep(Duration::from_secs(1));
        stop.store(true, Ordering::SeqCst);
        senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect()
    });
    fed.start_node("ncb.ee");
    for sender in ["ncb.sg", "ncb.fr"] {
        retry_until_delivered(&fed, sender);
    }
    let mut resubmitted = 0;
    for id in &lost {
        let trace = fed.trace("ncb.sg", id);
        assert_eq!(trace["state"], "delivered", "{trace}");
        resubmitted += usize::from(hop(&trace, "resubmitted").is_some());
    }
    // Both the relay that held them and the one that knew of it had forgotten them.
    assert_eq!(resubmitted, lost.len(), "the sender's status shows what was sent again");
    let shown = fed.liaison("ncb.sg", &["status", &lost[0]]).success().stdout;
    assert!(shown.contains("attempt 2: "), "{shown}");
    eprintln!("{} messages flowed, {} were held by the relay that was destroyed", flowing.len(), lost.len());
    for agency in fed.agencies() {
        let inbox = fed.inbox(&agency);
        let arrived = ids(&inbox);
        let flowed = flowing.iter().filter(|(to, _)| *to == agency).map(|(_, id)| id.as_str());
        let held = lost.iter().filter(|_| agency == "ncb.ee").map(String::as_str);
        let wanted: BTreeSet<&str> = flowed.chain(held).collect();
        assert_eq!(arrived.iter().copied().collect::<BTreeSet<_>>(), wanted, "at {agency}");
        assert_eq!(arrived.len(), wanted.len(), "twice at {agency}: {arrived:?}");
    }
}

// [CONS-1] [CONS-2]
#[test]
fn what_a_relay_lost_with_its_disk_is_named_by_its_peers_books_and_sent_again_unasked() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    assert_eq!(fed.stop("ncb.ee"), Some(0));
    let send = |number| fed.send("ncb.sg", "ncb.ee", &["-s", &format!("Booked {number}"), "--body", "x"]);
    let mut sent: Vec<String> = (0..12).map(send).collect();
    sent.iter().for_each(|id| held_at(&fed, "ncb.sg", id, "eu-1"));
    let agreed = fed.relay("ap-1", &["--json", "audit", "--compare"]).success().objects();
    assert_eq!(agreed.len(), 1, "{agreed:?}");
    assert_eq!((&agreed[0]["peer"], &agreed[0]["state"]), (&"eu-1".into(), &"agreed".into()));
    assert_eq!((&agreed[0]["released"], &agreed[0]["missing"]), (&12.into(), &0.into()));
    let theirs = fed.relay("eu-1", &["--json", "audit"]).success().objects();
    assert_eq!(theirs[0]["accepted"], 12);

    fed.kill("eu-1");
    fed.destroy_store("eu-1");
    fed.start_node("eu-1");
    let mut named: Vec<String> = eventually("a finding at ap-1", || {
        let audit = fed.relay("ap-1", &["--json", "audit"]);
        let named = audit.objects().first()?["named"].as_array()?.clone();
        (audit.code == 1).then(|| named.iter().map(|entry| entry["id"].as_str().unwrap().to_owned()).collect())
    });
    named.sort_unstable();
    sent.sort_unstable();
    assert_eq!(named, sent);
    let status = fed.relay("ap-1", &["status"]);
    assert!(status.stdout.contains("eu-1 does not know 12 entries"), "{status:?}");
    // Nobody asks: the books were enough.
    for id in &sent {
        let mut trace = Value::Null;
        let again = |trace: &Value| hop(trace, "resubmitted").is_some() && trace["recipients"][0]["holder"] == "eu-1";
        let deadline = Instant::now() + PATIENCE;
        while !again(&trace) {
            assert!(Instant::now() < deadline, "{trace:#}");
            sleep(Duration::from_millis(50));
            trace = fed.trace("ncb.sg", id);
        }
    }
    fed.start_node("ncb.ee");
    sent.iter().for_each(|id| fed.await_delivered("ncb.sg", id));
    let inbox = fed.inbox("ncb.ee");
    let mut arrived = ids(&inbox);
    arrived.sort_unstable();
    assert_eq!(arrived, sent);
    let named = fed.relay("ap-1", &["audit"]);
    assert_eq!(named.stdout.matches("sent again by its sender, attempt 2").count(), 12, "{named:?}");
}

#[test]
fn a_custody_receipt_that_missed_its_sender_is_made_again_when_somebody_asks() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    assert_eq!(fed.stop("ncb.ee"), Some(0));
    fed.kill("eu-1");
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", "Where is it", "--body", "x"]);
    held_at(&fed, "ncb.sg", &id, "ap-1");
    assert_eq!(fed.stop("ncb.sg"), Some(0));
    fed.start_node("eu-1");
    eventually("the message at eu-1", || {
        (!fed.relay("eu-1", &["--json", "queues"]).success().objects().is_empty()).then_some(())
    });
    // It had kept the receipt for the sender, who was away.
    fed.kill("ap-1");
    fed.start_node("ap-1");
    fed.start_node("ncb.sg");
    eventually("the receipt of eu-1", || {
        let _asked = fed.liaison("ncb.sg", &["retry", &id]);
        sleep(Duration::from_millis(300));
        let custody = fed.receipts("ncb.sg", &id, "custody");
        custody.iter().any(|receipt| receipt["issuer"] == "eu-1").then_some(())
    });
    held_at(&fed, "ncb.sg", &id, "eu-1");
    fed.start_node("ncb.ee");
    fed.await_delivered("ncb.sg", &id);
    assert_eq!(hop(&fed.trace("ncb.sg", &id), "resubmitted"), None, "nobody had lost it");
}
