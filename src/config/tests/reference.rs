//! `docs/reference.md`: every key with its type, default, example and meaning, made of the tables by which the file is read.
//!
//! After a change of a table, `UPDATE_EXPECTED=1 cargo test` writes it anew.

use std::fmt::Write;

use jsonschema::Validator;
use serde_json::{Map, Value as Json};

use super::*;
use crate::config::table::{Kind, Setting, Table};
use crate::config::validate::FILE;
use crate::config::value::quantity::{DURATION, RATE, SIZE};

const REFERENCE: &str = "docs/reference.md";

const HEAD: &str = "\
# Configuration reference

This page lists every key of the configuration file, for operators who look up a key. A test compares the page with the tables by which \
the gateway reads the file, so no key is missing and no default is out of date. [The configuration guide](configuration.md) explains how \
the keys work together, and how durations, sizes, rates, variables and paths of files are written.

A heading such as `limits.NAME.rate` is the key `rate` of the table `[limits.NAME]`, where `NAME` is a name of yours.
";

/// Where more is said about a table or a key: its path, and the place in the documents.
const MORE: &[(&str, &str)] = &[
    ("server", "configuration.md"),
    ("server.listen", "configuration.md#listeners"),
    ("server.trusted_proxies", "configuration.md#who-the-client-is"),
    ("server.max_memory", "configuration.md#timeouts-and-bounds-for-clients"),
    ("server.https_redirect", "configuration.md#redirect-to-https"),
    ("server.response_headers", "configuration.md#fields-of-every-answer"),
    ("server.client_ip_header", "configuration.md#one-field-names-the-client"),
    ("server.listen.proxy_protocol", "configuration.md#proxy-protocol"),
    ("server.underscores_in_headers", "routing.md#what-goes-upstream"),
    ("server.tls", "configuration.md#tls-for-clients"),
    ("server.auth", "consumers.md"),
    ("server.auth_failures", "consumers.md#guessing"),
    ("access_log.sample", "configuration.md#a-line-for-one-request-in-ten"),
    ("limiter.shared", "shared-limits.md"),
    ("limits.NAME", "rate-limiting.md"),
    ("limits.NAME.shared", "shared-limits.md"),
    ("auth", "consumers.md"),
    ("auth.basic", "consumers.md#names-and-passwords"),
    ("auth.jwt", "consumers.md#tokens"),
    ("auth.forward", "consumers.md#a-service-that-is-asked"),
    ("auth.client_certificate", "consumers.md#client-certificates"),
    ("upstreams.NAME", "upstreams.md"),
    ("upstreams.NAME.balance", "upstreams.md#balancing"),
    ("upstreams.NAME.sticky", "upstreams.md#a-client-stays-at-its-server"),
    ("upstreams.NAME.retries", "upstreams.md#when-a-server-fails"),
    ("upstreams.NAME.retry_on", "upstreams.md#when-a-server-fails"),
    ("upstreams.NAME.max_connections", "upstreams.md#how-many-requests-a-server-gets"),
    ("upstreams.NAME.http2", "upstreams.md#http2-connections"),
    ("upstreams.NAME.tls", "upstreams.md#tls"),
    ("upstreams.NAME.health", "upstreams.md#health-checks"),
    ("upstreams.NAME.outlier", "upstreams.md#outlier-detection"),
    ("errors.NAME", "routing.md#pages-of-your-own"),
    ("routes", "routing.md"),
    ("routes.path", "routing.md#which-route-takes-a-request"),
    ("routes.upstream", "routing.md#shares-of-the-traffic"),
    ("routes.split_by", "routing.md#shares-of-the-traffic"),
    ("routes.encoded_slashes", "routing.md#encoded-slashes"),
    ("routes.headers", "routing.md#headers-and-query"),
    ("routes.query", "routing.md#headers-and-query"),
    ("routes.allow", "consumers.md#who-is-let-in"),
    ("routes.compression", "routing.md#compression"),
    ("routes.cors", "routing.md#cors-scripts-of-other-origins"),
    ("routes.errors", "routing.md#pages-of-your-own"),
];

