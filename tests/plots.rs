//! The plots of `docs/rate-limiting.md`: each is drawn from what the limiter decides, so that it shows what the program does.
//!
//! `UPDATE_EXPECTED=1 cargo test --test main plots` writes the files under `docs/plots` anew: look at them. The text that stands for a
//! plot is made here too, and the document has to have it.

mod models;
mod scenes;
mod svg;

use std::fs;
use std::path::Path;

use self::scenes::scenes;

#[test]
fn plots_show_what_the_limiter_decides() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let document = fs::read_to_string(docs.join("rate-limiting.md")).unwrap();
    let mut wrong = String::new();
    for scene in scenes() {
        let file = format!("plots/{}.svg", scene.name);
        let image = format!("![{}]({file})", scene.alternative);
        if !document.contains(&image) {
            wrong += &format!("docs/rate-limiting.md lacks {image}\n");
        }
        let path = docs.join(&file);
        if std::env::var_os("UPDATE_EXPECTED").is_some() {
            fs::create_dir_all(docs.join("plots")).unwrap();
            fs::write(&path, &scene.svg).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != scene.svg {
            wrong += &format!("{file} is not what the limiter decides: run again with UPDATE_EXPECTED=1\n");
        }
    }
    assert!(wrong.is_empty(), "\n{wrong}");
}
