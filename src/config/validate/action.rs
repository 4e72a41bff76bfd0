//! What a route does with a request: `upstream`, `redirect` or `respond`, and what goes with each.

use http::{HeaderValue, StatusCode};

use super::super::Action;
use super::super::item::Item;
use super::super::problem::{Checked, Fault, quoted};
use super::super::section::Section;
use super::super::table::{Kind, Setting, Table};
use super::super::value::http::header_value;
use super::destination;
use super::names::Names;
use super::shared::{FIELD_VALUE, pattern_fault, redirect_status, status};
use crate::route::Rewrite;
use crate::route::pattern::{PathPattern, Segment, Tail, Template};

pub(super) static REDIRECT: Table = Table::new(
    "A redirect that the gateway answers with.",
    &[
        Setting::new(
            "to",
            Kind::Pattern(&["/.*", "[Hh][Tt][Tt][Pp][Ss]?://.+"]),
            "The path or URL that the client is sent to, with what the pattern of `path` captured. The query of \
             the request is carried over.",
        )
        .example(r#""/new/*""#)
        .required(),
        Setting::new(
            "status",
            Kind::Integer(301, 308),
            "The status of the redirect: 301, 302, 303, 307 or 308.",
        )
        .example("301").or("308"),
    ],
);

pub(super) static RESPOND: Table = Table::new(
    "An answer that the gateway gives itself.",
    &[
        Setting::new("status", Kind::Integer(200, 599), "The status of the answer.").example("204").or("200"),
        Setting::new("body", Kind::Text, "The body of the answer.").example(r#""ok""#).or("\"\""),
        Setting::new("content_type", FIELD_VALUE, "The `Content-Type` of the answer.")
            .example(r#""application/json""#)
            .or("\"text/plain; charset=utf-8\""),
    ],
);

/// Reads the action of a route.
pub(super) fn action(
    section: &Section<'_>,
    name: &Checked<&str>,
    path: &Checked<PathPattern>,
    upstreams: &Names<'_>,
    underscores: bool,
) -> Checked<Action> {
    let mut given: Vec<(&str, Item<'_>, Checked<Action>)> = Vec::new();
    let forwards = section.get("redirect").is_none() && section.get("respond").is_none();
    let rewrite = if forwards { rewrite(section, path) } else { Ok(Rewrite::Keep) };
    if let Some(item) = section.get("upstream") {
        let to = destination::destination(section, &item, name, upstreams, underscores);
        let action = to.and_then(|to| Ok(Action::Proxy { to, rewrite: rewrite? }));
        given.push(("upstream", item, action));
    }
    if let Some(item) = section.get("redirect") {
        given.push(("redirect", item, redirect(&item, path)));
    }
    if let Some(item) = section.get("respond") {
        given.push(("respond", item, respond(&item)));
    }
    let mut given = given.into_iter();
    match (given.next(), given.next()) {
        (None, _) if section.misspells(&["upstream", "redirect", "respond"]) => {
            Err(section.sink.reported_later())
        }
        (None, _) => Err(section.report(
            Fault::new(format!("{} does nothing with a request", section.title))
                .hint("give it one of `upstream`, `redirect` and `respond`"),
        )),
        (Some((first, ..)), Some((second, item, _))) => Err(section.sink.report(
            item.key_span(),
            Fault::new(format!("{} has `{first}`, and cannot have `{second}` too", section.title))
                .hint("keep one of `upstream`, `redirect` and `respond`"),
        )),
        (Some((name, _, action)), None) => {
            if !forwards {
                section.useless(
                    &[
                        "encoded_slashes",
                        "split_by",
                        "strip_prefix",
                        "rewrite",
                        "timeout",
                        "request_headers",
                        "compression",
                    ],
                    &format!("in a route with `{name}`"),
                    "it is for what goes to an `upstream`: leave it out",
                )?;
            }
            action
        }
    }
}

/// Reads `strip_prefix` and `rewrite`.
fn rewrite(section: &Section<'_>, path: &Checked<PathPattern>) -> Checked<Rewrite> {
    let path = path.as_ref().map_err(|reported| *reported);
    let strip = section.optional("strip_prefix", |item| strip_prefix(&item, path?));
    let template = section.optional("rewrite", |item| {
        let path = path?;
        item.parse("a path such as \"/v2/{id}\"", |text| Template::parse(text, path).map_err(pattern_fault))
    });
    if let (Some(_), Some(item)) = (section.get("strip_prefix"), section.get("rewrite")) {
        let fault = Fault::new("a route has either `strip_prefix` or `rewrite`");
        return Err(section.sink.report(
            item.key_span(),
            fault.hint("keep `rewrite`, and write in it the path that the upstream receives"),
        ));
    }
    Ok(match (strip?, template?) {
        (Some(prefix), _) => Rewrite::StripPrefix(prefix),
        (None, Some(template)) => Rewrite::Template(template),
        (None, None) => Rewrite::Keep,
    })
}

/// A prefix of whole literal segments that `path` starts with.
fn strip_prefix(item: &Item<'_>, path: &PathPattern) -> Checked<String> {
    item.parse("a path such as \"/users\"", |text| {
        if !text.starts_with('/') {
            let fault = Fault::new("a prefix of a path starts with /");
            return Err(fault.hint(format!("did you mean {}?", quoted(&format!("/{text}")))));
        }
        let literal = |segment: &&Segment| matches!(segment, Segment::Literal(text) if !text.is_empty());
        let literals = path.segments.iter().take_while(literal).count();
        let most = PathPattern { segments: path.segments[..literals].to_vec(), tail: Tail::None }.to_string();
        let prefix = text.trim_end_matches('/').parse::<PathPattern>().ok();
        let starts = |prefix: &PathPattern| {
            prefix.tail == Tail::None
                && prefix.segments.len() <= literals
                && path.segments.starts_with(&prefix.segments)
        };
        match prefix.filter(starts) {
            Some(prefix) if !text.ends_with('/') => Ok(prefix.to_string()),
            Some(prefix) if text != "/" => Err(Fault::new(format!("{} ends with a slash", quoted(text)))
                .hint(format!("write \"{prefix}\": what is left keeps its slash"))),
            _ if text == "/" => {
                Err(Fault::new("there is nothing to strip in \"/\"").hint("leave out `strip_prefix`"))
            }
            _ if most.is_empty() => {
                Err(Fault::new(format!("{path} has no leading part that could be stripped"))
                    .hint("leave out `strip_prefix`, or use `rewrite`"))
            }
            _ => Err(Fault::new(format!(
                "{} is not the beginning of this route's path, {path}, in whole segments",
                quoted(text)
            ))
            .hint(format!("at most \"{most}\" can be stripped"))),
        }
    })
}

fn redirect(item: &Item<'_>, path: &Checked<PathPattern>) -> Checked<Action> {
    let section =
        item.section(&REDIRECT, "`redirect`".into(), "redirect = { to = \"/new\", status = 308 }")?;
    let to = section.required("to", "to = \"/new\"", |item| {
        let path = path.as_ref().map_err(|reported| *reported)?;
        item.parse("a path or URL such as \"/new/*\"", |text| {
            Template::parse_location(text, path).map_err(pattern_fault)
        })
    });
    let status = section.or("status", StatusCode::PERMANENT_REDIRECT, |item| redirect_status(&item));
    section.finish();
    Ok(Action::Redirect { to: to?, status: status? })
}

fn respond(item: &Item<'_>) -> Checked<Action> {
    let section = item.section(&RESPOND, "`respond`".into(), "respond = { status = 200, body = \"ok\" }")?;
    let status = section.or("status", StatusCode::OK, |item| status(&item, 200, 599));
    let body = section.or("body", String::new(), |item| {
        let body = item.text("a string")?;
        if let Ok(status @ (StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::NOT_MODIFIED)) =
            status
            && !body.is_empty()
        {
            let fault = Fault::new(format!("an answer with status {} has no body", status.as_u16()));
            return Err(item.report(fault.hint("leave out `body`, or use another status")));
        }
        Ok(body.to_owned())
    });
    let content_type =
        section.or("content_type", HeaderValue::from_static("text/plain; charset=utf-8"), |item| {
            item.parse("a string", header_value)
        });
    section.finish();
    Ok(Action::Respond { status: status?, body: body?, content_type: content_type? })
}
