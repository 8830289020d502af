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

/// A number from the environment.
pub(crate) fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}: a number, not {text}")))
}

/// Same seed, same throws: SplitMix64.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// From 0 up to, and without, `bound`.
    pub(crate) const fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.below(items.len() as u64)).unwrap()]
    }
}
