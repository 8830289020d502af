//! Did you mean.

/// The names of `known` that `wanted` may have been meant for, nearest first, three at most: parts and beginnings
/// first, then small edits.
pub(crate) fn near<'a>(wanted: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let wanted = wanted.to_lowercase();
    let scored = known.into_iter().filter_map(|name| score(&wanted, name).map(|score| (score, name)));
    let mut scored: Vec<_> = scored.collect();
    scored.sort_unstable();
    let best = scored.first().map_or(0, |(score, _)| *score);
    scored.into_iter().take_while(|(score, _)| *score <= best + 1).take(3).map(|(_, name)| name).collect()
}

/// Lower is nearer; `None` is too far.
fn score(wanted: &str, name: &str) -> Option<usize> {
    let edits = strsim::damerau_levenshtein(wanted, name);
    if !wanted.is_empty() && (name.contains(wanted) || name.split(['.', '-']).any(|label| label == wanted)) {
        return Some(edits.min(3));
    }
    (edits <= 1 + wanted.len() / 5).then_some(edits + 1)
}

/// `did you mean 'a' or 'b'?`; `None` without a candidate.
pub(crate) fn question(names: &[&str]) -> Option<String> {
    let quoted: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
    (!quoted.is_empty()).then(|| format!("did you mean {}?", quoted.join(" or ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AGENCIES: [&str; 5] = ["great.kaspersky", "igci.interpol", "ncb.ee", "ncb.fr", "ncb.sg"];

    #[test]
    fn near_misses_are_named() {
        assert_eq!(near("ncb.eee", AGENCIES), ["ncb.ee"]);
        assert_eq!(near("NCB.EE", AGENCIES), ["ncb.ee"]);
        assert_eq!(near("ee", AGENCIES), ["ncb.ee"]);
        assert_eq!(near("interpol", AGENCIES), ["igci.interpol"]);
        assert_eq!(near("ncb", AGENCIES), ["ncb.ee", "ncb.fr", "ncb.sg"]);
        assert!(near("fbi.us", AGENCIES).is_empty());
        assert!(near("", AGENCIES).is_empty());
    }

    #[test]
    fn the_question_lists_them() {
        assert_eq!(question(&["ncb.ee", "ncb.fr"]).unwrap(), "did you mean 'ncb.ee' or 'ncb.fr'?");
        assert_eq!(question(&[]), None);
    }
}
