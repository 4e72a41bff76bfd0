//! `[[routes]]`.

use std::collections::HashMap;
use std::sync::Arc;

use super::super::item::Item;
use super::super::problem::{Checked, Fault, Sink, Span, quoted, together};
use super::super::section::Section;
use super::super::table::{Kind, Setting, Table};
use super::super::{HeaderChanges, Route};
use super::access::{self, Callers};
use super::ambiguity::{self, Matcher};
use super::names::{Names, label};
use super::shared::{self, DURATION_OR_ZERO, HOST, METHOD, SIZE, limits, pattern_fault};
use super::{action, auth, cors, destination, errors, headers, requirements};
use crate::compression::Coding;
use crate::error_page::Layer;
use crate::route::Requirement;
use crate::route::pattern::{HostPattern, PathPattern};

pub(super) static ROUTE: Table = Table::new(
    "A route: which requests it takes, and what is done with them.",
    &[
        Setting::new(
            "name",
            Kind::Pattern(&[".{1,128}"]),
            "The name of the route in metrics and logs. No two routes have the same.",
        )
        .example(r#""users""#)
            .required(),
        Setting::new(
            "hosts",
            Kind::List(&HOST, 1),
            "The hosts for which the route is. Without this key it is for any.",
        )
        .example(r#"["api.example.com", "*.example.org"]"#),
        Setting::new(
            "path",
            Kind::Pattern(&["/.*"]),
            "The path pattern: `\"/users\"` is that path alone, `\"/users/*\"` is `/users` and everything below \
             it, `\"/assets/*.js\"` is what is below `/assets` and ends in `.js`, `\"/users/{id}/orders\"` has one \
             segment in the place of `{id}`.",
        )
        .example(r#""/users/*""#)
        .required(),
        Setting::new(
            "methods",
            Kind::List(&METHOD, 1),
            "The methods that the route takes; a route that names GET takes HEAD too. Without this key it takes \
             any.",
        )
        .example(r#"["GET"]"#),
        Setting::new(
            "headers",
            requirements::HEADERS,
            "Header fields that a request must have: with this value, or with any (`true`).",
        )
        .example(r#"{ X-Version = "2", X-Debug = true }"#),
        Setting::new(
            "query",
            requirements::QUERY,
            "Query parameters that a request must have: with this value, or with any (`true`).",
        )
        .example(r#"{ beta = "1" }"#),
        Setting::new(
            "encoded_slashes",
            Kind::Word(&["refuse", "keep"]),
            "What an encoded slash (`%2F`) in a path does: the request is refused with 400, or the slash is kept \
             as a character of its segment and goes upstream as `%2F`.",
        )
        .or("\"refuse\""),
        Setting::new(
            "upstream",
            destination::UPSTREAM,
            "The name of the upstream that gets the requests, or the weights of several upstreams, from 0 to 1,000,000: each gets its share of the requests.",
        )
        .example(r#"{ stable = 95, canary = 5 }"#),
        Setting::new(
            "split_by",
            destination::SPLIT_BY,
            "The part of a request that decides which of several upstreams it goes to, such as `client_ip`. Without this key every request is drawn by chance.",
        )
        .example(r#""client_ip""#),
        Setting::new(
            "redirect",
            Kind::Table(&action::REDIRECT),
            "A redirect that the gateway answers with, instead of an upstream.",
        ),
        Setting::new(
            "respond",
            Kind::Table(&action::RESPOND),
            "An answer that the gateway gives itself, instead of an upstream.",
        ),
        Setting::new(
            "strip_prefix",
            Kind::Pattern(&["/.+"]),
            "Whole segments that are taken away from the front of the path.",
        )
        .example(r#""/api""#),
        Setting::new(
            "rewrite",
            Kind::Pattern(&["/.*"]),
            "The path that the upstream gets, with what the pattern captured.",
        )
        .example(r#""/v2/{id}""#),
        Setting::new(
            "limits",
            Kind::List(&Kind::Text, 0),
            "The names of the route's limits. Every one must admit a request; a refused request takes no tokens \
             from any.",
        )
        .example(r#"["per_client"]"#)
            .or("[]"),
        Setting::new(
            "server_limits",
            Kind::Boolean,
            "Whether `server.limits` hold for this route too.",
        ).or("true"),
        Setting::new(
            "auth",
            auth::WAYS,
            "How callers prove who they are, in the order in which the ways are tried; one of them suffices. `[]` \
             asks nobody. Without this key it is `server.auth`.",
        )
        .example(r#"["api_key", "jwt"]"#),
        Setting::new(
            "auth_required",
            Kind::Boolean,
            "Whether a request without credentials gets 401. With `false` it is let in as a stranger. Without \
             this key it is `server.auth_required`.",
        ),
        Setting::new(
            "allow",
            access::SUBJECTS,
            "Who is let in. Without this key it is everybody.",
        )
        .example(r#"["consumer:alice", "plan:pro", "10.0.0.0/8"]"#),
        Setting::new(
            "deny",
            access::SUBJECTS,
            "Who is not let in, also if `allow` names them.",
        )
        .example(r#"["192.0.2.0/24"]"#).or("[]"),
        Setting::new(
            "timeout",
            DURATION_OR_ZERO,
            "How long a request and its answer may take together. After that the request gets 504, or if \
             the answer has begun, the connection is closed. `0` is no bound.",
        )
        .example(r#""30s""#)
            .or("0"),
        Setting::new(
            "max_body_size",
            SIZE,
            "The largest request body; a larger one gets 413. Without this key it is `server.max_body_size`.",
        )
        .example(r#""1GiB""#),
        Setting::new(
            "request_headers",
            Kind::Table(&headers::CHANGES),
            "Changes to the fields that the upstream receives.",
        ),
        Setting::new(
            "response_headers",
            Kind::Table(&headers::CHANGES),
            "Changes to the fields that the client receives. Refusals and errors of the gateway are not changed, \
             except where `server.response_headers` names the same field.",
        ),
        Setting::new(
            "compression",
            Kind::Either(&[Kind::Boolean, Kind::List(&Kind::Word(&["zstd", "br", "gzip"]), 1)]),
            "Whether answers are compressed: `true`, or a list of codings with the preferred one first.",
        )
        .example(r#"["zstd", "br", "gzip"]"#)
        .or("false"),
        Setting::new(
            "access_log",
            Kind::Boolean,
            "Whether requests of the route have lines in the access log.",
        ).or("true"),
        Setting::new(
            "cors",
            Kind::Table(&cors::CORS),
            "Which scripts of other origins may use the route. Without this table CORS is the upstream's \
             business.",
        ),
        Setting::new(
            "errors",
            errors::ERRORS_OF_ROUTE,
            "Pages for the refusals and errors of this route. They go before those of `[errors]`. With \
             `false` the route has no pages.",
        )
        .example(r#"{ 404 = { file = "shop/404.html" } }"#),
    ],
)
.with_one_of(&["upstream", "redirect", "respond"]);

/// The settings of `[server]` for every route.
pub(super) struct Everywhere<'a> {
    /// The limits that come before a route's own.
    pub(super) limits: Checked<Vec<usize>>,
    /// The largest body, where a route does not say.
    pub(super) max_body_size: Checked<u64>,
    /// Whether fields are passed on whose names have other characters than letters, digits and `-`.
    pub(super) underscores: bool,
    /// What is changed in answers.
    pub(super) response_headers: &'a HeaderChanges,
    /// Who may call.
    pub(super) callers: Callers<'a>,
    /// The pages of `[errors]`.
    pub(super) errors: Checked<Option<&'a Arc<Layer>>>,
    /// The files of pages that have been read.
    pub(super) page_files: &'a errors::Files,
}

/// The fault of a file without routes.
pub(super) fn none() -> Fault {
    Fault::new("there are no routes: the gateway would answer everything with 404")
        .hint("write [[routes]] with a name, a path and an upstream")
}

/// The names of the routes that can be read. [`all`] reports the problems of the others.
pub(super) fn names<'a>(item: &Item<'a>) -> Vec<&'a str> {
    item.one_or_list().iter().filter_map(|route| route.text_of("name")).collect()
}

/// Reads `[[routes]]`.
pub(super) fn all(
    item: &Item<'_>,
    everywhere: &Everywhere<'_>,
    limits: &Names<'_>,
    upstreams: &Names<'_>,
    sink: &Sink<'_>,
) -> Checked<Vec<Route>> {
    if !item.is_list() {
        return Err(item.mismatch("a list of tables", Some("write [[routes]], in double brackets".into())));
    }
    let items = item.list("tables")?;
    if items.is_empty() {
        return Err(item.report(none()));
    }
    let mut known = HashMap::new();
    let mut matchers: Vec<Matcher> = Vec::new();
    let routes = together(items.iter().map(|item| {
        let section = item.section(&ROUTE, "this route".into(), "[[routes]] and its keys below")?;
        let (route, matcher) = route(section, everywhere, limits, upstreams, sink, &mut known);
        matchers.extend(matcher);
        route
    }));
    ambiguity::check(&matchers, sink)?;
    routes
}

fn route<'a>(
    mut section: Section<'a>,
    everywhere: &Everywhere<'_>,
    limit_names: &Names<'_>,
    upstreams: &Names<'_>,
    sink: &Sink<'_>,
    known: &mut HashMap<&'a str, usize>,
) -> (Checked<Route>, Option<Matcher>) {
    let name = section.required("name", "name = \"users\"", |item| name(&item, sink, known));
    if let Ok(name) = name {
        section.title = format!("the route {}", quoted(name));
    }
    let hosts = section.or("hosts", Vec::new(), hosts);
    let path = section.required("path", "path = \"/users/*\"", |item| path(&item));
    let methods = section.or("methods", Vec::new(), methods);
    let fields =
        section.optional("headers", |item| requirements::headers(&item, everywhere.underscores, sink));
    let parameters = section.optional("query", |item| requirements::query(&item, sink));
    let requirements = fields.and_then(|fields| {
        let all = [fields.unwrap_or_default(), parameters?.unwrap_or_default()];
        Ok(all.concat())
    });
    let keeps_encoded_slashes =
        section.or("encoded_slashes", false, |item| item.word(&[("refuse", false), ("keep", true)]));
    let action = action::action(&section, &name, &path, upstreams, everywhere.underscores);
    let access = access::access(&section, &everywhere.callers);
    let own = section.or("limits", Vec::new(), |item| limits(&item, limit_names));
    let server_limits = section.or("server_limits", true, |item| item.boolean());
    let timeout = section.optional("timeout", |item| item.duration_or_zero());
    let max_body_size = match section.get("max_body_size") {
        Some(item) => item.size(),
        None => everywhere.max_body_size,
    };
    let request_headers =
        section.optional("request_headers", |item| headers::changes(item, "request_headers", sink));
    let response_headers =
        section.optional("response_headers", |item| headers::changes(item, "response_headers", sink));
    let compression = section.or("compression", Vec::new(), |item| compression(&item));
    let is_logged = section.or("access_log", true, |item| item.boolean());
    let cors = section.optional("cors", |item| cors::cors(&item, methods.as_deref().unwrap_or_default()));
    let errors = errors::of_route(section.get("errors"), everywhere.errors, everywhere.page_files);
    let place = section.get("path").map_or_else(|| section.span.clone(), |item| item.span().clone());
    let located = sink.locate(&section.span);
    section.finish();
    let matcher = matcher(name, place, &hosts, &path, &methods, &requirements);
    let route = (|| {
        let of_server = everywhere.limits.as_ref().map_err(|reported| *reported)?;
        let has_server_limits = server_limits?;
        let mut limits = if has_server_limits { of_server.clone() } else { Vec::new() };
        let own = own?.into_iter().filter(|limit| !limits.contains(limit)).collect::<Vec<_>>();
        limits.extend(own);
        Ok(Route {
            file: located.file.as_deref().map(Into::into),
            line: located.place.start.line,
            name: name?.to_owned(),
            hosts: hosts?,
            path: path?,
            keeps_encoded_slashes: keeps_encoded_slashes?,
            methods: methods?,
            requirements: requirements?,
            limits,
            is_exempt: !has_server_limits && !of_server.is_empty(),
            access: access?,
            action: action?,
            timeout: timeout?.filter(|timeout| !timeout.is_zero()),
            max_body_size: max_body_size?,
            request_headers: request_headers?.unwrap_or_default(),
            response_headers: headers::with(
                response_headers?.unwrap_or_default(),
                everywhere.response_headers,
            ),
            compression: compression?,
            is_logged: is_logged?,
            cors: cors?,
            errors: errors?,
        })
    })();
    (route, matcher)
}

/// Reads the name, which no other route has.
fn name<'a>(item: &Item<'a>, sink: &Sink<'_>, known: &mut HashMap<&'a str, usize>) -> Checked<&'a str> {
    let name = item.text("a string")?;
    label("route", name).map_err(|fault| item.report(fault))?;
    if let Some(other) = known.get(name) {
        let line = sink.line_seen_from(item.span().start, *other);
        let fault = Fault::new(format!("another route is called {} ({line})", quoted(name)));
        return Err(
            item.report(fault.hint("give each route its own name: it tells them apart in metrics and logs"))
        );
    }
    known.insert(name, item.span().start);
    Ok(name)
}

fn hosts(item: Item<'_>) -> Checked<Vec<HostPattern>> {
    let host = |item: Item<'_>| {
        item.parse("a host such as \"api.example.com\"", |text| text.parse().map_err(pattern_fault))
    };
    let hosts = item.values("hosts", host).each_once().all()?;
    match hosts.is_empty() {
        true => Err(item.report(matches_nothing("hosts").hint("leave out `hosts` for any host"))),
        false => Ok(hosts),
    }
}

fn methods(item: Item<'_>) -> Checked<Vec<http::Method>> {
    let methods = shared::methods(item)?;
    match methods.is_empty() {
        true => Err(item.report(matches_nothing("methods").hint("leave out `methods` for any method"))),
        false => Ok(methods),
    }
}

/// A switch, or the codings that are offered, the best first.
fn compression(item: &Item<'_>) -> Checked<Vec<Coding>> {
    if !item.is_list() {
        let switch = item.boolean_or(", or a list such as [\"br\", \"gzip\"]")?;
        return Ok(if switch { Coding::ALL.to_vec() } else { Vec::new() });
    }
    let words = Coding::ALL.map(|coding| (coding.name(), coding));
    let codings = item.values("content codings", |item| item.word(&words)).each_once().all()?;
    match codings.is_empty() {
        true => Err(item.report(
            Fault::new("with an empty list of codings nothing would be compressed")
                .hint("name one at least, or leave out `compression`"),
        )),
        false => Ok(codings),
    }
}

fn path(item: &Item<'_>) -> Checked<PathPattern> {
    item.parse("a path such as \"/users/*\"", |text| text.parse().map_err(pattern_fault))
}

fn matches_nothing(key: &str) -> Fault {
    Fault::new(format!("with an empty list of {key} this route would match nothing"))
}

/// The conditions of the route, if all of them could be read.
fn matcher(
    name: Checked<&str>,
    place: Span,
    hosts: &Checked<Vec<HostPattern>>,
    path: &Checked<PathPattern>,
    methods: &Checked<Vec<http::Method>>,
    requirements: &Checked<Vec<Requirement>>,
) -> Option<Matcher> {
    Some(Matcher {
        name: name.ok().map(str::to_owned),
        place,
        hosts: hosts.as_ref().ok()?.clone(),
        path: path.as_ref().ok()?.clone(),
        methods: methods.as_ref().ok()?.clone(),
        requirements: requirements.as_ref().ok()?.clone(),
    })
}
