//! A relay is gone for a while.

use std::fs;

use liaison_protocol::Hash;
use liaison_tests::fed::{Federation, Plan, eventually};

use crate::shared::{Dice, ids};

const PRECEDENCES: [&str; 4] = ["routine", "priority", "immediate", "flash"];

#[test]
fn ten_messages_sent_into_an_outage_arrive_once_each_flash_first() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    fed.kill("eu-1");
    let sent: Vec<(String, usize)> = (0..10)
        .map(|number| {
            let rank = number % PRECEDENCES.len();
            let subject = format!("Into the outage {number}");
            let id = fed.send(
                "ncb.sg",
                "ncb.ee",
                &["-s", &subject, "--body", "Will it arrive?", "--precedence", PRECEDENCES[rank]],
            );
            (id, rank)
        })
        .collect();
    assert!(fed.inbox("ncb.ee").is_empty());
    fed.start_node("eu-1");
    for (id, _) in &sent {
        fed.await_delivered("ncb.sg", id);
        assert_eq!(fed.receipts("ncb.sg", id, "delivery").len(), 1);
    }
    let inbox = fed.inbox("ncb.ee");
    let mut arrived = ids(&inbox);
    let mut wanted: Vec<&str> = sent.iter().map(|(id, _)| id.as_str()).collect();
    let rank = |id: &&str| sent.iter().find(|(sent, _)| sent == id).unwrap().1;
    let ranks: Vec<usize> = arrived.iter().map(rank).collect();
    arrived.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(arrived, wanted);
    let last_flash = ranks.iter().rposition(|rank| *rank == 3).unwrap();
    let first_routine = ranks.iter().position(|rank| *rank == 0).unwrap();
    assert!(last_flash < first_routine, "{ranks:?}");
}

#[test]
fn an_attachment_that_a_killed_relay_held_arrives_whole() {
    const BYTES: usize = 3 << 20;
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    let mut dice = Dice::new(42);
    let octets: Vec<u8> = std::iter::repeat_with(|| dice.next().to_le_bytes()).flatten().take(BYTES).collect();
    let file = fed.scratch().join("hits.bin");
    fs::write(&file, &octets).unwrap();
    // With nobody to hand it on to, the relay holds what it has taken.
    assert_eq!(fed.stop("ncb.ee"), Some(0));
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", "Hits", "--body", "Attached", "-a", file.to_str().unwrap()]);
    eventually("chunks at eu-1", || {
        let queues = fed.relay("eu-1", &["--json", "queues"]).success().objects();
        queues.iter().any(|queue| queue["entries"].as_u64() > Some(2)).then_some(())
    });
    fed.kill("eu-1");
    fed.start_node("ncb.ee");
    fed.start_node("eu-1");
    fed.await_delivered("ncb.sg", &id);

    let folder = fed.scratch().join("saved");
    fs::create_dir(&folder).unwrap();
    let saved = fed.objects("ncb.ee", &["save", &id, "-o", folder.to_str().unwrap()]);
    assert_eq!(saved.len(), 1, "{saved:?}");
    assert_eq!((&saved[0]["name"], &saved[0]["bytes"]), (&"hits.bin".into(), &BYTES.into()));
    assert_eq!(saved[0]["sha256"], Hash::of(&[&octets]).to_string());
    assert!(fs::read(saved[0]["path"].as_str().unwrap()).unwrap() == octets, "the saved file differs");
}

#[test]
fn one_of_two_home_relays_is_enough_on_either_side() {
    let fed = Federation::start(&Plan { relays_per_region: 2, agencies: 2, ..Plan::default() });
    let mut sent = vec![fed.send("ncb.sg", "ncb.ee", &["-s", "All there", "--body", "x"])];
    fed.await_delivered("ncb.sg", &sent[0]);
    for dead in ["eu-1", "ap-1"] {
        fed.kill(dead);
        let id = fed.send("ncb.sg", "ncb.ee", &["-s", &format!("Without {dead}"), "--body", "x"]);
        fed.await_delivered("ncb.sg", &id);
        sent.push(id);
    }
    assert_eq!(ids(&fed.inbox("ncb.ee")), sent);
}

// [CUST-14] [CUST-15]
#[test]
fn flash_goes_by_the_other_home_relay_whether_the_first_drains_or_dies_with_it() {
    let fed = Federation::make(&Plan { relays_per_region: 2, agencies: 2, ..Plan::default() });
    fed.configure_agency("ncb.sg", "\n[outbox]\nanother_way_flash = \"5s\"\n");
    fed.start_all();
    let flash = |subject| fed.send("ncb.sg", "ncb.ee", &["-s", subject, "--body", "x", "--precedence", "flash"]);
    let _drained = fed.relay("ap-1", &["drain"]).success();
    let refused = flash("Refused by ap-1");
    fed.await_delivered("ncb.sg", &refused);
    let _open = fed.relay("ap-1", &["undrain"]).success();

    assert_eq!(fed.stop("ncb.ee"), Some(0));
    let held = flash("Held by eu-1");
    eventually("custody of eu-1", || (fed.trace("ncb.sg", &held)["recipients"][0]["holder"] == "eu-1").then_some(()));
    fed.kill("eu-1");
    fed.start_node("ncb.ee");
    fed.await_delivered("ncb.sg", &held);
    let shown = fed.liaison("ncb.sg", &["status", &held]).success().stdout;
    assert!(shown.contains("attempt 2: eu-1 has not answered for "), "{shown}");
    assert_eq!(ids(&fed.inbox("ncb.ee")), [refused, held]);
}
