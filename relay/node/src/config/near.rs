//! "Did you mean": the nearest known word.

/// The known word nearest to `word`, if it is near enough to be a slip of the fingers.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // 0.8: one slip in a short word, two in a long one; below that suggestions are noise.
    known
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(word, candidate), candidate))
        .filter(|(likeness, _)| *likeness >= 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_finds_its_word_and_nonsense_finds_none() {
        let known = ["per_agency_bytes", "per_agency_rate", "flash_reserve"];
        assert_eq!(did_you_mean("per_agency_byte", known), Some("per_agency_bytes"));
        assert_eq!(did_you_mean("quotta", ["quota", "queue"]), Some("quota"));
        assert_eq!(did_you_mean("zzz", known), None);
    }
}
