//! A JSON Schema of the configuration file, by which editors complete keys and mark mistakes.
//!
//! It is made of the tables by which the file is read. It accepts every file that is valid, and some that are not: what concerns two
//! values, other files or the environment is for `gateway check` to say. It is of draft 7, which editors know.

use serde_json::{Map, Value as Json, json};

use super::Config;
use super::table::{Kind, Setting, Table};
use super::validate;

/// What matches a string with a variable in it, which is not known before the gateway starts.
const VARIABLE: &str = r"\$\{";

impl Config {
    /// The schema, as text.
    pub fn schema() -> String {
        let mut schema = of_table(&validate::FILE);
        schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
        schema["title"] = "gateway".into();
        format!("{schema:#}\n")
    }
}

/// What a table may have.
pub(super) fn of_table(table: &Table) -> Json {
    let property = |setting: &Setting| {
        let mut property = kind(&setting.kind);
        property["description"] = setting.about.into();
        if let Some(default) = setting.default.and_then(value) {
            property["default"] = default;
        }
        if let Some(example) = setting.shown_example().as_deref().and_then(value) {
            property["examples"] = json!([example]);
        }
        (setting.name.to_owned(), property)
    };
    let properties: Map<String, Json> = table.settings.iter().map(property).collect();
    let mut schema = json!({
        "type": "object",
        "description": table.about,
        "properties": properties,
        "additionalProperties": false,
    });
    let required: Vec<&str> =
        table.settings.iter().filter(|setting| setting.required).map(|setting| setting.name).collect();
    if !required.is_empty() {
        schema["required"] = required.into();
    }
    if !table.one_of.is_empty() {
        schema["oneOf"] = table.one_of.iter().map(|name| json!({ "required": [name] })).collect();
    }
    schema
}

fn kind(of: &Kind) -> Json {
    match of {
        Kind::Text => json!({ "type": "string" }),
        Kind::Pattern(patterns) => json!({ "type": "string", "pattern": whole(patterns) }),
        Kind::Word(words) => {
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": VARIABLE }] })
        }
        Kind::Boolean => json!({ "type": ["boolean", "string"], "pattern": VARIABLE }),
        Kind::Integer(from, to) => {
            json!({ "type": ["integer", "string"], "minimum": from, "maximum": to, "pattern": VARIABLE })
        }
        Kind::Fraction => {
            json!({ "type": ["number", "string"], "minimum": 0, "maximum": 1, "pattern": VARIABLE })
        }
        Kind::Quantity(patterns, from, to) => {
            json!({ "type": ["string", "integer"], "minimum": from, "maximum": to, "pattern": whole(patterns) })
        }
        Kind::List(of, least) => {
            let mut list = json!({ "type": "array", "items": kind(of) });
            if *least > 0 {
                list["minItems"] = (*least).into();
            }
            list
        }
        Kind::Table(of) => of_table(of),
        Kind::Named(names, of) => {
            let names = json!({ "pattern": format!("^({names})$") });
            json!({ "type": "object", "propertyNames": names, "additionalProperties": kind(of) })
        }
        Kind::Either(kinds) => json!({ "anyOf": kinds.iter().map(kind).collect::<Vec<_>>() }),
    }
}

/// What matches a string that one of these patterns matches as a whole, or that has a variable.
fn whole(patterns: &[&str]) -> String {
    format!("^({})$|{VARIABLE}", patterns.join("|"))
}

/// A value as it would be written.
fn value(written: &str) -> Option<Json> {
    let mut table: Map<String, Json> = toml::from_str(&format!("value = {written}")).ok()?;
    table.remove("value")
}
