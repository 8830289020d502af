//! What nobody fetched in time. Tests start in the order of their names, and this one mostly waits: it begins.

use std::time::Duration;

use liaison_tests::fed::{Federation, Plan, eventually, eventually_within};

use crate::shared::ids;

// [CUST-9]
#[test]
fn an_expired_message_ends_in_a_signed_notice_and_never_arrives() {
    let fed = Federation::start(&Plan { agencies: 2, ..Plan::default() });
    assert_eq!(fed.stop("ncb.ee"), Some(0));
    let id = fed.send("ncb.sg", "ncb.ee", &["-s", "Too late", "--body", "x", "--expires", "60s"]);
    eventually("custody of eu-1", || (fed.trace("ncb.sg", &id)["recipients"][0]["holder"] == "eu-1").then_some(()));
    eventually_within(Duration::from_secs(90), "a notice", || {
        (fed.trace("ncb.sg", &id)["state"] == "undeliverable").then_some(())
    });
    let trace = fed.trace("ncb.sg", &id);
    assert_eq!(trace["recipients"][0]["state"], "expired", "{trace}");
    let notices = fed.receipts("ncb.sg", &id, "non_delivery");
    assert_eq!(notices.len(), 1, "{notices:?}");
    assert_eq!(notices[0]["issuer"], "eu-1");
    assert_eq!(fed.liaison("ncb.sg", &["status", &id]).code, 1);
    fed.start_node("ncb.ee");
    let next = fed.send("ncb.sg", "ncb.ee", &["-s", "In time", "--body", "x"]);
    fed.await_delivered("ncb.sg", &next);
    let inbox = fed.inbox("ncb.ee");
    assert_eq!(ids(&inbox), [next.as_str()]);
}
