//! What the documents list.

use super::*;

#[test]
fn the_guide_names_every_warning() {
    let guide = fs::read_to_string(file("docs/configuration.md")).unwrap();
    for lint in Lint::ALL {
        assert!(guide.contains(&format!("| `{}` |", lint.name())), "{}", lint.name());
    }
}
