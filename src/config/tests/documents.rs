//! The config files that the documents show.

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
fn the_guide_names_every_warning() {
    let guide = fs::read_to_string(file("docs/configuration.md")).unwrap();
    for lint in Lint::ALL {
        assert!(guide.contains(&format!("| `{}` |", lint.name())), "{}", lint.name());
    }
}
