//! `[auth]`: how callers prove who they are, and what upstreams are told of them.

mod api_key;
mod basic;
mod client_certificate;
mod forward;
mod jwt;

use http::HeaderName;

use super::super::item::Item;
use super::super::problem::{Checked, Fault, Reported};
use super::super::section::Section;
use super::super::table::{Kind, Setting, Table};
use super::super::value::http::header_name;
use super::super::{ApiKey, Auth, ClientCertificates, Jwt, Server, Way};
use super::shared::{FIELD, FIELD_NAME};
use crate::consumer::Consumers;
use crate::field_names::{is_of_the_gateway, is_plain};

const CONSUMER_HEADER: HeaderName = HeaderName::from_static("x-consumer");
const PLAN_HEADER: HeaderName = HeaderName::from_static("x-plan");

pub(super) static AUTH: Table = Table::new(
    "How callers prove who they are, and which fields tell upstreams about them.",
    &[
        Setting::new(
            "consumer_header",
            FIELD,
            "The request field that tells upstreams the name of the consumer. What clients write there is \
             dropped.",
        )
        .example(r#""X-Client-Name""#)
        .or("\"X-Consumer\""),
        Setting::new(
            "plan_header",
            FIELD,
            "The request field that tells upstreams the plan of the consumer. What clients write there is \
             dropped.",
        )
        .example(r#""X-Client-Plan""#)
        .or("\"X-Plan\""),
        Setting::new("api_key", Kind::Table(&api_key::API_KEY), "Where requests carry their API keys."),
        Setting::new("basic", Kind::Table(&basic::BASIC), "Names and passwords (HTTP Basic)."),
        Setting::new(
            "jwt",
            Kind::Table(&jwt::JWT),
            "Which JSON Web Tokens are accepted. A route with `auth = [\"jwt\"]` needs this table.",
        ),
        Setting::new(
            "forward",
            Kind::Table(&forward::FORWARD),
            "A service that the gateway asks about each caller (forward auth).",
        ),
        Setting::new(
            "client_certificate",
            Kind::Table(&client_certificate::CLIENT_CERTIFICATE),
            "Certificates that clients show in the TLS handshake.",
        ),
    ],
);

/// A list of ways to prove who is calling.
pub(super) const WAYS: Kind =
    Kind::List(&Kind::Word(&["api_key", "basic", "jwt", "forward", "client_certificate"]), 0);

const WORDS: &[(&str, Way)] = &[
    ("api_key", Way::ApiKey),
    ("basic", Way::Basic),
    ("jwt", Way::Jwt),
    ("forward", Way::Forward),
    ("client_certificate", Way::ClientCertificate),
];

/// Without `[auth]`.
pub(super) fn default_auth() -> Auth {
    Auth {
        consumer_header: CONSUMER_HEADER,
        plan_header: PLAN_HEADER,
        api_key: api_key::default(),
        basic: None,
        jwt: None,
        forward: None,
        client_certificate: ClientCertificates::default(),
    }
}

/// Reads a list of ways to prove who is calling, each once.
pub(super) fn ways(item: Item<'_>) -> Checked<Vec<Way>> {
    item.values("ways", |item| item.word(WORDS)).each_once().all()
}

/// What is missing for one of these ways. `server` and `consumers` are `None` if they cannot be read.
pub(super) fn missing(
    ways: &[Way],
    auth: &Auth,
    server: Option<&Server>,
    consumers: Option<&Consumers>,
) -> Option<Fault> {
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
    if !ways.contains(&Way::ClientCertificate) {
        return None;
    }
    let ClientCertificates { name_from, from_proxy } = auth.client_certificate;
    let asks = |server: &Server| server.tls.as_ref().is_some_and(|tls| tls.client_authorities.is_some());
    if !from_proxy && !server.is_none_or(asks) {
        let fault = Fault::new("no client shows a certificate: [server.tls] has no `client_ca`");
        return Some(fault.hint(
            "write client_ca = \"clients.pem\" there, or from_proxy = true in [auth.client_certificate]",
        ));
    }
    if name_from.is_none() && !consumers.is_none_or(Consumers::have_certificates) {
        let fault = Fault::new("no certificate is anybody's: no consumer has `certificates`");
        return Some(fault.hint("write certificates = [\"spiffe://example.org/alice\"] below [consumers.alice], or name_from in [auth.client_certificate]"));
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
    let client_certificate = section
        .or("client_certificate", ClientCertificates::default(), |item| client_certificate::read(&item));
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
        client_certificate: client_certificate?,
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
