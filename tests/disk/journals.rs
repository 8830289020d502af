//! Damaged journals, a few histories of them; `--bin journals` runs them by the million.

use liaison_tests::journals::{Figures, History};

#[test]
fn whatever_is_damaged_in_a_journal_a_start_drops_what_was_half_written_and_refuses_the_rest() {
    let mut figures = Figures::default();
    for seed in 0..6 {
        let seen = History::write(seed).check(seed).unwrap_or_else(|wrong| panic!("history {seed}: {wrong}"));
        figures.add(&seen);
    }
    eprintln!("{figures:?}");
    assert!(figures.damaged.iter().all(|count| *count > 0) && figures.refused > 0 && figures.cut > 0, "{figures:?}");
}
