//! The documents say what is so: every block of commands runs with the real programs and prints what is shown, every block of TOML
//! passes `gateway check`, every link leads somewhere.
//!
//! A document is tried from its beginning to its end, as a reader would, in a folder of its own. What a reader need not see of that, such
//! as why a block cannot be run here, stands in comments before the blocks: see [`comments`].

mod commands;
mod comments;
mod comparing;
mod fragments;
mod links;
mod markdown;
mod ports;
mod session;
mod walk;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use self::commands::Command;
use self::links::wrong_links;
use self::markdown::Document;
use self::walk::Walk;

/// The documents whose blocks are tried, each with its test.
macro_rules! documents {
    ($($test:ident: $path:literal,)*) => {
        const DOCUMENTS: &[&str] = &[$($path),*];
        $(#[test]
        fn $test() {
            Walk::through(&Document::read($path));
        })*
    };
}

documents! {
    contributing: "CONTRIBUTING.md",
    readme: "README.md",
    security: "SECURITY.md",
    capacity: "docs/capacity.md",
    comparison: "docs/comparison.md",
    configuration: "docs/configuration.md",
    consumers: "docs/consumers.md",
    design: "docs/design.md",
    developing: "docs/developing.md",
    install: "docs/install.md",
    measuring: "docs/measuring.md",
    operations: "docs/operations.md",
    quick_start: "docs/quick-start.md",
    rate_limiting: "docs/rate-limiting.md",
    recipes: "docs/recipes.md",
    reference: "docs/reference.md",
    replay: "docs/replay.md",
    routing: "docs/routing.md",
    shared_limits: "docs/shared-limits.md",
    testing: "docs/testing.md",
    tour: "docs/tour.md",
    troubleshooting: "docs/troubleshooting.md",
    upstreams: "docs/upstreams.md",
}

/// All documents, by their paths from the root of the repository.
fn all() -> Vec<String> {
    let names = |folder: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        let names =
            fs::read_dir(path).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names = names.filter(|name| name.ends_with(".md"));
        names.map(|name| format!("{folder}{name}")).collect::<Vec<_>>()
    };
    let mut all = [names(""), names("docs/")].concat();
    all.sort_unstable();
    all
}

#[test]
fn every_document_is_tried_here() {
    let untried: Vec<_> = all()
        .into_iter()
        // What has changed is not tried again.
        .filter(|path| path != "CHANGELOG.md" && !DOCUMENTS.contains(&path.as_str()))
        .collect();
    assert!(untried.is_empty(), "tests/documents.rs names each document: {untried:?}");
}

#[test]
fn every_link_leads_somewhere() {
    let documents: Vec<_> = all().iter().map(|path| Document::read(path)).collect();
    let anchors: BTreeMap<_, _> =
        documents.iter().map(|document| (document.path.clone(), document.anchors.clone())).collect();
    let wrong: Vec<_> = documents.iter().flat_map(|document| wrong_links(document, &anchors)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn commands_are_told_from_their_output_and_those_that_go_on_from_those_that_end() {
    let commands = Command::of_console("$ a\n1\n2\n$ b \\\n    c\n$ d\n");
    let texts: Vec<_> =
        commands.iter().map(|command| (command.text.as_str(), command.shown.as_deref())).collect();
    assert_eq!(texts, [("a", Some("1\n2\n")), ("b \\\n    c", None), ("d", None)]);
    assert_eq!(commands[0].lines, [0, 1, 3]);
    let commands = Command::of_script("# c\nfor i in 1; do\n    a\n\nmake run  # b\n");
    assert_eq!(commands.len(), 2);
    let goes_on = |text: &str| Command::of_script(text)[0].ready().is_some();
    for text in [
        "gateway",
        "A=b target/quick/gateway -c a.toml",
        "gateway proxy --to :1",
        "make run # x",
        "gateway --upgrade &",
    ] {
        assert!(goes_on(text), "{text}");
    }
    for text in [
        "gateway check",
        "gateway -c a.toml reload",
        "make test",
        "gateway --version",
        "curl gateway",
        "gateway proxy --help",
    ] {
        assert!(!goes_on(text), "{text}");
    }
}
