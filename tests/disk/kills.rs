//! kill -9 of the daemon between any two steps of a submission, and of a hand-over to an application.
//!
//! A step is whatever somebody could find afterwards, or be told: a change of the disk, a sync, a send over a socket. The
//! daemon is killed just before its first step, then before its second, and so on until everything is done without it.
//! `LIAISON_KILL_EVERY` chooses how many: each such step is one at which it is killed, 1 for all.

use std::thread::sleep;
use std::time::Duration;

use liaison_tests::fed::eventually;
use serde_json::{Value, json};

use crate::shared::{Site, setting};

const SENDER: &str = "ncb.sg";
const RECIPIENT: &str = "ncb.ee";
const LOOK: Duration = Duration::from_millis(5);
/// What is done after the last thing that anybody waits for, takes no longer.
const AFTERWARDS: Duration = Duration::from_millis(200);

/// The steps at which somebody is killed.
fn steps(first: u64) -> impl Iterator<Item = u64> {
    let every = usize::try_from(setting("LIAISON_KILL_EVERY", 4)).unwrap();
    (first..).step_by(every)
}

/// Until the daemon is as it is when nothing is to be done: linked, and all of its own messages delivered.
fn settle(site: &Site, agency: &str) {
    eventually(&format!("rest at {agency}"), || {
        let status = site.fed.get(agency, "/v1/status").ok()?;
        (status["links"][0]["state"] == "up" && status["outbox"]["open"] == 0).then_some(())
    });
}

fn submission(subject: &str) -> Value {
    json!({ "to": [RECIPIENT], "subject": subject, "text": "a text", "tlp": "green" })
}

/// Submits under a key; the answer, but for what is new in each.
fn submit(site: &Site, key: &str) -> Option<Value> {
    let (status, mut answer) = site.fed.post(SENDER, "/v1/messages", Some(key), &submission(key)).ok()?;
    assert!(status == 200 || status == 201, "{status}: {answer}");
    let fields = answer.as_object_mut().unwrap();
    fields.remove("repeated");
    fields.remove("fsync_ms");
    Some(answer)
}

/// All that is in the inbox of the recipient with this subject.
fn arrived(site: &Site, subject: &str) -> Vec<Value> {
    let inbox = site.fed.inbox(RECIPIENT);
    inbox.into_iter().filter(|item| item["subject"] == subject).map(|item| item["id"].clone()).collect()
}

fn is_delivered(site: &Site, id: &Value) -> bool {
    let message = site.fed.get(SENDER, &format!("/v1/messages/{}", id.as_str().unwrap()));
    message.is_ok_and(|message| message["state"] == "delivered")
}

/// Whether the daemon comes to the end of what it does without being killed.
fn survives(site: &Site, agency: &str, mut is_done: impl FnMut() -> bool) -> bool {
    while site.fed.runs(agency) && !is_done() {
        sleep(LOOK);
    }
    sleep(AFTERWARDS);
    site.fed.runs(agency)
}

// [CUST-1]
#[test]
fn a_daemon_killed_at_any_step_of_a_submission_has_it_once_under_its_key_or_not_at_all() {
    let site = Site::start();
    let mut kills = 0;
    for step in steps(1) {
        let key = format!("submission-{step}");
        settle(&site, SENDER);
        site.disk(SENDER).kill_at_step(step);
        let answered = submit(&site, &key);
        let is_done = || answered.as_ref().is_some_and(|answer| is_delivered(&site, &answer["id"]));
        let survived = survives(&site, SENDER, is_done);
        kills += u32::from(!survived);
        site.revive(SENDER);
        // Same key and content: same answer, whether there was one before or not.
        let again = eventually("the answer, again", || submit(&site, &key));
        assert!(answered.is_none_or(|answered| answered == again), "step {step}: another answer, {again}");
        eventually("the delivery receipt", || is_delivered(&site, &again["id"]).then_some(()));
        assert_eq!(arrived(&site, &key), [again["id"].clone()], "step {step}");
        if survived {
            break;
        }
    }
    eprintln!("a submission: {kills} kills");
    assert!(kills > 2, "the submission had {kills} steps: is the library there?");
    one_message_for_each_event(&site);
}

