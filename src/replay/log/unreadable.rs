//! Why a line is not read.

use std::fmt;

/// Why a line is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreadable {
    /// It is longer than a line may be.
    TooLong,
    /// It stands before the first line that tells which format the file has.
    NoFormat,
    /// It does not have the parts of the format; this one is missing.
    Missing(&'static str),
    /// It is no JSON.
    NotJson,
    /// It is JSON, and a field is of another type than the format has.
    OtherType,
    /// The server could not read a request: there is nothing to replay.
    NoRequest,
    /// This field is not written as the format writes it.
    Malformed(&'static str),
    /// The value of this field is one that cannot be.
    OutOfRange(&'static str),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLong => f.write_str("longer than 1 MiB"),
            Self::NoFormat => f.write_str("in no format that is known"),
            Self::Missing(field) => write!(f, "without {field}"),
            Self::NotJson => f.write_str("not an object of JSON"),
            Self::OtherType => f.write_str("a field of another type"),
            Self::NoRequest => f.write_str("no request"),
            Self::Malformed(field) => write!(f, "{field} cannot be read"),
            Self::OutOfRange(field) => write!(f, "{field} out of range"),
        }
    }
}
