//! The name of a server.

use std::fmt;
use std::str::FromStr;

use axum::http::HeaderValue;

/// What a server calls itself in `X-Backend`: text that fits in a header, and is not empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name(HeaderValue);

impl Name {
    pub(crate) fn header(&self) -> HeaderValue {
        self.0.clone()
    }
}

impl Default for Name {
    fn default() -> Self {
        Self(HeaderValue::from_static("mock"))
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(InvalidName);
        }
        HeaderValue::from_str(text).map(Self).map_err(|_| InvalidName)
    }
}

/// The text is not a [`Name`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidName;

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name is one or more visible ASCII characters, without spaces")
    }
}

impl std::error::Error for InvalidName {}
