//! `kill -9`, again and again.

use std::time::Duration;

use super::child::{Task, command, run_and_kill, verify};
use super::{OnDisk, open};

#[test]
fn every_acknowledged_batch_survives_kill_9_and_no_other_is_there_in_part() {
    let place = OnDisk::new();
    let mut before = 0;
    for round in 0..6 {
        let said = run_and_kill(command(&[], Task::Commit, &place.directory()), Duration::from_millis(40 + round * 70));
        assert!(said.durable > before, "round {round}: {said:?}");
        let last = verify(&open(&place.directory()).unwrap());
        // One more may have been whole when the child died before it could say so.
        assert!((said.durable..=said.durable + 1).contains(&last), "{last} is there, {} was said", said.durable);
        before = last;
    }
}
