//! What a route matches: patterns of hosts and paths, and templates built from what a path pattern captured.

use std::fmt;

/// A host pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// `api.example.com`: this host alone. In lower case, without a port.
    Exact(String),
    /// `*.example.org`: every host below it, at any depth. Holds `example.org`, in lower case.
    Wildcard(String),
}

/// A path pattern: literal and parameter segments, and perhaps all that lies below them.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// The segments between the slashes. `/` alone is one empty literal segment; `/*` has none.
    pub segments: Vec<Segment>,
    /// Whether the pattern ends in `/*`: the path itself and everything below it.
    pub prefix: bool,
}

/// A segment of a path pattern.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Segment {
    /// These characters, normalised.
    Literal(String),
    /// `{name}`: any one segment that is not empty.
    Parameter(String),
}

/// A path or URL to build from a match: `/v2/{id}`, `/new/*`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The pieces, in order.
    pub pieces: Vec<Piece>,
}

/// A piece of a [`Template`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// These characters.
    Literal(String),
    /// The segment that the pattern's parameter of this index matched (counted from 0, left to right).
    Parameter(usize),
    /// What the pattern's `*` matched, without its leading slash.
    Rest,
}

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
        if self.prefix { f.write_str("/*") } else { Ok(()) }
    }
}
