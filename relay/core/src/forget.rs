//! When the dedupe memory is searched for what may be forgotten, and how much of it at a time.
//!
//! The memory has no index by time, because that would cost one more write a message. It is swept from end to end, in
//! steps, for ever. Each message that is taken pays for a part of the sweep, so that a faster node sweeps faster: the
//! part that is due and not yet found stays below a third of the memory at any rate. One step is under way at a time,
//! and what it finds goes with the next commit.

/// Rows that one step looks at. Some 0.6 ms; forgetting all of them weighs less than one commit's worth.
const STEP_ROWS: u64 = 1024;
/// Rows to look at for each row that was written. In balance a sweep then finds a quarter of the rows due.
const ROWS_FOR_EACH: u64 = 4;
/// Rows to look at whenever [`Forgetting::tick`] is called, whether or not anything is taken.
const TICK_ROWS: u64 = 32 * STEP_ROWS;
/// So many rows are worth a commit. A step that finds as many is followed by another one: there are more of them than a
/// sweep in balance leaves.
const MANY_DUE: usize = 256;

/// See the module.
#[derive(Debug, Default)]
pub struct Forgetting {
    /// Rows that are still to be looked at.
    owed: u64,
    /// Found in the steps since the last commit.
    found: usize,
    /// What was found is in a commit that has not ended.
    committing: bool,
}

impl Forgetting {
    /// So many rows were written to the memory.
    pub fn note_written(&mut self, rows: usize) {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX).saturating_mul(ROWS_FOR_EACH);
        self.owed = self.owed.saturating_add(rows).min(TICK_ROWS);
    }

    /// Some seconds have passed.
    pub const fn tick(&mut self) {
        self.owed = TICK_ROWS;
    }

    /// How many rows to look at now. `None`: what the steps have found is to be committed, or nothing is to be done.
    #[must_use]
    pub const fn next_step(&self) -> Option<usize> {
        let wanted = !self.committing && self.found < MANY_DUE && self.owed >= STEP_ROWS;
        if wanted { Some(STEP_ROWS as usize) } else { None }
    }

    /// A step was made, and found so many rows that are due.
    pub fn handle_found(&mut self, due: usize) {
        self.owed = self.owed.saturating_sub(STEP_ROWS);
        if due >= MANY_DUE {
            self.owed = self.owed.max(STEP_ROWS);
        }
        self.found += due;
    }

    /// What the steps have found goes into a commit.
    pub const fn begin_commit(&mut self) {
        (self.found, self.committing) = (0, true);
    }

    /// That commit has ended, well or not: what is still there is found again.
    pub const fn handle_committed(&mut self) {
        self.committing = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::VecDeque;

    /// A node that takes `rate` rows a second, each of which is due `life` seconds later. Rows stand in random order.
    fn most_in_memory(rate: usize, life: usize, seconds: usize) -> usize {
        let (mut forgetting, mut rows, mut most) = (Forgetting::default(), VecDeque::new(), 0);
        for second in 0..seconds {
            if second % 5 == 0 {
                forgetting.tick();
            }
            for _ in 0..rate {
                rows.push_back(second + life);
                forgetting.note_written(1);
                while let Some(step) = forgetting.next_step() {
                    let mut due = 0;
                    for _ in 0..step.min(rows.len()) {
                        let until = rows.pop_front().unwrap();
                        if until <= second { due += 1 } else { rows.push_back(until) }
                    }
                    forgetting.handle_found(due);
                    if forgetting.next_step().is_none() {
                        forgetting.begin_commit();
                        forgetting.handle_committed();
                    }
                }
            }
            most = most.max(rows.len());
        }
        most
    }

    // [CUST-20]
    #[test]
    fn forgetting_keeps_up_with_any_rate_that_is_taken() {
        for rate in [100, 5_000, 40_000] {
            let (life, live) = (20, 20 * rate);
            let most = most_in_memory(rate, life, 5 * life);
            assert!(most <= live + live / 2, "{most} rows at {rate} a second, of which {live} are needed");
        }
    }

    #[test]
    fn what_has_gathered_is_worked_off_commit_after_commit() {
        let mut forgetting = Forgetting::default();
        forgetting.tick();
        let mut steps = 0;
        while forgetting.next_step().is_some() && steps < 1_000 {
            forgetting.handle_found(1024);
            assert_eq!(forgetting.next_step(), None, "it is worth a commit");
            forgetting.begin_commit();
            assert_eq!(forgetting.next_step(), None, "one at a time");
            forgetting.handle_committed();
            steps += 1;
        }
        assert_eq!(steps, 1_000, "as long as much is found");
    }

    #[test]
    fn an_idle_memory_is_looked_at_in_bounded_steps() {
        let mut forgetting = Forgetting::default();
        forgetting.tick();
        let mut steps = 0;
        while forgetting.next_step().is_some() {
            forgetting.handle_found(0);
            steps += 1;
        }
        assert_eq!(steps, TICK_ROWS / STEP_ROWS);
    }
}
