//! Ids that nobody can send again leave the dedupe memory, however many there are.

use std::sync::Arc;

use liaison_core::op::{DedupeKey, Held, Op, Remembered};
use liaison_protocol::{Hash, MessageId, Timestamp};
use tokio::time::{Instant, sleep};

use super::fed::Fed;
use super::{Disk, PATIENCE, Relay};
use crate::store::Reads as _;
use crate::store::Store;

/// More than a relay could forget in the patience of a test while it forgot a thousand every five seconds.
const IDS: u32 = 20_000;

fn remember(number: u32, until: Timestamp) -> Op {
    let mut id = [0; 32];
    id[..4].copy_from_slice(&number.to_be_bytes());
    let key = DedupeKey { id: MessageId(Hash(id)), index: 0 };
    Op::Remember { key, record: Remembered::mark(1, Held::Released, until) }
}

// [CUST-20]
#[tokio::test]
async fn everything_that_is_due_is_forgotten_as_fast_as_commits_go() {
    let fed = Fed::new();
    let disk = Disk::new(&fed);
    let store = Arc::new(disk.open());
    let due: Vec<Op> = (0..IDS).map(|number| remember(number, Timestamp::from_millis(1))).collect();
    let _durable = store.commit(&due).unwrap();
    let _durable = store.commit(&[remember(IDS, Timestamp::MAX)]).unwrap();
    let relay = Relay::start(&fed, &disk, Arc::clone(&store) as _).unwrap();
    let deadline = Instant::now() + PATIENCE;
    while store.remembered_after(None, 2).unwrap().len() > 1 {
        assert!(Instant::now() < deadline, "{} ids are left", store.remembered_after(None, usize::MAX).unwrap().len());
        sleep(std::time::Duration::from_millis(20)).await;
    }
    assert_eq!(store.remembered_after(None, 2).unwrap().len(), 1, "what may still come again is remembered");
    relay.stop.cancel();
    relay.ended.await.unwrap().unwrap();
}
