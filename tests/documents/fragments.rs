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
    let routes = table.get("routes").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let upstreams = routes.iter().filter_map(|route| route.get("upstream")).collect();
    for name in missing(&table, "upstreams", upstreams) {
        writeln!(added, "[upstreams.{name:?}]\nservers = [\"127.0.0.1:1\"]").unwrap();
    }
    let users = routes.iter().chain(table.get("server"));
    let limits = users.flat_map(|user| user.get("limits").and_then(Value::as_array)).flatten().collect();
    for name in missing(&table, "limits", limits) {
        writeln!(added, "[limits.{name:?}]\nrate = \"1/s\"").unwrap();
    }
    for name in missing(&table, "plans", plans(&table)) {
        writeln!(added, "[plans.{name:?}]").unwrap();
    }
    if routes.is_empty() {
        added += "[[routes]]\nname = \"added\"\npath = \"/added\"\nrespond = { status = 200 }\n";
    }
    Ok(format!("{text}\n{added}"))
}

/// The plans that consumers have and limits give terms to.
fn plans(table: &Table) -> Vec<&Value> {
    let tables = |name: &str| table.get(name).and_then(Value::as_table).into_iter().flatten();
    tables("consumers").filter_map(|(_, consumer)| consumer.get("plan")).collect()
}

/// Those of these names that have no table.
fn missing<'a>(table: &Table, tables: &str, names: Vec<&'a Value>) -> BTreeSet<&'a str> {
    let known = table.get(tables).and_then(Value::as_table);
    let names = names.into_iter().filter_map(Value::as_str);
    names.filter(|name| !known.is_some_and(|known| known.contains_key(*name))).collect()
}
