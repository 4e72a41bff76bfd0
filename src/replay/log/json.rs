//! What the formats in JSON have in common.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::Value;

use super::unreadable::Unreadable;

/// A text, borrowed from the line if nothing in it is escaped.
#[derive(Debug, Default)]
pub(super) struct Text<'a>(pub(super) Cow<'a, str>);

impl Text<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: de::Error>(self, text: &'de str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Text<'de>, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowed)
    }
}

/// Reads the object of a line.
pub(super) fn object<'a, T: Deserialize<'a>>(line: &'a [u8]) -> Result<T, Unreadable> {
    if !line.trim_ascii_start().starts_with(b"{") {
        return Err(Unreadable::NotJson);
    }
    serde_json::from_slice(line).map_err(|error| match error.classify() {
        serde_json::error::Category::Data => Unreadable::OtherType,
        _ => Unreadable::NotJson,
    })
}

/// A field that has to be there.
pub(super) fn need<T>(field: Option<T>, name: &'static str) -> Result<T, Unreadable> {
    field.ok_or(Unreadable::Missing(name))
}

/// The members of a line by their paths, such as `request.headers.X-Api-Key`.
pub(super) struct Members(Value);

impl Members {
    pub(super) fn of(line: &[u8]) -> Self {
        Self(serde_json::from_slice(line).unwrap_or_default())
    }

    /// The value of a member: a text, a number, or the only one in an array. `None` also for what servers write if there is none, or if
    /// they do not tell it.
    pub(super) fn get(&self, path: &str) -> Option<String> {
        let mut value = find(&self.0, path)?;
        if let Value::Array(values) = value {
            let [only] = &values[..] else { return None };
            value = only;
        }
        match value {
            Value::String(text) => Some(text.clone()).filter(|text| is_told(text)),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(truth) => Some(truth.to_string()),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    /// The texts of a member of the object at a path: the member itself, or what is in its array.
    pub(super) fn all(&self, path: &[&str], name: &str) -> impl Iterator<Item = &str> {
        let object = path.iter().try_fold(&self.0, |value, name| value.get(name));
        let value = object.and_then(|object| find(object, name));
        let values = match value {
            Some(Value::Array(values)) => values,
            Some(value) => std::slice::from_ref(value),
            None => &[],
        };
        values.iter().filter_map(Value::as_str)
    }
}

/// Whether this is a value, and no sign that there is none or that it is kept secret.
pub(super) fn is_told(text: &str) -> bool {
    !matches!(text, "" | "-" | "REDACTED")
}

fn find<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let members = value.as_object()?;
    let member = |name: &str| {
        members.get(name).or_else(|| {
            let same = members.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
            same.map(|(_, value)| value)
        })
    };
    // A name may have dots in it.
    member(path).or_else(|| {
        let (name, rest) = path.split_once('.')?;
        find(member(name)?, rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_by_their_paths() {
        let members = Members::of(
            br#"{"a":{"b":"1","C":["2"],"d":["3","4"],"e.f":5,"g":true,"h":null,"i":"-","j":"REDACTED"},"k.l":{"m":"6"}}"#,
        );
        for (path, expected) in [
            ("a.b", Some("1")),
            ("a.c", Some("2")),
            ("a.d", None),
            ("a.e.f", Some("5")),
            ("a.g", Some("true")),
            ("a.h", None),
            ("a.i", None),
            ("a.j", None),
            ("a", None),
            ("a.b.c", None),
            ("k.l", None),
            ("", None),
        ] {
            assert_eq!(members.get(path).as_deref(), expected, "{path}");
        }
        assert_eq!(Members::of(b"not JSON").get("a"), None);
    }
}
