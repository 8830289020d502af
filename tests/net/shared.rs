//! Mail from one agency to another while something happens to the network or to a relay.

use std::time::{Duration, Instant};

use liaison_tests::fed::{Federation, eventually_within};

/// What a loaded machine may take where a second is promised.
pub(crate) const LOADED: Duration = Duration::from_secs(10);

const FROM: &str = "ncb.sg";
const TO: &str = "ncb.ee";

/// See the module.
pub(crate) struct Mail<'a> {
    fed: &'a Federation,
    sent: Vec<String>,
}

impl<'a> Mail<'a> {
    pub(crate) const fn over(fed: &'a Federation) -> Self {
        Self { fed, sent: Vec::new() }
    }

    /// The id of one more message, accepted.
    pub(crate) fn send(&mut self) -> String {
        self.send_with(&[])
    }

    /// The same, with an attachment of so many bytes.
    pub(crate) fn send_large(&mut self, bytes: usize) -> String {
        let file = self.fed.scratch().join(format!("large-{}.bin", self.sent.len()));
        std::fs::write(&file, vec![7; bytes]).unwrap();
        self.send_with(&["-a", file.to_str().unwrap()])
    }

    fn send_with(&mut self, arguments: &[&str]) -> String {
        let subject = self.sent.len().to_string();
        let id = self.fed.send(FROM, TO, &[&["-s", &subject, "--body", "x"], arguments].concat());
        self.sent.push(id.clone());
        id
    }

    pub(crate) fn send_and_wait(&mut self) {
        let id = self.send();
        self.fed.await_delivered(FROM, &id);
    }

    /// What happened to the network did happen.
    pub(crate) fn still_open(&self, id: &str) {
        assert_ne!(self.fed.trace(FROM, id)["state"], "delivered", "nothing was in its way");
    }

    /// It is delivered and receipted soon; prints how soon.
    pub(crate) fn recovers(&self, when: &str, id: &str, within: Duration) {
        let began = Instant::now();
        eventually_within(within, &format!("the delivery receipt {when}"), || {
            (self.fed.trace(FROM, id)["state"] == "delivered").then_some(())
        });
        eprintln!("delivered and receipted {when}: {:.2?}", began.elapsed());
    }

    /// Everything that was accepted is in the inbox, once, and nothing else is.
    pub(crate) fn each_once(mut self) {
        self.sent.iter().for_each(|id| self.fed.await_delivered(FROM, id));
        let inbox = self.fed.inbox(TO);
        let mut arrived: Vec<&str> = inbox.iter().map(|item| item["id"].as_str().unwrap()).collect();
        arrived.sort_unstable();
        self.sent.sort_unstable();
        assert_eq!(arrived, self.sent, "each once");
    }
}
