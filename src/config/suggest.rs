//! "Did you mean": the known word that is nearest to one that is not known.

/// The nearest of `known` to `word`, if it is near enough to be a misspelling.
pub(super) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase();
    // One typo for every three characters; two swapped characters count as one.
    let most = (word.chars().count() / 3).max(1);
    known
        .into_iter()
        .map(|candidate| (strsim::osa_distance(&word, &candidate.to_lowercase()), candidate))
        .filter(|&(distance, candidate)| distance <= most && distance < candidate.chars().count())
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, candidate)| candidate)
}

/// A hint for an unknown `word`: the nearest of the `known`, else all of them.
pub(super) fn hint(word: &str, known: &[&str], all: &str) -> String {
    match nearest(word, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => list(known, all),
    }
}

/// A hint that lists the known words, or the first of many.
pub(super) fn list(known: &[&str], all: &str) -> String {
    const MOST: usize = 40;
    match known.len().checked_sub(MOST) {
        Some(more @ 1..) => format!("{all}: {} and {more} more", known[..MOST].join(", ")),
        _ => format!("{all}: {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        assert_eq!(list(&["a", "b"], "the keys are"), "the keys are: a, b");
        let cut = list(&["name"; 100_000], "the keys are");
        assert!(cut.len() < 300 && cut.ends_with("name and 99960 more"), "{cut}");
    }

    #[test]
    fn the_nearest_word_is_found() {
        let known = ["rate", "burst", "key", "strip_prefix", "max_clients"];
        for (word, near) in [
            ("brust", Some("burst")),
            ("Burst", Some("burst")),
            ("strip-prefix", Some("strip_prefix")),
            ("max_client", Some("max_clients")),
            ("requests", None),
            ("k", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), near, "{word}");
        }
    }
}
