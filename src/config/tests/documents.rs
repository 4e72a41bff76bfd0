//! The config files that the documents show.

use super::shipped::every_key;
use super::*;

/// Whole config files in a document: the TOML blocks that begin with the name of the file.
pub(super) fn files(document: &str) -> Vec<String> {
    let blocks = document.split("```toml\n").skip(1).filter_map(|rest| Some(rest.split_once("```")?.0));
    blocks.filter(|block| block.starts_with("# gateway.toml\n")).map(str::to_owned).collect()
}

#[test]
fn a_config_file_in_a_document_is_valid() {
    let mut found = 0;
    for name in ["README.md", "docs/quick-start.md"] {
        for text in files(&fs::read_to_string(file(name)).unwrap()) {
            let config =
                Config::parse(name, &text, &|_| None).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
            assert_eq!(config.advice, []);
            found += 1;
        }
    }
    assert_eq!(found, 2);
}

#[test]
fn the_reference_names_every_key() {
    let reference = fs::read_to_string(file("docs/configuration.md")).unwrap();
    for key in every_key() {
        let named = [
            format!("`{key}`"),
            format!("`[{key}"),
            format!("[[{key}]]"),
            format!(".{key}]`"),
            format!("{key} = "),
        ];
        assert!(named.iter().any(|name| reference.contains(name)), "`{key}` is not in docs/configuration.md");
    }
}

#[test]
fn the_reference_names_every_warning() {
    let reference = fs::read_to_string(file("docs/configuration.md")).unwrap();
    for lint in Lint::ALL {
        assert!(reference.contains(&format!("| `{}` |", lint.name())), "{}", lint.name());
    }
}
