//! The configuration as it may be shown: the content of the file without secrets.
//!
//! A value with variables is shown as it is written in the file, since variables often hold secrets, and without their defaults, which may
//! be secrets too. Secret are also: values whose keys have telling names, every field that is set in requests to upstreams, the key values
//! of overrides of a limit by a secret, and in any text the user and password of a URL and the values of query parameters with telling
//! names.

use serde_json::{Map, Value as Json};

use super::document::{Entry, Node, Value};
use super::env::{FILE, leading_name};
use super::secrets::{MASK, is_telling, without_credentials};

/// The whole file.
pub(super) fn file(root: &Node) -> Json {
    json(root, false)
}

/// A value, masked if it is `secret` as a whole.
fn json(node: &Node, secret: bool) -> Json {
    match &node.value {
        Value::Text { written: Some(text), .. } => written(text, secret).into(),
        Value::Text { text, .. } if secret && text.is_empty() => "".into(),
        Value::Boolean(value) => (*value).into(),
        Value::List(list) => list.iter().map(|node| json(node, secret)).collect(),
        Value::Table(entries) => Json::Object(table(entries, secret)),
        Value::Broken(_) => Json::Null,
        _ if secret => MASK.into(),
        Value::Text { text, .. } => without_credentials(text).into(),
        Value::Integer { value, written } => value
            .and_then(|value| i64::try_from(value).ok())
            .map_or_else(|| written.as_str().into(), Json::from),
        Value::Float(written) | Value::Datetime(written) => written.as_str().into(),
    }
}

fn table(entries: &[Entry], secret: bool) -> Map<String, Json> {
    let by_secret = entries.iter().any(|entry| entry.name == "key" && is_by_secret(&entry.node));
    let shown = |entry: &Entry| match &entry.node.value {
        Value::Table(overrides) if entry.name == "overrides" && by_secret => {
            Json::Object(nameless(overrides))
        }
        Value::Table(changes) if entry.name == "request_headers" => {
            let change =
                |change: &Entry| (change.written().to_owned(), json(&change.node, change.name == "set"));
            changes.iter().map(change).collect()
        }
        // The name of a section does not make the values in it secret.
        Value::Table(_) => json(&entry.node, secret),
        _ => json(&entry.node, secret || is_telling(&entry.name)),
    };
    let name = |entry: &Entry| match &entry.written {
        Some(text) => written(text, false),
        None => entry.name.clone(),
    };
    entries.iter().map(|entry| (name(entry), shown(entry))).collect()
}

/// A text with variables as it is written in the file, without the defaults, and if the value is `secret` as a whole with the names of
/// the variables only.
pub(super) fn written(text: &str, secret: bool) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    let literal = |shown: &mut String, text: &str| match text {
        "" => {}
        _ if secret && shown.ends_with(MASK) => {}
        _ if secret => shown.push_str(MASK),
        text => shown.push_str(text),
    };
    while let Some(at) = rest.find("${") {
        // `$$` is a dollar sign, and the brace behind it is a brace.
        let dollars = rest[..at].bytes().rev().take_while(|&byte| byte == b'$').count();
        let end = rest[at..].find('}').map(|end| at + end + 1);
        let Some(end) = end.filter(|_| dollars % 2 == 0) else {
            literal(&mut shown, &rest[..at + 2]);
            rest = &rest[at + 2..];
            continue;
        };
        literal(&mut shown, &rest[..at]);
        if rest[at + 2..end].starts_with(FILE) {
            // Where a secret is found is none.
            shown.push_str(&rest[at..end]);
            rest = &rest[end..];
            continue;
        }
        let name = leading_name(&rest[at + 2..end]);
        let default = match &rest[at + 2 + name.len()..end] {
            "}" => "",
            ":-}" => ":-",
            _ => ":-***",
        };
        shown.push_str(&format!("${{{name}{default}}}"));
        rest = &rest[end..];
    }
    literal(&mut shown, rest);
    without_credentials(&shown).into_owned()
}

/// Whether the key of a limit may be a credential. Then its overrides have credentials in their keys.
fn is_by_secret(key: &Node) -> bool {
    match &key.value {
        Value::Text { text, .. } => {
            ["header:", "cookie:", "query:"].iter().any(|kind| text.starts_with(kind))
        }
        Value::List(list) => list.iter().any(is_by_secret),
        _ => false,
    }
}

/// Overrides without their key values.
fn nameless(entries: &[Entry]) -> Map<String, Json> {
    let nameless =
        |(index, entry): (usize, &Entry)| (format!("{MASK} {}", index + 1), json(&entry.node, false));
    entries.iter().enumerate().map(nameless).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::Config;
    use super::written;

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
            [limits.by_token]
            rate = "${RATE:-5/s}"
            [upstreams.u]
            servers = ["${HOST:-127.0.0.1}:${PORT}"]
            health = { path = "/health?api_key=hunter2&deep=1" }
            [[routes]]
            name = "b"
            path = "/b"
            upstream = "u"
            request_headers = { set = { X-Internal = "hunter2", X-Env = "a${T:-hunter2}b${T:-}" }, remove = ["X-Token"] }
            [[routes]]
            name = "a"
            path = "/"
            respond = { status = 200, body = "see http://user:hunter2@a.example/x, ${BODY:-x}" }
            response_headers = { set = { Authorization = "Basic eA==", X-Env = "prod", X-Token = "${T:-t}" } }
        "#;
        let shown = Config::parse("a.toml", text, &|name| (name == "PORT").then(|| "80".to_owned()));
        let shown = shown.unwrap_or_else(|problems| panic!("{problems}")).shown;
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
                    "by_token": {"rate": "${RATE:-***}"},
                },
                "upstreams": {"u": {
                    "servers": ["${HOST:-***}:${PORT}"],
                    "health": {"path": "/health?api_key=***&deep=1"},
                }},
                "routes": [{
                    "name": "b", "path": "/b", "upstream": "u",
                    "request_headers": {
                        "set": {"X-Internal": "***", "X-Env": "***${T:-***}***${T:-}"},
                        "remove": ["X-Token"],
                    },
                }, {
                    "name": "a", "path": "/",
                    "respond": {"status": 200, "body": "see http://***@a.example/x, ${BODY:-***}"},
                    "response_headers": {"set": {"Authorization": "***", "X-Env": "prod", "X-Token": "${T:-***}"}},
                }],
            })
        );
    }

    #[test]
    fn what_a_variable_holds_and_its_default_are_not_shown() {
        for (text, plain, secret) in [
            ("a${B}c", "a${B}c", "***${B}***"),
            ("${A:-hunter2}", "${A:-***}", "${A:-***}"),
            ("$${A:-b}", "$${A:-b}", "***"),
            ("$$${A:-b}", "$$${A:-***}", "***${A:-***}"),
            ("${", "${", "***"),
            ("a${file:/run/secrets/x}", "a${file:/run/secrets/x}", "***${file:/run/secrets/x}"),
            ("http://${USER:-u}:${PASSWORD}@h/", "http://***@h/", "***${USER:-***}***${PASSWORD}***"),
        ] {
            assert_eq!((&*written(text, false), &*written(text, true)), (plain, secret), "{text}");
        }
    }
}
