//! Two regions with bad weather between them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use liaison_tests::fed::{Federation, Plan, eventually_within};
use liaison_tests::net::{Counts, Stretch, Weather};

const PRECEDENCES: [&str; 4] = ["routine", "priority", "immediate", "flash"];

/// Two relays with a stretch of network between them, whoever dials.
fn site(seed: u64) -> (Federation, [Stretch; 2]) {
    let fed = Federation::make(&Plan { agencies: 2, ..Plan::default() });
    let stretches = [("ap-1", "eu-1"), ("eu-1", "ap-1")].map(|(from, to)| {
        let stretch = Stretch::to(fed.quic_address(to), seed);
        fed.redirect(from, to, stretch.address());
        stretch
    });
    fed.start_all();
    (fed, stretches)
}

/// Sends both ways, at all precedences; everything arrives once, in `patience`. Gives what the network did.
fn exchange(
    fed: &Federation,
    stretches: &[Stretch; 2],
    weather: Weather,
    messages: usize,
    patience: Duration,
) -> Counts {
    stretches.iter().for_each(|stretch| stretch.set(weather));
    let before = [fed.inbox("ncb.ee").len(), fed.inbox("ncb.sg").len()];
    let begun = Instant::now();
    let mut sent = [BTreeSet::new(), BTreeSet::new()];
    for number in 0..messages {
        let (subject, precedence) = (number.to_string(), PRECEDENCES[number % 4]);
        let arguments = ["-s", &subject, "--body", "x", "--precedence", precedence];
        sent[0].insert(fed.send("ncb.sg", "ncb.ee", &arguments));
        sent[1].insert(fed.send("ncb.ee", "ncb.sg", &arguments));
    }
    for agency in ["ncb.sg", "ncb.ee"] {
        eventually_within(patience, &format!("the last delivery receipt at {agency}"), || {
            (fed.get(agency, "/v1/status").ok()?["outbox"]["open"] == 0).then_some(())
        });
    }
    let counts = stretches.iter().map(Stretch::counts).max_by_key(|counts| counts.received).unwrap();
    eprintln!("{weather:?}: {} messages in {:?}, {counts:?}", 2 * messages, begun.elapsed());
    for (index, agency) in ["ncb.ee", "ncb.sg"].into_iter().enumerate() {
        let inbox = fed.inbox(agency);
        let new: Vec<String> =
            inbox[before[index]..].iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(new.len(), messages, "at {agency}: {new:?}");
        assert_eq!(new.into_iter().collect::<BTreeSet<_>>(), sent[index], "at {agency}");
    }
    counts
}

#[test]
fn everything_arrives_once_over_lossy_reordering_duplicating_and_damaging_networks() {
    let (fed, stretches) = site(11);
    let satellite = Weather {
        delay: Duration::from_millis(300),
        jitter: Duration::from_millis(30),
        lost: 10,
        ..Weather::default()
    };
    let counts = exchange(&fed, &stretches, satellite, 10, Duration::from_secs(30));
    assert!(counts.received > 20, "the mail went another way: {counts:?}");
    let storm = Weather {
        delay: Duration::from_millis(40),
        jitter: Duration::from_millis(40),
        lost: 100,
        repeated: 50,
        reordered: 100,
        damaged: 20,
        bits_per_second: None,
    };
    let counts = exchange(&fed, &stretches, storm, 20, Duration::from_secs(60));
    assert!(counts.lost > 0 && counts.repeated > 0 && counts.reordered > 0, "{counts:?}");
}

#[test]
fn flash_does_not_wait_behind_an_attachment_at_fifty_kilobits_a_second() {
    let (fed, stretches) = site(12);
    let slow =
        Weather { delay: Duration::from_millis(100), lost: 5, bits_per_second: Some(50_000), ..Weather::default() };
    stretches.iter().for_each(|stretch| stretch.set(slow));
    let file = fed.scratch().join("large.bin");
    // Two chunks: more than a minute and a half of this link.
    std::fs::write(&file, vec![7; 300_000]).unwrap();
    let path = file.to_str().unwrap();
    let large = fed.send("ncb.sg", "ncb.ee", &["-s", "Large", "--body", "x", "-a", path]);
    std::thread::sleep(Duration::from_secs(4));
    let begun = Instant::now();
    let flash = fed.send("ncb.sg", "ncb.ee", &["-s", "Flash", "--body", "x", "--precedence", "flash"]);
    fed.await_delivered("ncb.sg", &flash);
    eprintln!("flash over 50 kbit/s beside an attachment: {:?}", begun.elapsed());
    assert_ne!(fed.trace("ncb.sg", &large)["state"], "delivered", "the link was not slow");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
}
