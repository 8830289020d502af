//! Power cuts.

use std::thread::sleep;
use std::time::Duration;

use liaison_tests::disk::Loss;
use liaison_tests::draw::Draw;
use liaison_tests::fed::eventually;

use crate::shared::{Site, setting};

/// Each cut comes just before a change of the disk, or a sync: in the middle of commits, and of starts.
// [CUST-1] [CUST-2]
#[test]
fn power_cuts_between_any_two_changes_of_a_disk_lose_nothing_and_deliver_nothing_twice() {
    let (cuts, seed) = (setting("LIAISON_POWER_CUTS", 8), setting("LIAISON_POWER_SEED", 3));
    let mut draw = Draw::new(seed);
    let mut site = Site::start();
    let nodes = site.fed.nodes();
    let mut total = Loss::default();
    for cut in 0..cuts {
        let node = &nodes[usize::try_from(cut).unwrap() % nodes.len()];
        site.cut(node, Some(draw.next()));
        // Every other time before a sync: then something is always lost.
        let (kind, step) = if cut % 2 == 0 { ("any", 1 + draw.below(40)) } else { ("sync", 4 + draw.below(12)) };
        site.plan(node, &format!("{kind}@{step}=CUT"));
        site.fed.launch(node);
        for number in 0.. {
            assert!(number < 60, "{node} does not come to {kind} {step} of its disk");
            for (from, to) in [("ncb.sg", "ncb.ee"), ("ncb.ee", "ncb.sg")] {
                // A daemon that has ended takes nothing until it is started again.
                if site.fed.runs(from) {
                    site.try_send(from, to, &format!("{from}/{cut}/{number}"));
                }
            }
            if !site.fed.runs(node) {
                break;
            }
        }
        site.fed.await_end(node);
        // Every third time nothing survives that was not synced; else some of it does, torn.
        let loss = site.disk(node).cut_power((cut % 3 != 0).then(|| draw.next()));
        site.plan(node, "");
        site.fed.start_node(node);
        total = Loss {
            writes: total.writes + loss.writes,
            survived: total.survived + loss.survived,
            names: total.names + loss.names,
        };
    }
    eprintln!("LIAISON_POWER_SEED={seed}: {cuts} power cuts, {} messages, {total:?}", site.sent_count());
    assert!(total.writes > 0, "power was cut {cuts} times, and no write was ever lost: does the library bite?");
    site.check();
}

/// The same cut after syncs that covered nothing: this test's power cuts would show a store that does not sync. What is
/// lost so is named by the relay before, and sent again.
#[test]
fn syncs_that_cover_nothing_lose_a_message_that_honest_ones_keep() {
    for (lies, arrives) in [(false, true), (true, false)] {
        let mut site = Site::start();
        assert_eq!((site.fed.stop("eu-1"), site.fed.stop("ncb.ee")), (Some(0), Some(0)));
        site.disk("eu-1").cut_power(None);
        site.plan("eu-1", if lies { "sync@1=LIE" } else { "" });
        site.fed.start_node("eu-1");
        site.send("ncb.sg", "ncb.ee", "wanted");
        let queued = || {
            let status = site.fed.get("ncb.sg", "/v1/outbox?limit=1").ok()?;
            let id = status["items"][0]["id"].as_str()?.to_owned();
            site.fed.receipts("ncb.sg", &id, "custody").iter().any(|receipt| receipt["issuer"] == "eu-1").then_some(())
        };
        eventually("custody at eu-1", queued);
        let loss = site.cut("eu-1", None);
        assert!(!lies || loss.writes > 0, "{loss:?}");
        // While the relay before it is away, nobody can notice and send it again.
        site.fed.kill("ap-1");
        site.plan("eu-1", "");
        site.fed.start_node("eu-1");
        site.fed.start_node("ncb.ee");
        sleep(Duration::from_secs(4));
        assert_eq!(site.fed.inbox("ncb.ee").len() == 1, arrives, "with syncs that lie: {lies}; {loss:?}");
        site.fed.start_node("ap-1");
        eventually("the message, sent again where it was lost", || (site.fed.inbox("ncb.ee").len() == 1).then_some(()));
    }
}
