//! `[auth]`: how callers prove who they are, and what upstreams are told of them.

mod api_key;
mod basic;
mod forward;
mod jwt;

use http::HeaderName;

use super::super::item::Item;
use super::super::problem::{Checked, Fault, Reported};
use super::super::section::Section;
use super::super::table::{Kind, Setting, Table};
use super::super::value::http::header_name;
use super::super::{ApiKey, Auth, Jwt, Way};
use super::shared::{FIELD, FIELD_NAME};
use crate::field_names::{is_of_the_gateway, is_plain};

const CONSUMER_HEADER: HeaderName = HeaderName::from_static("x-consumer");
const PLAN_HEADER: HeaderName = HeaderName::from_static("x-plan");

pub(super) static AUTH: Table = Table::new(
    "How callers prove who they are, and what upstreams are told of them.",
    &[
        Setting::new("consumer_header", FIELD, "The field that names the consumer to upstreams.")
            .or("\"X-Consumer\""),
        Setting::new("plan_header", FIELD, "The field that names its plan to upstreams.").or("\"X-Plan\""),
        Setting::new("api_key", Kind::Table(&api_key::API_KEY), "Where requests have their API keys."),
        Setting::new("basic", Kind::Table(&basic::BASIC), "Names and passwords."),
        Setting::new(
            "jwt",
            Kind::Table(&jwt::JWT),
            "Which tokens are believed, and where requests have them.",
        ),
        Setting::new("forward", Kind::Table(&forward::FORWARD), "A service that is asked about each caller."),
    ],
);

/// A list of ways to prove who is calling.
pub(super) const WAYS: Kind = Kind::List(&Kind::Word(&["api_key", "basic", "jwt", "forward"]), 0);

const WORDS: &[(&str, Way)] =
    &[("api_key", Way::ApiKey), ("basic", Way::Basic), ("jwt", Way::Jwt), ("forward", Way::Forward)];

/// Without `[auth]`.
pub(super) fn default_auth() -> Auth {
    Auth {
        consumer_header: CONSUMER_HEADER,
        plan_header: PLAN_HEADER,
        api_key: api_key::default(),
        basic: None,
        jwt: None,
        forward: None,
    }
}

/// Reads a list of ways to prove who is calling, each once.
pub(super) fn ways(item: Item<'_>) -> Checked<Vec<Way>> {
    item.values("ways", |item| item.word(WORDS)).each_once().all()
}

/// What is missing in `[auth]` for one of these ways.
pub(super) fn missing(ways: &[Way], auth: &Auth) -> Option<Fault> {
    let lacks = |way, is_described: bool| !is_described && ways.contains(&way);
    if lacks(Way::Basic, auth.basic.is_some()) {
        let fault = Fault::new("nobody has a password: there is no [auth.basic]");
        return Some(fault.hint("write [auth.basic], and htpasswd = \"users.htpasswd\" below"));
    }
    if lacks(Way::Jwt, auth.jwt.is_some()) {
        return Some(Fault::new("no tokens are believed: there is no [auth.jwt]").hint(
            "write [auth.jwt], and below jwks = \"https://issuer.example/jwks.json\" and who the issuer is",
        ));
    }
    if lacks(Way::Forward, auth.forward.is_some()) {
        let fault = Fault::new("there is no service to ask: there is no [auth.forward]");
        return Some(fault.hint("write [auth.forward], and url = \"http://127.0.0.1:9000/verify\" below"));
    }
    None
}

/// Reads `[auth]`. `underscores` says whether fields pass whose names have other characters than letters, digits and `-`.
pub(super) fn auth(item: Item<'_>, underscores: bool) -> Checked<Auth> {
    let section =
        item.section(&AUTH, "[auth]".into(), "[auth] once, in single brackets, and its keys below")?;
    let told = |item: Item<'_>| item.parse(FIELD_NAME, told);
    let consumer_header = section.or("consumer_header", CONSUMER_HEADER, told);
    let plan_header = section.or("plan_header", PLAN_HEADER, told);
    let api_key = section.or("api_key", api_key::default(), |item| api_key::read(&item, underscores));
    let basic = section.optional("basic", |item| basic::read(&item));
    let jwt = section.optional("jwt", |item| jwt::read(&item, underscores));
    let forward = section.optional("forward", |item| forward::read(&item, underscores));
    let twice = twice(&section, &consumer_header, &plan_header, &api_key, &jwt).or_else(|| {
        let told = [consumer_header.as_ref().ok()?, plan_header.as_ref().ok()?];
        let key = api_key.as_ref().ok()?.header.as_ref();
        let token = jwt.as_ref().ok()?.as_ref().map(|jwt| &jwt.header);
        let fault = forward::twice(forward.as_ref().ok()?.as_ref()?, told, [key, token])?;
        Some(section.report(fault))
    });
    section.finish();
    twice.map_or(Ok(()), Err)?;
    Ok(Auth {
        consumer_header: consumer_header?,
        plan_header: plan_header?,
        api_key: api_key?,
        basic: basic?,
        jwt: jwt?,
        forward: forward?,
    })
}

/// The name of a field that upstreams are told something in.
fn told(text: &str) -> Result<HeaderName, Fault> {
    let name = header_name(text)?;
    if is_of_the_gateway(&name) {
        return Err(Fault::new(format!("`{name}` means something else to the gateway"))
            .hint("choose another name, such as \"X-Consumer\""));
    }
    if !is_plain(&name) {
        return Err(Fault::new(format!("`{name}` has other characters than letters, digits and -"))
            .hint("servers take such names for others: choose a name without them"));
    }
    Ok(name)
}

/// Reports a field that is to have two meanings.
fn twice(
    section: &Section<'_>,
    consumer: &Checked<HeaderName>,
    plan: &Checked<HeaderName>,
    api_key: &Checked<ApiKey>,
    jwt: &Checked<Option<Jwt>>,
) -> Option<Reported> {
    let (consumer, plan) = (consumer.as_ref().ok()?, plan.as_ref().ok()?);
    let key = api_key.as_ref().ok()?.header.as_ref();
    let token = jwt.as_ref().ok()?.as_ref().map(|jwt| &jwt.header);
    let fault = |name: &HeaderName| {
        let fault = Fault::new(format!("`{name}` cannot mean two things in [auth]"));
        section.report(fault.hint("give the consumer, its plan, the API key and the token a field each"))
    };
    let told = [Some(consumer), Some(plan), key, token];
    let is_second = |(at, name): &(usize, &HeaderName)| told[..*at].contains(&Some(name));
    let named = told.iter().enumerate().filter_map(|(at, name)| Some((at, (*name)?)));
    named.into_iter().find(is_second).map(|(_, name)| fault(name))
}
