//! Which module uses which: only those on a lower line of the table in `lib.rs`, or further right on its own line. The files inside a
//! module do not use each other in a circle.

mod circles;
pub(crate) mod source;

use std::collections::BTreeMap;
use std::fs;

use self::circles::circles;
use self::source::{Source, files, folder};

/// The modules of the table in `lib.rs`, each with its place from the top.
fn places() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(folder().join("lib.rs")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix("//! | ")).skip(2);
    let names =
        lines.flat_map(|line| line.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>());
    names.zip(0..).collect()
}

/// The modules of the crate that a text names, as `crate::name`.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.split("crate::").skip(1).filter_map(|rest| {
        rest.split(|c: char| !c.is_ascii_lowercase() && c != '_').next().filter(|name| !name.is_empty())
    })
}

#[test]
fn modules_use_only_what_is_below_them() {
    let places = places();
    assert!(places.len() > 15, "{places:?}");
    let mut wrong = Vec::new();
    for file in files(&folder()) {
        let path = file.strip_prefix(folder()).unwrap();
        let module = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if ["lib", "main"].contains(&module.as_str()) {
            continue;
        }
        let place =
            *places.get(&module).unwrap_or_else(|| panic!("lib.rs does not say where {module} stands"));
        let text = fs::read_to_string(&file).unwrap();
        for used in named(&text).filter(|used| *used != module) {
            if places.get(used).is_some_and(|below| *below < place) {
                wrong.push(format!("{} uses {used}, which stands above {module}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn only_three_modules_know_pingora() {
    for file in files(&folder()) {
        let path = file.strip_prefix(folder()).unwrap();
        let module = path.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        let text = fs::read_to_string(&file).unwrap();
        let knows = ["use pingora::", "use pingora_proxy::"].iter().any(|used| text.contains(used));
        assert!(
            !knows || ["server", "proxy", "upstream"].contains(&module),
            "{} knows Pingora",
            path.display()
        );
    }
}

#[test]
fn files_inside_a_module_form_no_circle() {
    let circles: Vec<_> =
        circles(&Source::read().uses()).iter().map(|circle| circle.join(" uses ")).collect();
    assert!(circles.is_empty(), "{}", circles.join("\n"));
}
