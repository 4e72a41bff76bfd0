//! What a route matches: patterns of hosts and paths, and templates built from what a path pattern captured.
//!
//! They are parsed once, when the config is read, into the normal form of what they are compared with: hosts in
//! lower case, paths as [`normalise`](super::path::normalise) leaves them. A pattern that no request could match is refused with a
//! correction.

mod host;
mod path;
mod template;

use std::fmt;

pub use self::path::{MAX_PARAMETERS, MAX_SEGMENTS};
pub use self::template::{Piece, Template};

/// Why a text is no pattern or template: a sentence that says what is wrong and what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PatternError(String);

/// A host pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `api.example.com`: only this host. In lower case, without a port.
    Exact(String),
    /// `*.example.org`: every host below it, at any depth. Holds `example.org`, in lower case.
    Wildcard(String),
}

/// A path pattern: literal and parameter segments, and perhaps all that lies below them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// The segments between the slashes. A path that ends in `/` ends in an empty literal
    /// segment, so `/` alone is one empty literal segment; `/*` has none.
    pub segments: Vec<Segment>,
    /// What it matches below its segments.
    pub tail: Tail,
}

/// What a path pattern matches below its segments.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Tail {
    /// Nothing: the pattern matches one depth only.
    None,
    /// `/*`: the path itself and everything below it.
    All,
    /// `/*.js`: everything below it that ends so. The ending is normalised, not empty, and has no slash.
    Ending(String),
}

impl Tail {
    /// Whether there is one.
    pub fn is_some(&self) -> bool {
        *self != Self::None
    }
}

/// A segment of a path pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// These characters, normalised.
    Literal(String),
    /// `{name}`: any one segment that is not empty.
    Parameter(String),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PatternError {}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Wildcard(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            match segment {
                Segment::Literal(text) => write!(f, "/{text}")?,
                Segment::Parameter(name) => write!(f, "/{{{name}}}")?,
            }
        }
        match &self.tail {
            Tail::None => Ok(()),
            Tail::All => f.write_str("/*"),
            Tail::Ending(ending) => write!(f, "/*{ending}"),
        }
    }
}
