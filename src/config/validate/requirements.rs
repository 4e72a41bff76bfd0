//! `headers` and `query` of a route: the fields and parameters that it asks for.

use std::collections::HashSet;

use http::{HeaderName, header};

use super::super::item::Item;
use super::super::problem::{Checked, Fault, Sink, quoted};
use super::super::table::Kind;
use super::super::value::http::{HEADER_NAME, header_value};
use super::super::value::key::field;
use crate::route::{Requirement, Source};

/// Fields whose value is `true` or text that is not empty.
pub(super) const HEADERS: Kind =
    Kind::Named(HEADER_NAME, &Kind::Either(&[Kind::Boolean, Kind::Pattern(&["[!-~]([\t -~]*[!-~])?"])]));
/// Parameters whose value is `true` or text that is not empty.
pub(super) const QUERY: Kind = Kind::Named(".+", &Kind::Either(&[Kind::Boolean, Kind::Pattern(&[".+"])]));

const HEADERS_EXAMPLE: &str = "headers = { X-Version = \"2\" }";
const QUERY_EXAMPLE: &str = "query = { beta = \"1\" }";

/// Reads `headers`. `underscores` says whether fields are passed on whose names have other characters than letters, digits and `-`.
pub(super) fn headers(item: &Item<'_>, underscores: bool, sink: &Sink<'_>) -> Checked<Vec<Requirement>> {
    let mut known = HashSet::new();
    let mut headers = all(item, HEADERS_EXAMPLE, sink, |name| {
        let name = field(name, underscores)?;
        told_otherwise(&name)?;
        match known.insert(name.clone()) {
            true => Ok(Source::Header(name)),
            false => Err(Fault::new(format!(
                "`{name}` is there twice: case does not count in the name of a field"
            ))
            .hint("keep one of the two")),
        }
    })?;
    for (requirement, item) in &headers {
        if let Some(value) = &requirement.value {
            header_value(value).map_err(|fault| item.report(fault))?;
            if value.trim_ascii() != value {
                let fault = Fault::new("spaces around the value of a field get lost on the way");
                return Err(item.report(fault.hint("leave them out")));
            }
        }
    }
    headers.sort_by(|(one, _), (other, _)| name(&one.source).cmp(name(&other.source)));
    Ok(headers.into_iter().map(|(requirement, _)| requirement).collect())
}

/// Reads `query`.
pub(super) fn query(item: &Item<'_>, sink: &Sink<'_>) -> Checked<Vec<Requirement>> {
    let mut parameters = all(item, QUERY_EXAMPLE, sink, |name| match name.is_empty() {
        true => Err(Fault::new("a parameter has a name").hint(format!("write {QUERY_EXAMPLE}"))),
        false => Ok(Source::Query(name.to_owned())),
    })?;
    parameters.sort_by(|(one, _), (other, _)| name(&one.source).cmp(name(&other.source)));
    Ok(parameters.into_iter().map(|(requirement, _)| requirement).collect())
}

/// Reads a table of names and values.
fn all<'a>(
    item: &Item<'a>,
    example: &str,
    sink: &Sink<'_>,
    mut source: impl FnMut(&'a str) -> Result<Source, Fault>,
) -> Checked<Vec<(Requirement, Item<'a>)>> {
    let (mut read, mut complete) = (Vec::new(), Ok(()));
    let named = item.named(example)?;
    if named.is_empty() {
        let fault = Fault::new("an empty table asks for nothing");
        return Err(item.report(fault.hint(format!("write {example}, or leave it out"))));
    }
    for (name, item) in named {
        let source = source(name).map_err(|fault| sink.report(item.key_span(), fault));
        match (source, value(&item)) {
            (Ok(source), Ok(value)) => read.push((Requirement { source, value }, item)),
            (Err(reported), _) | (_, Err(reported)) => complete = Err(reported),
        }
    }
    complete.map(|()| read)
}

/// The value that is asked for; `None` for any.
fn value(item: &Item<'_>) -> Checked<Option<String>> {
    if item.is_boolean() {
        return match item.boolean()? {
            true => Ok(None),
            false => Err(item.report(
                Fault::new("a route cannot ask that something is not there")
                    .hint("leave it out: a route that asks for it goes before this one"),
            )),
        };
    }
    let text = item.text("a string, or true for any value")?;
    match text {
        "" => Err(item.report(
            Fault::new("an empty value counts as not there").hint("name a value, or write true for any"),
        )),
        "*" => Err(item.report(Fault::new("\"*\" is no pattern here").hint("write true for any value"))),
        text => Ok(Some(text.to_owned())),
    }
}

/// Refuses fields for which the configuration has another place, or which have no single value.
fn told_otherwise(name: &HeaderName) -> Result<(), Fault> {
    let hint = match *name {
        header::HOST => "write `hosts`",
        header::AUTHORIZATION => "routes know callers by `auth`, `allow` and `deny`",
        header::COOKIE => "a request has several cookies in one field; go by another field or by `query`",
        header::CONTENT_LENGTH | header::EXPECT => "go by a field that is the application's",
        _ => return Ok(()),
    };
    Err(Fault::new(format!("routes do not go by {}", quoted(name.as_str()))).hint(hint))
}

fn name(source: &Source) -> &str {
    match source {
        Source::Header(name) => name.as_str(),
        Source::Query(name) => name,
    }
}