/// A table and where it stands: `limits.NAME`, or `routes` in double brackets.
struct Place {
    path: String,
    is_list: bool,
    table: &'static Table,
}

impl Place {
    fn title(&self) -> String {
        match self.is_list {
            true => format!("[[{}]]", self.path),
            false => format!("[{}]", self.path),
        }
    }
}

/// The table that a value of this kind may be, under the path of its key.
fn table_of(kind: &Kind, path: String) -> Option<Place> {
    match kind {
        Kind::Table(table) => Some(Place { path, is_list: false, table }),
        Kind::List(of, _) => Some(Place { is_list: true, ..table_of(of, path)? }),
        Kind::Named(_, of) => table_of(of, format!("{path}.NAME")),
        // A list says more than one of its values alone.
        Kind::Either(kinds) => kinds.iter().rev().find_map(|kind| table_of(kind, path.clone())),
        _ => None,
    }
}

/// Every table once, at the first place where it may stand, in the order of the file.
fn places() -> Vec<Place> {
    fn collect(table: &'static Table, path: &str, places: &mut Vec<Place>) {
        for setting in table.settings {
            let path = if path.is_empty() { setting.name.into() } else { format!("{path}.{}", setting.name) };
            let Some(place) = table_of(&setting.kind, path) else { continue };
            if places.iter().all(|known| !std::ptr::eq(known.table, place.table)) {
                let (table, path) = (place.table, place.path.clone());
                places.push(place);
                collect(table, &path, places);
            }
        }
    }
    let mut places = Vec::new();
    collect(&FILE, "", &mut places);
    places
}

/// The anchor of the heading of a table.
fn anchor(title: &str) -> String {
    let kept = title.chars().filter(|char| char.is_ascii_alphanumeric() || "_-".contains(*char));
    format!("table-{}", kept.collect::<String>().to_lowercase())
}

/// The type of a value, or of several, in words.
fn words(kind: &Kind, several: bool, places: &[Place]) -> String {
    let noun = |one: &str, many: &str| if several { many.to_owned() } else { one.to_owned() };
    match kind {
        Kind::Pattern([DURATION]) => noun("a duration", "durations"),
        Kind::Quantity(["0", DURATION], ..) => noun("a duration, or `0`", "durations, or `0`"),
        Kind::Pattern([RATE]) => noun("a rate", "rates"),
        Kind::Quantity([SIZE], ..) => noun("a size", "sizes"),
        Kind::Quantity([word, SIZE], ..) => format!("{}, or `\"{word}\"`", noun("a size", "sizes")),
        Kind::Quantity(..) => noun("a string or a whole number", "strings or whole numbers"),
        Kind::Text | Kind::Pattern(_) => noun("a string", "strings"),
        Kind::Word(words) => any_of(words.iter().map(|word| format!("`\"{word}\"`")).collect()),
        Kind::Boolean => "`true` or `false`".into(),
        Kind::Integer(from, to) => {
            format!("{} from {from} to {to}", noun("a whole number", "whole numbers"))
        }
        Kind::Fraction => noun("a number from 0 to 1", "numbers from 0 to 1"),
        Kind::List(of, _) => format!("{} of {}", noun("a list", "lists"), words(of, true, places)),
        Kind::Table(table) => {
            let place = places.iter().find(|place| std::ptr::eq(place.table, *table)).unwrap();
            format!("{} [`{}`](#{})", noun("the table", "tables like"), place.title(), anchor(&place.title()))
        }
        Kind::Named(_, of) => {
            format!("{} of {}, by name", noun("a table", "tables"), words(of, true, places))
        }
        Kind::Either(kinds) => any_of(kinds.iter().map(|kind| words(kind, several, places)).collect()),
    }
}

/// `a`, `b` or `c`.
fn any_of(mut words: Vec<String>) -> String {
    let last = words.pop().unwrap_or_default();
    if words.is_empty() { last } else { format!("{} or {last}", words.join(", ")) }
}

