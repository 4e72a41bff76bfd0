//! Files by a pattern such as `routes/*.toml`.
//!
//! `*` is any text in a name and `?` any character; as in a shell, neither begins a name with a dot. Names are compared by their bytes in
//! order, so the result is the same everywhere. A pattern goes no deeper than it has slashes, so a loop of links ends.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The most files of a pattern.
pub(super) const MOST: usize = 10_000;

/// What a pattern has found.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// The files, in order. What has no wildcard is here whether it exists or not.
    pub(super) files: Vec<PathBuf>,
    /// The folders whose contents decide what is found.
    pub(super) folders: Vec<PathBuf>,
    /// The folders that cannot be read.
    pub(super) failures: Vec<(PathBuf, io::Error)>,
}

/// Whether a text has a wildcard.
pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// The files that a pattern matches, from a folder on. Of more than [`MOST`] some are left out, and one too many is there.
pub(super) fn find(folder: &Path, pattern: &str) -> Found {
    let mut found = Found { files: vec![folder.to_owned()], ..Found::default() };
    if pattern.starts_with('/') {
        found.files = vec![PathBuf::from("/")];
    }
    let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
    for (index, part) in parts.iter().enumerate() {
        let is_last = index + 1 == parts.len();
        let above = std::mem::take(&mut found.files);
        for path in above {
            if !is_pattern(part) {
                found.files.push(path.join(part));
                continue;
            }
            // An empty path is the folder in which the gateway was started.
            let listed = if path == Path::new("") { Path::new(".") } else { &path };
            found.folders.push(listed.to_owned());
            match names(listed, part) {
                Ok(names) => {
                    let below = names.into_iter().map(|name| path.join(name));
                    found.files.extend(below.filter(|path| is_last || path.is_dir()));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => found.failures.push((listed.to_owned(), error)),
            }
            if found.files.len() > MOST {
                break;
            }
        }
    }
    found.files.truncate(MOST + 1);
    found
}

/// The names in a folder that match a part of a pattern, in order.
fn names(folder: &Path, part: &str) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        // A name that is no text matches nothing.
        let Ok(name) = entry?.file_name().into_string() else { continue };
        if (part.starts_with('.') || !name.starts_with('.')) && matches(part, &name) {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Whether a name matches a part of a pattern. It takes as many steps as the product of their lengths, at most.
fn matches(part: &str, name: &str) -> bool {
    let (part, name): (Vec<char>, Vec<char>) = (part.chars().collect(), name.chars().collect());
    let (mut p, mut n) = (0, 0);
    // Behind the last `*`, and how much of the name it has taken.
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        match part.get(p) {
            Some('*') => {
                p += 1;
                star = Some((p, n));
            }
            Some(&c) if c == '?' || c == name[n] => (p, n) = (p + 1, n + 1),
            _ => {
                let Some((behind, taken)) = star else { return false };
                star = Some((behind, taken + 1));
                (p, n) = (behind, taken + 1);
            }
        }
    }
    part[p..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn names_match() {
        for (part, name, expected) in [
            ("*.toml", "a.toml", true),
            ("*.toml", ".toml", true),
            ("*.toml", "a.toml.bak", false),
            ("a?c*", "abc", true),
            ("a?c", "ac", false),
            ("*a*b*", "xaxxbx", true),
            ("*a*b*", "xbxxax", false),
            ("ö?", "öä", true),
            ("**", "", true),
            ("", "a", false),
        ] {
            assert_eq!(matches(part, name), expected, "{part} {name}");
        }
        assert!(!matches(&"*a".repeat(200), &"a".repeat(150)));
    }

    #[test]
    fn files_are_found_in_order_and_hidden_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for name in [
            "teams/b/r.toml",
            "teams/a/r.toml",
            "teams/.x/r.toml",
            "teams/a/.r.toml",
            "z.toml",
            "é.toml",
            "Z.toml",
        ] {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "").unwrap();
        }
        symlink("..", root.join("teams/loop")).unwrap();
        symlink("itself", root.join("teams/itself")).unwrap();
        let found = |pattern: &str| {
            let found = find(root, pattern);
            assert!(found.failures.is_empty(), "{:?}", found.failures);
            let relative = |path: &PathBuf| path.strip_prefix(root).unwrap().display().to_string();
            found.files.iter().map(relative).collect::<Vec<_>>()
        };
        assert_eq!(found("*.toml"), ["Z.toml", "z.toml", "é.toml"]);
        assert_eq!(found("teams/*/r.toml"), ["teams/a/r.toml", "teams/b/r.toml", "teams/loop/r.toml"]);
        assert_eq!(found("teams/*/*.toml").len(), 5, "a loop of links goes as deep as the pattern");
        assert_eq!(found("nowhere/*.toml"), [""; 0]);
        assert_eq!(found("./nowhere.toml"), ["nowhere.toml"]);
        assert_eq!(find(root, "/nowhere/x").files, [PathBuf::from("/nowhere/x")]);
        assert_eq!(find(root, "teams/*/*.toml").folders.len(), 4);
    }
}
