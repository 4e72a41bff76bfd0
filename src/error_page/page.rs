//! A page: a text with placeholders such as `{{status}}`.

use std::ops::Range;

use bytes::Bytes;
use http::{HeaderValue, StatusCode};

use super::escape::{Language, essence};

/// What stands for a value of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placeholder {
    /// The number of the status: `429`.
    Status,
    /// The name of the status: `Too Many Requests`.
    Title,
    /// What is wrong, in a sentence.
    Detail,
    /// How many seconds to wait, as in `Retry-After`; empty if the answer has no such field.
    RetryAfter,
    /// What names the request in logs.
    RequestId,
    /// The names of the limits that refused the request, with commas between them; empty if none did.
    Limit,
}

impl Placeholder {
    const ALL: [Self; 6] =
        [Self::Status, Self::Title, Self::Detail, Self::RetryAfter, Self::RequestId, Self::Limit];

    /// The names of all, as they are written between braces.
    pub const NAMES: [&'static str; 6] = ["status", "title", "detail", "retry_after", "request_id", "limit"];

    fn named(name: &str) -> Option<Self> {
        Self::NAMES.iter().position(|&known| known == name).map(|index| Self::ALL[index])
    }
}

/// What an answer says, to fill a page with.
#[derive(Clone, Copy, Debug)]
pub struct Filling<'a> {
    /// The status.
    pub status: StatusCode,
    /// What is wrong.
    pub detail: &'a str,
    /// The value of `Retry-After`.
    pub retry_after: Option<&'a HeaderValue>,
    /// The name of the request in logs.
    pub request_id: Option<&'a HeaderValue>,
    /// The names of the limits that refused the request.
    pub limits: &'a [String],
}

/// Why a text is no page, and where: a range of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PageError {
    /// `{{` without its `}}`.
    Unclosed(Range<usize>),
    /// There is no placeholder of this name.
    Unknown(Range<usize>, String),
    /// A placeholder in a text of more than [`MAX_FILLED`] bytes.
    Large(Range<usize>),
}

/// The most bytes of a text with placeholders. Each answer has a copy of such a page, and keeps it for as long as its client takes.
pub const MAX_FILLED: usize = 16 * 1024;

/// A text with its type, in which placeholders stand for values of the answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    content_type: HeaderValue,
    language: Language,
    pieces: Vec<Piece>,
    /// The bytes of its texts.
    length: usize,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(Bytes),
    Value(Placeholder),
}

impl Page {
    /// The page of this text. `{{{{` in it is `{{`.
    ///
    /// # Errors
    /// All that is wrong with its placeholders.
    pub fn parse(text: &str, content_type: HeaderValue) -> Result<Self, Vec<PageError>> {
        let (mut pieces, mut errors) = (Vec::new(), Vec::new());
        let mut literal = String::new();
        let mut at = 0;
        while let Some(open) = text[at..].find("{{").map(|found| at + found) {
            literal.push_str(&text[at..open]);
            let inner = open + 2;
            if text[inner..].starts_with("{{") {
                literal.push_str("{{");
                at = inner + 2;
                continue;
            }
            let Some(close) = text[inner..].find("}}").map(|found| inner + found) else {
                errors.push(PageError::Unclosed(open..inner));
                at = text.len();
                break;
            };
            let name = text[inner..close].trim();
            at = close + 2;
            match Placeholder::named(name) {
                Some(_) if text.len() > MAX_FILLED => {
                    errors.push(PageError::Large(open..at));
                    break;
                }
                Some(placeholder) => {
                    push(&mut literal, &mut pieces);
                    pieces.push(Piece::Value(placeholder));
                }
                None => errors.push(PageError::Unknown(open..at, name.to_owned())),
            }
        }
        literal.push_str(&text[at..]);
        push(&mut literal, &mut pieces);
        if !errors.is_empty() {
            return Err(errors);
        }
        let length = |piece: &Piece| match piece {
            Piece::Text(text) => text.len(),
            Piece::Value(_) => 0,
        };
        let length = pieces.iter().map(length).sum();
        Ok(Self { language: Language::of(&content_type), content_type, pieces, length })
    }

    /// Its type.
    pub fn content_type(&self) -> &HeaderValue {
        &self.content_type
    }