fn more(path: &str) -> String {
    let link = MORE.iter().find(|(known, _)| *known == path);
    link.map(|(_, link)| format!(" [More]({link}).")).unwrap_or_default()
}

fn key(path: &str, table: &Table, setting: &Setting, places: &[Place]) -> String {
    let path = if path.is_empty() { setting.name.into() } else { format!("{path}.{}", setting.name) };
    let mut text = format!("\n### `{path}`\n\n{}{}\n\n", setting.about, more(&path));
    let kind = words(&setting.kind, false, places);
    write!(text, "Type: {kind}.").unwrap();
    match (setting.default, setting.required) {
        (Some(default), _) => write!(text, " Default: `{default}`.").unwrap(),
        (None, true) => text.push_str(" Required."),
        (None, false) if table.one_of.contains(&setting.name) => {
            let names = any_of(table.one_of.iter().map(|name| format!("`{name}`")).collect());
            write!(text, " Exactly one of {names} is required.").unwrap();
        }
        (None, false) => {}
    }
    if let Some(example) = setting.shown_example() {
        write!(text, " Example: `{} = {example}`", setting.name).unwrap();
    }
    text.push('\n');
    text
}

fn reference() -> String {
    let places = places();
    let mut text = HEAD.to_owned();
    text.push_str("\n| table | |\n| --- | --- |\n");
    for place in &places {
        writeln!(text, "| [`{}`](#{}) | {} |", place.title(), anchor(&place.title()), place.table.about)
            .unwrap();
    }
    text.push_str("\n## The top of the file\n");
    for setting in FILE.settings {
        text.push_str(&key("", &FILE, setting, &places));
    }
    for place in &places {
        let Place { path, table, .. } = place;
        write!(text, "\n## Table `{}`\n\n{}{}\n", place.title(), table.about, more(path)).unwrap();
        for setting in table.settings {
            text.push_str(&key(path, table, setting, &places));
        }
    }
    text
}

#[test]
fn the_reference_is_made_of_the_tables() {
    if std::env::var_os("UPDATE_EXPECTED").is_some() {
        fs::write(file(REFERENCE), reference()).unwrap();
    }
    let stored = fs::read_to_string(file(REFERENCE)).unwrap_or_default();
    assert!(
        stored == reference(),
        "{REFERENCE} is not what the tables say: run UPDATE_EXPECTED=1 cargo test"
    );
}

#[test]
fn every_key_that_is_no_table_has_an_example_of_its_type() {
    for place in places() {
        for setting in place.table.settings {
            let path = format!("{}.{}", place.path, setting.name);
            let Some(example) = setting.shown_example() else {
                assert!(table_of(&setting.kind, path.clone()).is_some(), "`{path}` has no example");
                continue;
            };
            let value: Map<String, Json> = toml::from_str(&format!("{} = {example}", setting.name)).unwrap();
            assert_ne!(Some(example.as_str()), setting.default, "the example of `{path}` is its default");
            let table = Table::new("", std::slice::from_ref(setting));
            let schema = crate::config::schema::of_table(&table);
            let faults = faults(&jsonschema::validator_for(&schema).unwrap(), &value.into());
            assert_eq!(faults, [""; 0], "{path}");
        }
    }
}

fn faults(validator: &Validator, value: &Json) -> Vec<String> {
    validator.iter_errors(value).map(|error| error.to_string()).collect()
}

#[test]
fn what_more_is_said_about_is_there() {
    let places = places();
    for (path, link) in MORE {
        let is_key = places.iter().any(|place| {
            place.table.settings.iter().any(|setting| format!("{}.{}", place.path, setting.name) == *path)
        });
        assert!(is_key || places.iter().any(|place| place.path == *path), "there is no `{path}`");
        let name = link.split('#').next().unwrap();
        assert!(file("docs").join(name).is_file(), "{link}");
    }
}