/// What an application saw that goes on from its cursor, over all lives of its daemon.
#[derive(Default)]
struct Application {
    cursor: u64,
    seen: Vec<Value>,
    taken: Vec<Value>,
}

impl Application {
    /// Asks for what is new, takes over each message that has come, and only then moves its cursor. Stops where the daemon
    /// does not answer.
    fn go_on(&mut self, site: &Site) -> Option<()> {
        let page = site.fed.get(RECIPIENT, &format!("/v1/events?after={}", self.cursor)).ok()?;
        for event in page["items"].as_array().unwrap() {
            if event["kind"] == "message.received" {
                let id = event["id"].as_str().unwrap();
                let message = site.fed.get(RECIPIENT, &format!("/v1/messages/{id}")).ok()?;
                let (status, answer) =
                    site.fed.post(RECIPIENT, &format!("/v1/inbox/{id}/ack"), None, &Value::Null).ok()?;
                assert_eq!(status, 204, "{answer}");
                self.taken.push(message["subject"].clone());
            }
            assert!(event["cursor"].as_u64() > Some(self.cursor), "{event} after {}", self.cursor);
            self.cursor = event["cursor"].as_u64().unwrap();
            self.seen.push(event.clone());
        }
        Some(())
    }
}

// [CUST-5]
#[test]
fn a_daemon_killed_at_any_step_of_a_hand_over_delivers_once_signs_for_it_and_skips_no_event() {
    let site = Site::start();
    let mut application = Application::default();
    let mut kills = 0;
    for step in steps(1) {
        let key = format!("hand-over-{step}");
        settle(&site, RECIPIENT);
        eventually("all events so far", || application.go_on(&site));
        site.disk(RECIPIENT).kill_at_step(step);
        let sent = eventually("the answer", || submit(&site, &key));
        let has_it = |application: &Application| application.taken.iter().any(|subject| *subject == key.as_str());
        let survived = survives(&site, RECIPIENT, || {
            application.go_on(&site);
            has_it(&application) && is_delivered(&site, &sent["id"])
        });
        kills += u32::from(!survived);
        site.revive(RECIPIENT);
        eventually("the message, taken over", || {
            application.go_on(&site);
            has_it(&application).then_some(())
        });
        eventually("the delivery receipt", || is_delivered(&site, &sent["id"]).then_some(()));
        assert_eq!(arrived(&site, &key), [sent["id"].clone()], "step {step}");
        if survived {
            break;
        }
    }
    eprintln!("a hand-over: {kills} kills");
    assert!(kills > 2, "the hand-over had {kills} steps: is the library there?");
    application.go_on(&site).unwrap();
    assert_eq!(application.seen, all_events(&site, RECIPIENT), "what was seen is not what there is");
    one_message_for_each_event(&site);
}

fn all_events(site: &Site, agency: &str) -> Vec<Value> {
    let mut events: Vec<Value> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event["cursor"].as_u64().unwrap());
        let page = site.fed.get(agency, &format!("/v1/events?after={after}&limit=1000")).unwrap();
        match page["items"].as_array().unwrap().as_slice() {
            [] => return events,
            more => events.extend(more.iter().cloned()),
        }
    }
}

/// Every message was announced once, and everything that was announced is there.
fn one_message_for_each_event(site: &Site) {
    for (agency, kind, list) in [(SENDER, "message.stored", "outbox"), (RECIPIENT, "message.received", "inbox")] {
        let announced = all_events(site, agency).into_iter().filter(|event| event["kind"] == kind);
        let mut announced: Vec<String> = announced.map(|event| event["id"].as_str().unwrap().into()).collect();
        let items = site.fed.list(agency, list);
        let mut held: Vec<String> = items.iter().map(|item| item["id"].as_str().unwrap().into()).collect();
        announced.sort();
        held.sort();
        assert_eq!(announced, held, "{kind} at {agency}");
    }
}
