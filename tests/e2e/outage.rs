//! A relay is gone for a while.

use liaison_tests::fed::{Federation, Plan};

use crate::shared::ids;

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
