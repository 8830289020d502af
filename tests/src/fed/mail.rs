//! Sending, and looking what came.

use serde_json::Value;

use super::{Federation, eventually};

impl Federation {
    /// Sends a message, TLP:GREEN, as further said in `arguments`; its id.
    ///
    /// # Panics
    /// It is refused.
    #[must_use]
    pub fn send(&self, from: &str, to: &str, arguments: &[&str]) -> String {
        let common = ["send", "--yes", "--to", to, "--tlp", "green"];
        let submitted = self.objects(from, &[&common, arguments].concat());
        text(&submitted[0], "id")
    }

    /// The whole inbox of `agency`, in the order in which it was filled.
    ///
    /// # Panics
    /// The daemon does not answer.
    #[must_use]
    pub fn inbox(&self, agency: &str) -> Vec<Value> {
        self.list(agency, "inbox")
    }

    /// The whole `inbox` or `outbox` of `agency`, in the order in which it was filled.
    ///
    /// # Panics
    /// The daemon does not answer.
    #[must_use]
    pub fn list(&self, agency: &str, name: &str) -> Vec<Value> {
        let mut all = Vec::new();
        let mut after = 0;
        loop {
            let path = format!("/v1/{name}?after={after}&limit=500&order=oldest");
            let page = self.get(agency, &path).expect("a list");
            let items = page["items"].as_array().expect("items").clone();
            let Some(last) = items.last() else { return all };
            after = last["seq"].as_u64().expect("a sequence number");
            all.extend(items);
        }
    }

    /// Where a sent message is, as its sender knows from verified receipts.
    ///
    /// # Panics
    /// The daemon does not answer, or does not know it.
    #[must_use]
    pub fn trace(&self, sender: &str, id: &str) -> Value {
        self.get(sender, &format!("/v1/messages/{id}/custody")).expect("a trace")
    }

    /// Waits until every recipient's delivery receipt is in.
    ///
    /// # Panics
    /// One does not come in time.
    pub fn await_delivered(&self, sender: &str, id: &str) {
        self.await_state(sender, id, "delivered");
    }

    /// Waits until a sent message as a whole is in this state.
    ///
    /// # Panics
    /// It does not get there in time.
    pub fn await_state(&self, sender: &str, id: &str, state: &str) {
        let mut last = Value::Null;
        eventually(&format!("state {state} of {id}, sent by {sender}"), || {
            last = self.trace(sender, id);
            (last["state"] == state).then_some(())
        });
    }

    /// The receipts about a sent message that are of this kind.
    ///
    /// # Panics
    /// The daemon does not answer, or a receipt does not verify.
    #[must_use]
    pub fn receipts(&self, sender: &str, id: &str, kind: &str) -> Vec<Value> {
        let all = self.objects(sender, &["receipts", id]);
        assert!(all.iter().all(|receipt| receipt["verified"] == true), "{all:?}");
        all.into_iter().filter(|receipt| receipt["kind"] == kind).collect()
    }
}

/// A text of an object.
///
/// # Panics
/// It has none of this name.
#[must_use]
pub(super) fn text(object: &Value, name: &str) -> String {
    object[name].as_str().unwrap_or_else(|| panic!("no {name} in {object}")).to_owned()
}
