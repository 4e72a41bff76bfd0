//! The configuration as it may be shown: what the file says, without what should stay secret.
//!
//! A value that a variable was replaced in is shown as it is written, since such values are where secrets come from.

use serde_json::{Map, Value as Json};

use super::document::{Entry, Node, Value};

/// In place of a secret.
const MASK: &str = "***";

/// What in a name says that the value is secret.
const TELLING: [&str; 7] = ["token", "secret", "password", "authorization", "cookie", "api-key", "apikey"];

/// The whole file.
pub(super) fn file(root: &Node) -> Json {
    json(root)
}

fn json(node: &Node) -> Json {
    match &node.value {
        Value::Text { written: Some(written), .. } => written.as_str().into(),
        Value::Text { text, .. } => text.as_str().into(),
        Value::Integer { value, written } => value
            .and_then(|value| i64::try_from(value).ok())
            .map_or_else(|| written.as_str().into(), Json::from),
        Value::Float(written) | Value::Datetime(written) => written.as_str().into(),
        Value::Boolean(value) => (*value).into(),
        Value::List(list) => list.iter().map(json).collect(),
        Value::Table(entries) => Json::Object(table(entries)),
        Value::Broken(_) => Json::Null,
    }
}

fn table(entries: &[Entry]) -> Map<String, Json> {
    let by_secret = entries.iter().any(|entry| entry.name == "key" && is_by_secret(&entry.node));
    let shown = |entry: &Entry| match &entry.node.value {
        Value::Table(overrides) if entry.name == "overrides" && by_secret => {
            Json::Object(nameless(overrides))
        }
        Value::Text { written: None, text } if is_telling(&entry.name) && !text.is_empty() => MASK.into(),
        _ => json(&entry.node),
    };
    entries.iter().map(|entry| (entry.name.clone(), shown(entry))).collect()
}

/// Whether a limit goes by what clients prove who they are with: then its overrides name that.
fn is_by_secret(key: &Node) -> bool {
    match &key.value {
        Value::Text { text, .. } => {
            ["header:", "cookie:", "query:"].iter().any(|kind| text.starts_with(kind))
        }
        Value::List(list) => list.iter().any(is_by_secret),
        _ => false,
    }
}

/// Overrides without the values that they are for.
fn nameless(entries: &[Entry]) -> Map<String, Json> {
    let nameless = |(index, entry): (usize, &Entry)| (format!("{MASK} {}", index + 1), json(&entry.node));
    entries.iter().enumerate().map(nameless).collect()
}

fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    TELLING.iter().any(|telling| name.contains(telling))
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use serde_json::json;

    #[test]
    fn secrets_are_masked_and_the_rest_is_shown() {
        let text = r#"
            [admin]
            token = "s3cret"
            [limits.by_key]
            rate = "10/s"
            key = "header:X-Api-Key"
            overrides = { "k-123" = "unlimited", "k-456" = { rate = "1/s" } }
            [limits.by_ip]
            rate = "10/s"
            overrides = { "192.0.2.1" = "unlimited" }
            [[routes]]
            name = "a"
            path = "/"
            respond = { status = 200, body = "${BODY:-x}" }
            response_headers = { set = { Authorization = "Basic eA==", X-Env = "prod", X-Token = "${T:-t}" } }
        "#;
        let shown = Config::parse("a.toml", text, &|_| None).unwrap_or_else(|e| panic!("{e}")).shown;
        assert_eq!(
            shown,
            json!({
                "admin": {"token": "***"},
                "limits": {
                    "by_key": {
                        "rate": "10/s", "key": "header:X-Api-Key",
                        "overrides": {"*** 1": "unlimited", "*** 2": {"rate": "1/s"}},
                    },
                    "by_ip": {"rate": "10/s", "overrides": {"192.0.2.1": "unlimited"}},
                },
                "routes": [{
                    "name": "a", "path": "/", "respond": {"status": 200, "body": "${BODY:-x}"},
                    "response_headers": {"set": {"Authorization": "***", "X-Env": "prod", "X-Token": "${T:-t}"}},
                }],
            })
        );
    }
}
