//! How a value is written into a page, by the type of the page.

use http::HeaderValue;

/// The language that a page is written in, as far as values have to be escaped for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// HTML, or XML: character references.
    Markup,
    /// JSON: a value is the content of a string.
    Json,
    /// Anything else: values stay as they are.
    Plain,
}

impl Language {
    /// The language of a `Content-Type`.
    pub(super) fn of(content_type: &HeaderValue) -> Self {
        let name = essence(content_type);
        let ends = |end: &str| {
            name.len() >= end.len() && name[name.len() - end.len()..].eq_ignore_ascii_case(end.as_bytes())
        };
        match () {
            () if ends("html") || ends("xml") => Self::Markup,
            () if ends("json") => Self::Json,
            () => Self::Plain,
        }
    }

    /// Adds a value to a page.
    pub(super) fn push(self, value: &str, page: &mut Vec<u8>) {
        let escaped = match self {
            Self::Plain => None,
            Self::Markup => value.bytes().find(|byte| reference(*byte).is_some()),
            Self::Json => value.bytes().find(|byte| is_escaped_in_json(*byte)),
        };
        if escaped.is_none() {
            return page.extend_from_slice(value.as_bytes());
        }
        for byte in value.bytes() {
            match (self, reference(byte)) {
                (Self::Markup, Some(reference)) => page.extend_from_slice(reference.as_bytes()),
                (Self::Json, _) if is_escaped_in_json(byte) => {
                    page.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                }
                _ => page.push(byte),
            }
        }
    }
}

/// A type without its parameters.
pub(super) fn essence(content_type: &HeaderValue) -> &[u8] {
    let bytes = content_type.as_bytes();
    bytes.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii()
}

/// The reference that stands for a character which means something in HTML or XML, there or in the value of an attribute.
fn reference(byte: u8) -> Option<&'static str> {
    Some(match byte {
        b'&' => "&amp;",
        b'<' => "&lt;",
        b'>' => "&gt;",
        b'"' => "&#34;",
        b'\'' => "&#39;",
        _ => return None,
    })
}

fn is_escaped_in_json(byte: u8) -> bool {
    byte < b' ' || matches!(byte, b'"' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(content_type: &'static str, value: &str) -> String {
        let mut page = Vec::new();
        Language::of(&HeaderValue::from_static(content_type)).push(value, &mut page);
        String::from_utf8(page).unwrap()
    }

    #[test]
    fn a_value_is_escaped_for_the_type_of_its_page() {
        let value = "<a b='c'>\"\\\n&é";
        let markup = "&lt;a b=&#39;c&#39;&gt;&#34;\\\n&amp;é";
        for content_type in
            ["text/html; charset=utf-8", "TEXT/HTML", "application/xhtml+xml", "image/svg+xml ;a=b"]
        {
            assert_eq!(written(content_type, value), markup, "{content_type}");
        }
        for content_type in ["application/json", "application/problem+json;charset=utf-8"] {
            let json = format!("\"{}\"", written(content_type, value));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), value, "{content_type}");
        }
        for content_type in ["text/plain", "a", ""] {
            assert_eq!(written(content_type, value), value, "{content_type}");
        }
    }
}
