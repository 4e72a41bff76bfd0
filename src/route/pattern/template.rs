//! Templates: a path or URL built from what a pattern captured, as in `/v2/{id}` or `/new/*`.
//!
//! A template makes a normal path: its literals are normalised when it is read, and it inserts segments of a normal path, which contain no
//! slash and are no dot segments. The host of a URL is literal, so a client cannot choose where a redirect leads.

use std::str::FromStr;

use super::path::{check_dots, check_path, read_literal, read_name};
use super::{HostPattern, PathPattern, PatternError};
use crate::route::captures::Captures;
use crate::route::path::{Dots, dots};

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

/// The schemes of the URLs that a redirect may go to.
const SCHEMES: [&str; 2] = ["https://", "http://"];

impl Template {
    /// Reads the template of a path, for a route whose path is `pattern`.
    ///
    /// # Errors
    /// When it is no path, or names a parameter or a `*` that the pattern does not have.
    pub fn parse(text: &str, pattern: &PathPattern) -> Result<Self, PatternError> {
        let Some(tail) = text.strip_prefix('/') else {
            return refuse(text, "does not start with `/`: write it like `/v2/{id}`");
        };
        let mut pieces = Pieces::starting_with("/".to_owned());
        pieces.read_path(tail, pattern).or_else(|why| refuse(text, &why))?;
        Ok(Self { pieces: pieces.0 })
    }

    /// Reads the template of a redirect's target, for a route whose path is `pattern`: a path, or a URL that
    /// starts with `http://` or `https://`.
    ///
    /// # Errors
    /// When it is neither, or names a parameter or a `*` that the pattern does not have.
    pub fn parse_location(text: &str, pattern: &PathPattern) -> Result<Self, PatternError> {
        let scheme = SCHEMES
            .into_iter()
            .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
        let Some(scheme) = scheme else {
            if text.starts_with("//") {
                return refuse(text, "has no scheme: write it like `https://example.com/`");
            }
            if !text.starts_with('/') {
                return refuse(
                    text,
                    "is neither a path nor a URL: write it like `/new/*` or `https://example.com/new/*`",
                );
            }
            return Self::parse(text, pattern);
        };
        let after = &text[scheme.len()..];
        let (authority, tail) = after.split_once('/').unwrap_or((after, ""));
        let authority = read_authority(authority).or_else(|why| refuse(text, &why))?;
        let mut pieces = Pieces::starting_with(format!("{scheme}{authority}/"));
        pieces.read_path(tail, pattern).or_else(|why| refuse(text, &why))?;
        Ok(Self { pieces: pieces.0 })
    }

    /// The path or URL, made with the `captures` of the pattern in `path`. If the pattern's `*` matched nothing, the slash before it is
    /// left out too: `/old/*` to `/new/*` sends `/old` to `/new`.
    pub fn apply(&self, path: &str, captures: &Captures) -> String {
        let mut out = String::with_capacity(path.len() + 32);
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Parameter(index) => out.push_str(captures.parameter(path, *index).unwrap_or_default()),
                Piece::Rest => match captures.rest(path) {
                    Some(rest) => out.push_str(rest),
                    None if out.ends_with('/') && !is_root(&out) => {
                        out.pop();
                    }
                    None => {}
                },
            }
        }
        out
    }
}

/// Whether the slash at the end of a path or URL is the whole path.
fn is_root(location: &str) -> bool {
    let path = location.split_once("://").map_or(location, |(_, after)| after);
    path.find('/') == path.len().checked_sub(1)
}

fn refuse<T>(text: &str, why: &str) -> Result<T, PatternError> {
    Err(PatternError(format!("`{}` {why}", text.escape_debug())))
}

/// A host, perhaps with a port.
fn read_authority(text: &str) -> Result<String, String> {
    if text.contains(['{', '}', '*']) {
        return Err(
            "takes its host from the request: write the host out, or anybody could choose it".to_owned()
        );
    }
    let (host, port) = match text.rfind(':') {
        Some(at) if !text[at..].contains(']') => (&text[..at], &text[at..]),
        _ => (text, ""),
    };
    if let Some(digits) = port.strip_prefix(':') {
        let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
        if !is_number || !digits.parse::<u16>().is_ok_and(|port| port != 0) {
            return Err(format!("has the port `{digits}`: a port is a number from 1 to 65535"));
        }
    }
    match HostPattern::from_str(host) {
        Ok(HostPattern::Exact(host)) => Ok(format!("{host}{port}")),
        Ok(HostPattern::Wildcard(_)) => Err("has no certain host: write the host out".to_owned()),
        Err(error) => Err(format!("has no valid host: {error}")),
    }
}

/// The pieces of a template that is being read, starting with a literal.
struct Pieces(Vec<Piece>);

impl Pieces {
    fn starting_with(literal: String) -> Self {
        Self(vec![Piece::Literal(literal)])
    }

    fn push_literal(&mut self, text: &str) {
        match self.0.last_mut() {
            Some(Piece::Literal(last)) => last.push_str(text),
            _ if text.is_empty() => {}
            _ => self.0.push(Piece::Literal(text.to_owned())),
        }
    }

    /// Reads what follows the first slash.
    fn read_path(&mut self, tail: &str, pattern: &PathPattern) -> Result<(), String> {
        check_path(tail)?;
        let mut segments = tail.split('/').peekable();
        while let Some(segment) = segments.next() {
            let is_last = segments.peek().is_none();
            if segment == "*" && is_last {
                if !pattern.tail.is_some() {
                    return Err(format!("has a `*`, but the route's path `{pattern}` does not end in `/*`"));
                }
                self.0.push(Piece::Rest);
            } else {
                self.read_segment(segment, pattern)?;
            }
            if !is_last {
                self.push_literal("/");
            }
        }
        Ok(())
    }

    /// Reads a segment: literals and parameters in any order.
    fn read_segment(&mut self, segment: &str, pattern: &PathPattern) -> Result<(), String> {
        if segment.contains('*') {
            return Err("has `*` in the wrong place: it is the whole last segment, as in `/new/*`".to_owned());
        }
        let first = segment.split('{').next().unwrap_or_default();
        if first.len() == segment.len() {
            check_dots(&read_literal(first)?)?;
        } else if dots(&read_literal(first)?) != Dots::None {
            return Err(
                "has dots right before a parameter, which could make a dot segment: write it without"
                    .to_owned(),
            );
        }
        let mut rest = segment;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else {
                return Err("has a `{` that is not closed: write a parameter like `{id}`".to_owned());
            };
            let name = read_name(name)?;
            let index = pattern.parameter_names().position(|known| known == name).ok_or_else(|| {
                format!("has the parameter `{{{name}}}`, but the route's path `{pattern}` does not")
            })?;
            self.read_text(before)?;
            self.0.push(Piece::Parameter(index));
            rest = after;
        }
        self.read_text(rest)
    }

    fn read_text(&mut self, text: &str) -> Result<(), String> {
        if text.contains('}') {
            return Err("has a `}` that was not opened: write a parameter like `{id}`".to_owned());
        }
        let literal = read_literal(text)?;
        self.push_literal(&literal);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
