//! Fragments of configuration files, completed with what they refer to, so that `gateway check` can read them.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use toml::{Table, Value};

/// The name of the file that a block shows as a whole: its first line is a comment such as `# gateway.toml`.
pub(crate) fn file_name(text: &str) -> Option<&str> {
    let name = text.lines().next()?.strip_prefix("# ")?.split([' ', ',']).next()?;
    name.ends_with(".toml").then_some(name)
}

/// Adds an upstream for each that a route names, and so limits and plans; and a route if there is none.
///
/// # Errors
/// When it is not TOML.
pub(crate) fn complete(text: &str) -> Result<String, String> {
    let table: Table = text.parse().map_err(|error: toml::de::Error| error.to_string())?;
    let mut added = String::new();
    let routes = routes(&table);
    let upstreams = routes.iter().filter_map(|route| route.get("upstream")).flat_map(names).collect();
    for name in missing(&table, "upstreams", upstreams) {
        writeln!(added, "[upstreams.{name:?}]\nservers = [\"127.0.0.1:1\"]").unwrap();
    }
    let users = routes.iter().chain(table.get("server"));
    let limits = users.flat_map(|user| user.get("limits").and_then(Value::as_array)).flatten();
    let limits = limits.filter_map(Value::as_str).collect();
    for name in missing(&table, "limits", limits) {
        writeln!(added, "[limits.{name:?}]\nrate = \"1/s\"").unwrap();
    }
    for name in missing(&table, "plans", plans(&table)) {
        writeln!(added, "[plans.{name:?}]").unwrap();
    }
    for name in missing(&table, "consumers", let_in(&table, "consumer:")) {
        let hash = "0".repeat(64);
        writeln!(added, "[consumers.{name:?}]\nkeys = [\"sha256:{hash}\"]").unwrap();
    }
    if routes.is_empty() {
        added += "[[routes]]\nname = \"added\"\npath = \"/added\"\nrespond = { status = 200 }\n";
    }
    Ok(format!("{text}\n{added}"))
}

/// The plans that consumers have, limits give terms to, and routes let in or not.
fn plans(table: &Table) -> Vec<&str> {
    let tables = |name: &str| table.get(name).and_then(Value::as_table).into_iter().flatten();
    let of_consumers = tables("consumers").filter_map(|(_, consumer)| consumer.get("plan")?.as_str());
    let of_limits = tables("limits").filter_map(|(_, limit)| limit.get("plans")?.as_table());
    of_consumers
        .chain(of_limits.flat_map(Table::keys).map(String::as_str))
        .chain(let_in(table, "plan:"))
        .collect()
}

/// The names after this in `allow` and `deny` of routes.
fn let_in<'a>(table: &'a Table, beginning: &str) -> Vec<&'a str> {
    let lists = routes(table).iter().flat_map(|route| [route.get("allow"), route.get("deny")]).flatten();
    lists
        .filter_map(Value::as_array)
        .flatten()
        .filter_map(|name| name.as_str()?.strip_prefix(beginning))
        .collect()
}

/// The names that a value is, or that a table of weights has.
fn names(value: &Value) -> Vec<&str> {
    match value {
        Value::String(name) => vec![name],
        Value::Table(weights) => weights.keys().map(String::as_str).collect(),
        _ => vec![],
    }
}

fn routes(table: &Table) -> &[Value] {
    table.get("routes").and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Those of these names that have no table.
fn missing<'a>(table: &Table, tables: &str, names: Vec<&'a str>) -> BTreeSet<&'a str> {
    let known = table.get(tables).and_then(Value::as_table);
    names.into_iter().filter(|name| !known.is_some_and(|known| known.contains_key(*name))).collect()
}
