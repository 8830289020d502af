//! Every node is killed at random moments while mail flows.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use liaison_tests::fed::{Federation, Plan, eventually, eventually_within};

use crate::shared::{Dice, ids, setting};

/// From whom to whom; more than one recipient is a fan-out.
const WAYS: [(&str, &[&str]); 5] = [
    ("ncb.sg", &["ncb.ee"]),
    ("ncb.sg", &["ncb.ee", "ncb.fr"]),
    ("ncb.ee", &["ncb.sg"]),
    ("ncb.fr", &["ncb.ee", "ncb.sg"]),
    ("ncb.fr", &["ncb.sg"]),
];
const PRECEDENCES: [&str; 4] = ["routine", "priority", "immediate", "flash"];
const SENDERS: u64 = 2;

struct Sent {
    id: String,
    from: &'static str,
    to: &'static [&'static str],
}

// [CUST-1] [CUST-2] [CUST-5] [CUST-12]
#[test]
fn every_accepted_message_arrives_once_though_every_node_is_killed_meanwhile() {
    let messages = setting("LIAISON_E2E_MESSAGES", 150);
    let seed = setting("LIAISON_E2E_SEED", 7);
    eprintln!("LIAISON_E2E_MESSAGES={messages} LIAISON_E2E_SEED={seed}");
    let fed = Federation::start(&Plan::default());
    let started = Instant::now();
    let sending = AtomicUsize::new(usize::try_from(SENDERS).unwrap());
    let (sent, kills) = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS)
            .map(|sender| {
                let (fed, sending) = (&fed, &sending);
                scope.spawn(move || {
                    let _guard = Countdown(sending);
                    send_all(fed, seed, sender, messages / SENDERS)
                })
            })
            .collect();
        let kills = kill_all(&fed, seed, &sending);
        let sent: Vec<Sent> = senders.into_iter().flat_map(|sender| sender.join().unwrap()).collect();
        (sent, kills)
    });
    eprintln!("{} messages and {kills} kills in {:?}", sent.len(), started.elapsed());
    let patience = Duration::from_secs(60 + messages / 10);
    for agency in fed.agencies() {
        eventually_within(patience, &format!("the last delivery receipt at {agency}"), || {
            (fed.get(&agency, "/v1/status").ok()?["outbox"]["open"] == 0).then_some(())
        });
    }
    eprintln!("all delivered after {:?}", started.elapsed());
    check(&fed, &sent);
}

/// By id: what was accepted is delivered, says the sender; it is in its recipients' inboxes once, and nothing else is.
fn check(fed: &Federation, sent: &[Sent]) {
    for Sent { id, from, .. } in sent {
        assert_eq!(fed.trace(from, id)["state"], "delivered", "{id} of {from}");
    }
    for agency in fed.agencies() {
        let inbox = fed.inbox(&agency);
        let wanted: BTreeSet<&str> =
            sent.iter().filter(|sent| sent.to.contains(&agency.as_str())).map(|sent| sent.id.as_str()).collect();
        let arrived = ids(&inbox);
        assert_eq!(arrived.iter().copied().collect::<BTreeSet<_>>(), wanted, "at {agency}");
        assert_eq!(arrived.len(), wanted.len(), "twice at {agency}: {arrived:?}");
        assert!(inbox.iter().all(|item| item["verified"] == true), "at {agency}");
    }
}

/// Tells the killer that a sender has ended, however it ended.
struct Countdown<'a>(&'a AtomicUsize);

impl Drop for Countdown<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

fn send_all(fed: &Federation, seed: u64, sender: u64, count: u64) -> Vec<Sent> {
    let mut dice = Dice::new(seed.wrapping_mul(31).wrapping_add(sender));
    let send = |number| {
        let (from, to) = *dice.pick(&WAYS);
        let precedence = *dice.pick(&PRECEDENCES);
        let body = "x".repeat(usize::try_from(dice.below(4_000)).unwrap());
        sleep(Duration::from_millis(dice.below(100)));
        let (subject, key) = (format!("{sender}/{number}"), format!("chaos-{sender}-{number}"));
        let mut arguments = vec!["--json", "send", "--yes", "--tlp", "green", "-s", &subject, "--body", &body];
        arguments.extend(["--precedence", precedence, "--id-key", &key]);
        to.iter().for_each(|agency| arguments.extend(["--to", agency]));
        // The daemon may be dead, or die between accepting and saying so: the same key asks again for the same message.
        let submitted = eventually(&format!("{from} to take {subject}"), || {
            let ended = fed.liaison(from, &arguments);
            match ended.code {
                0 => Some(ended.objects().remove(0)),
                69 | 74 | 75 => None,
                _ => panic!("{ended:?}"),
            }
        });
        Sent { id: submitted["id"].as_str().unwrap().into(), from, to }
    };
    (0..count).map(send).collect()
}

/// Round after round over all nodes in random order, until everything is sent and each was killed at least once.
fn kill_all(fed: &Federation, seed: u64, sending: &AtomicUsize) -> usize {
    let mut dice = Dice::new(seed);
    let mut kills = 0;
    loop {
        let mut nodes = fed.nodes();
        while !nodes.is_empty() {
            let node = nodes.remove(usize::try_from(dice.below(nodes.len() as u64)).unwrap());
            sleep(Duration::from_millis(100 + dice.below(500)));
            fed.kill(&node);
            sleep(Duration::from_millis(dice.below(600)));
            fed.start_node(&node);
            kills += 1;
        }
        if sending.load(Ordering::SeqCst) == 0 {
            return kills;
        }
    }
}