    /// Whether it is for people, in a browser.
    pub fn is_html(&self) -> bool {
        let name = essence(&self.content_type);
        ["text/html", "application/xhtml+xml"].iter().any(|html| name.eq_ignore_ascii_case(html.as_bytes()))
    }

    /// The page with the values of an answer.
    pub fn filled(&self, filling: &Filling<'_>) -> Bytes {
        if let [Piece::Text(text)] = &*self.pieces {
            return text.clone();
        }
        let mut page = Vec::with_capacity(self.length + 128);
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => page.extend_from_slice(text),
                Piece::Value(placeholder) => self.push_value(*placeholder, filling, &mut page),
            }
        }
        Bytes::from(page)
    }

    fn push_value(&self, placeholder: Placeholder, filling: &Filling<'_>, page: &mut Vec<u8>) {
        let mut push = |value: &str| self.language.push(value, page);
        match placeholder {
            Placeholder::Status => push(filling.status.as_str()),
            Placeholder::Title => push(filling.status.canonical_reason().unwrap_or("Unknown")),
            Placeholder::Detail => push(filling.detail),
            Placeholder::RetryAfter => push(text(filling.retry_after)),
            Placeholder::RequestId => push(text(filling.request_id)),
            Placeholder::Limit => {
                for (index, name) in filling.limits.iter().enumerate() {
                    if index > 0 {
                        push(", ");
                    }
                    push(name);
                }
            }
        }
    }
}

fn text(field: Option<&HeaderValue>) -> &str {
    field.and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// Ends a literal text, if there is one.
fn push(literal: &mut String, pieces: &mut Vec<Piece>) {
    if !literal.is_empty() {
        pieces.push(Piece::Text(Bytes::from(std::mem::take(literal))));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

    fn filled(text: &str) -> String {
        let id = HeaderValue::from_static("id-1");
        let wait = HeaderValue::from(7);
        let filling = Filling {
            status: StatusCode::TOO_MANY_REQUESTS,
            detail: "a < b",
            retry_after: Some(&wait),
            request_id: Some(&id),
            limits: &["one".to_owned(), "two".to_owned()],
        };
        let page = Page::parse(text, HTML).unwrap();
        String::from_utf8(page.filled(&filling).to_vec()).unwrap()
    }

    #[test]
    fn placeholders_stand_for_values() {
        assert_eq!(
            filled("<h1>{{status}} {{ title }}</h1>{{detail}} {{retry_after}} {{request_id}} {{limit}}"),
            "<h1>429 Too Many Requests</h1>a &lt; b 7 id-1 one, two"
        );
        assert_eq!(filled(""), "");
        assert_eq!(filled("{{status}}{{status}}"), "429429");
    }

    #[test]
    fn braces_stay_where_they_are_no_placeholders() {
        let css = "@media print { a { color: red }} {\"a\":{\"b\":1}} } { }} ${X}";
        assert_eq!(filled(css), css);
        assert_eq!(filled("{{{{ mustache }} {{{{{{status}}"), "{{ mustache }} {{429");
    }

    #[test]
    fn a_page_without_placeholders_is_not_copied() {
        let page = Page::parse("same", HTML).unwrap();
        let filling =
            Filling { status: StatusCode::OK, detail: "", retry_after: None, request_id: None, limits: &[] };
        assert_eq!(page.filled(&filling).as_ptr(), page.filled(&filling).as_ptr());
    }

    #[test]
    fn a_large_text_has_no_placeholders() {
        let large = "x".repeat(MAX_FILLED);
        assert_eq!(filled(&large), large);
        let page = Page::parse(&format!("{large}{{{{status}}}}"), HTML);
        assert_eq!(page.unwrap_err(), [PageError::Large(MAX_FILLED..MAX_FILLED + 10)]);
    }

    #[test]
    fn all_that_is_wrong_is_told_with_its_place() {
        assert_eq!(
            Page::parse("é {{stauts}} {{}} {{status}} {{no", HTML).unwrap_err(),
            [
                PageError::Unknown(3..13, "stauts".to_owned()),
                PageError::Unknown(14..18, String::new()),
                PageError::Unclosed(30..32),
            ]
        );
    }
}
