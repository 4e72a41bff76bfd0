//! Makes a [`Config`] of the values of a file: section by section, then the checks across sections.
//!
//! Every section is read to its end whatever is wrong in it, and a check that compares two values is only made if both could be read, so
//! that one mistake is reported once.

mod access;
mod access_log;
mod action;
mod ambiguity;
mod auth;
mod auth_failures;
mod consumers;
mod cors;
mod destination;
mod errors;
mod headers;
mod https;
mod limits;
mod listen;
mod names;
mod overrides;
mod plans;
mod quota;
mod requirements;
mod routes;
mod server;
mod shared;
mod shared_store;
mod sticky;
mod tls;
mod tracing;
mod upstreams;

use std::sync::Arc;

use super::document::Node;
use super::env::Env;
use super::problem::{Checked, Sink, together};
use super::section::Section;
use super::table::{Kind, Setting, Table};
use super::{Config, HeaderChanges};
use crate::consumer::Consumers;
use crate::error_page::Pages;
use names::Names;

pub(super) use self::server::DEFAULT_ADMIN;

const INCLUDE: Kind = Kind::Either(&[shared::FILE, Kind::List(&shared::FILE, 0)]);

/// The keys of the whole file.
pub(super) static FILE: Table = Table::new(
    "The configuration of the gateway.",
    &[
        Setting::new(
            "server",
            Kind::Table(&server::SERVER),
            "The listeners, and what holds for the connections of clients.",
        ),
        Setting::new(
            "include",
            INCLUDE,
            "Other files that the gateway reads as a part of this one: a pattern, or a list of patterns. \
             They may have routes, limits, upstreams, plans, consumers and errors.",
        )
        .example(r#"["routes/*.toml"]"#),
        Setting::new("admin", Kind::Table(&server::ADMIN), "The side port: metrics, health, the live page."),
        Setting::new(
            "access_log",
            Kind::Table(&access_log::ACCESS_LOG),
            "The access log, which has a line for each request.",
        ),
        Setting::new("limiter", Kind::Table(&limits::LIMITER), "Settings for the buckets of all limits."),
        Setting::new(
            "tracing",
            Kind::Table(&tracing::TRACING),
            "Where traces are sent. Without this table requests are not traced: `traceparent` passes as it is, \
             and its trace id is in the access log.",
        ),
        Setting::new(
            "consumers",
            consumers::CONSUMERS,
            "The known callers, by name; or the path of a file that has their tables, or a list of such files.",
        ),
        Setting::new(
            "plans",
            Kind::Named("[A-Za-z0-9_.-]{1,64}", &Kind::Table(&consumers::PLAN)),
            "The plans that consumers can have, by name. Limits give each plan its terms.",
        ),
        Setting::new(
            "auth",
            Kind::Table(&auth::AUTH),
            "How callers prove who they are, and which fields tell upstreams about them.",
        ),
        Setting::new(
            "limits",
            Kind::Named("[A-Za-z0-9_.-]{1,64}", &Kind::Table(&limits::LIMIT)),
            "The limits, by name. Routes name those that hold for them.",
        ),
        Setting::new(
            "upstreams",
            Kind::Named(".{1,128}", &Kind::Table(&upstreams::UPSTREAM)),
            "The services behind the gateway, by name. Routes name the one that gets their requests.",
        ),
        Setting::new(
            "errors",
            errors::ERRORS,
            "The pages of the gateway's own refusals and errors, by status (`429`) or class (`4xx`, `5xx`).",
        )
        .example(r#"{ 503 = { file = "errors/503.html" } }"#),
        Setting::new(
            "routes",
            Kind::List(&Kind::Table(&routes::ROUTE), 1),
            "The routes. The most specific one that matches a request takes it, whatever their order.",
        )
        .required(),
    ],
);

/// Reads the whole file.
pub(super) fn config(root: &Node, sink: &Sink<'_>, env: Env<'_>) -> Checked<Config> {
    let file = Section::root(&FILE, root, sink);
    // What it names is a part of the tree already.
    file.get("include");
    let (server, admin) = (file.get("server"), file.get("admin"));
    let log = file.optional("access_log", access_log::read);
    let limiter =
        file.optional("limiter", limits::limiter).map(|read| read.unwrap_or_else(limits::default_limiter));
    let tracing = file.optional("tracing", tracing::tracing);
    let (limit_items, limit_names) = names::named(file.get("limits"), "limit", "[limits.NAME]", sink);
    let (upstream_items, upstream_names) =
        names::named(file.get("upstreams"), "upstream", "[upstreams.NAME]", sink);
    let (plan_items, plan_names) = names::named(file.get("plans"), "plan", "[plans.NAME]", sink);
    let page_files = errors::Files::default();
    let errors = file.optional("errors", |item| errors::of_file(&item, &page_files));
    let route_items = file.get("routes");

    let route_names = route_items.as_ref().map(routes::names).unwrap_or_default();
    let route_names = Names::new("route", "[[routes]]", Ok(route_names));
    let server = server::server(server, &limit_names);
    // If `[server]` cannot be read, no key is refused for the characters of a name.
    let underscores = server.server.as_ref().map_or(true, |server| server.underscores_in_headers);
    let plans = consumers::plans(&plan_items);
    let consumers = file.optional("consumers", |item| consumers::all(&item, &plan_names, env));
    let nobody = Consumers::default();
    let consumers_of_plans = match &consumers {
        Ok(Some(consumers)) => consumers.of_plans(plan_names.len()),
        _ => Vec::new(),
    };
    let limits = limits::all(
        &limit_items,
        &limiter,
        &route_names,
        &plans::Plans { names: &plan_names, consumers: consumers_of_plans },
        underscores,
    );
    let upstreams = upstreams::all(&upstream_items, underscores);
    let auth = file.optional("auth", |item| auth::auth(item, underscores));
    let default_auth = auth::default_auth();
    let (limits, auth_failures) = auth_failures::add(server.auth_failures, limits);
    let admin = server::admin(admin);
    let places = listen::distinct(&server.listen, &admin.listen, sink);
    let callers = access::Callers {
        plans: &plan_names,
        consumers: consumers.as_ref().ok().map(|read| read.as_ref().unwrap_or(&nobody)),
        auth: auth.as_ref().ok().map(|read| read.as_ref().unwrap_or(&default_auth)),
        server: server.server.as_ref().ok(),
        ways: server.ways,
        required: server.auth_required,
    };
    let no_changes = HeaderChanges::default();
    let everywhere = routes::Everywhere {
        limits: server.limits,
        max_body_size: server.max_body_size,
        underscores,
        response_headers: server.server.as_ref().map_or(&no_changes, |server| &server.response_headers),
        callers,
        errors: errors.as_ref().map(Option::as_ref).map_err(|reported| *reported),
        page_files: &page_files,
    };
    let routes = match route_items {
        Some(item) => routes::all(&item, &everywhere, &limit_names, &upstream_names, sink),
        None => Err(file.report(routes::none())),
    };
    file.finish();
    places?;
    let (auth, consumers, routes) = (auth?, consumers?, routes?);
    let is_asked = routes.iter().any(|route| !route.access.ways.is_empty());
    let auth = auth.or_else(|| (consumers.is_some() || is_asked).then_some(default_auth));
    Ok(Config {
        server: server.server?,
        admin: admin.admin?,
        access_log: log?.unwrap_or_else(|| Some(access_log::default())),
        limiter: limiter?,
        tracing: tracing?,
        plans: plans?,
        consumers: Arc::new(consumers.unwrap_or_default()),
        auth,
        auth_failures: auth_failures?,
        limits: limits?,
        upstreams: upstreams?,
        routes,
        errors: Pages::new(errors?.into_iter().collect()),
        files: Vec::new(),
        keys: Vec::new(),
        secrets: Vec::new(),
        shown: serde_json::Value::Null,
        advice: Vec::new(),
    })
}
