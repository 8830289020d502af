//! One federation for all tests that disturb nobody.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use liaison_tests::fed::{Federation, Plan};
use serde_json::Value;

/// The federation that tests share as long as one of them uses it: a static would never be dropped, and its processes
/// would outlive the tests.
pub(crate) fn calm() -> Arc<Federation> {
    static CALM: Mutex<Weak<Federation>> = Mutex::new(Weak::new());
    let mut calm = CALM.lock().unwrap_or_else(PoisonError::into_inner);
    calm.upgrade().unwrap_or_else(|| {
        let started = Arc::new(Federation::start(&Plan::default()));
        *calm = Arc::downgrade(&started);
        started
    })
}

/// The ids of these messages, in their order.
pub(crate) fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["id"].as_str().unwrap()).collect()
}

/// Those of `inbox` that are among `wanted`, in the inbox's order.
pub(crate) fn arrived<'a>(inbox: &'a [Value], wanted: &[String]) -> Vec<&'a str> {
    ids(inbox).into_iter().filter(|id| wanted.iter().any(|wanted| wanted == id)).collect()
}
