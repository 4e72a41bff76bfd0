//! `cors` of a route.

use std::time::Duration;

use http::{HeaderValue, Method};

use super::super::item::Item;
use super::super::problem::{Checked, Fault, Reported, quoted};
use super::super::table::{Kind, Setting, Table};
use super::super::value::http::{header_name, header_value, method};
use super::super::values::Values;
use super::shared::{DURATION_OR_ZERO, FIELD, METHOD};
use crate::cors::{Cors, Origins};

const EXAMPLE: &str = "cors = { origins = [\"https://app.example\"] }";
const ORIGIN: &str = "an origin such as \"https://app.example\"";
const DEFAULT_MAX_AGE: Duration = Duration::from_secs(600);

/// Every origin, method or field.
const ANY: &str = "*";

/// The fields of the gateway's own refusals, which scripts may always read.
const ALWAYS_EXPOSED: [&str; 3] = ["RateLimit", "RateLimit-Policy", "Retry-After"];

/// The methods that are allowed by default on a route that takes any method: those that need no preflight.
const DEFAULT_METHODS: [&str; 3] = ["GET", "HEAD", "POST"];

const ORIGIN_KIND: Kind = Kind::Pattern(&[r"\*", "[a-z][a-z0-9+.-]*://[^/?#A-Z]+"]);
const NAMES: Kind = Kind::List(&FIELD, 0);

pub(super) static CORS: Table = Table::new(
    "Which scripts of other origins may use the route.",
    &[
        Setting::new(
            "origins",
            Kind::Either(&[ORIGIN_KIND, Kind::List(&ORIGIN_KIND, 1)]),
            "The origins whose scripts may use the route, as browsers send them. `\"https://*.example.com\"` is \
             everything below a domain at any depth, but not the domain itself; `\"*\"` is every origin.",
        )
        .example(r#"["https://app.example"]"#)
        .required(),
        Setting::new(
            "credentials",
            Kind::Boolean,
            "Whether such requests may carry cookies, client certificates and the like.",
        )
            .or("false"),
        Setting::new(
            "methods",
            Kind::List(&METHOD, 1),
            "The methods that scripts may use. Without this key they are those of the route, or GET, HEAD and \
             POST where the route takes any.",
        )
        .example(r#"["GET", "PUT"]"#),
        Setting::new(
            "headers",
            NAMES,
            "The request fields that scripts may send, beyond those that need no permission.",
        )
        .example(r#"["Content-Type", "Authorization"]"#).or("[]"),
        Setting::new(
            "expose",
            NAMES,
            "The answer fields that scripts may read, beyond `RateLimit`, `RateLimit-Policy` and `Retry-After`, \
             which they always may.",
        )
        .example(r#"["X-Total-Count"]"#).or("[]"),
        Setting::new(
            "max_age",
            DURATION_OR_ZERO,
            "How long a browser may remember a preflight. With `0` it asks every time.",
        )
        .example(r#""1h""#).or("\"10m\""),
    ],
);

/// Reads `cors` of a route that takes these methods.
pub(super) fn cors(item: &Item<'_>, taken: &[Method]) -> Checked<Cors> {
    let section = item.section(&CORS, "`cors`".into(), EXAMPLE)?;
    let credentials = section.or("credentials", false, |item| item.boolean());
    let literal = credentials.unwrap_or(false);
    let origins =
        section.required("origins", "origins = [\"https://app.example\"]", |item| origins(&item, literal));
    let methods = section.optional("methods", |item| {
        let methods = words(&item, "methods", "a method such as \"GET\"", literal, |text| {
            method(text).map(|method| method.to_string())
        })?;
        match methods.is_empty() {
            true => Err(item.report(
                Fault::new("an empty list of methods allows what needs no permission, and nothing else")
                    .hint("name one at least, or leave it out"),
            )),
            false => Ok(methods),
        }
    });
    let fields = |item: Item<'_>| {
        words(&item, "names of header fields", "the name of a header field", literal, |text| {
            header_name(text).map(|_| text.to_owned())
        })
    };
    let headers = section.optional("headers", fields);
    let expose = section.optional("expose", fields);
    let max_age = section.or("max_age", DEFAULT_MAX_AGE, |item| item.duration_or_zero());
    section.finish();
    Ok(Cors {
        origins: origins?,
        credentials: credentials?,
        methods: list(item, &methods?.unwrap_or_else(|| allowed(taken)))?,
        headers: headers?.filter(|names| !names.is_empty()).map(|names| list(item, &names)).transpose()?,
        expose: list(item, &exposed(expose?.unwrap_or_default()))?,
        max_age: HeaderValue::from(max_age?.as_secs()),
    })
}

fn origins(item: &Item<'_>, credentials: bool) -> Checked<Origins> {
    let origins: Values<'_, String> = Values::read(item.one_or_list(), |item| item.parse(ORIGIN, origin));
    let origins = origins.each_once();
    if let Some((_, any)) = origins.list.iter().find(|(origin, _)| origin == ANY) {
        if credentials {
            return Err(with_credentials(any));
        }
        if origins.list.len() > 1 {
            let fault = Fault::new("\"*\" is every origin, the others in this list too");
            return Err(any.report(fault.hint("write origins = [\"*\"], or leave it out of the list")));
        }
        return origins.all().map(|_| Origins::Any);
    }
    let named = origins.all()?;
    match named.is_empty() {
        true => Err(item.report(
            Fault::new("with an empty list of origins no script would be let in")
                .hint("name one at least, or leave out `cors`"),
        )),
        false => Ok(Origins::Named(named.into_iter().collect())),
    }
}

/// An origin as browsers write it: a scheme and a host, with a port that is not the scheme's own.
/// `https://*.example.com` is all below a domain.
fn origin(text: &str) -> Result<String, Fault> {
    let fault = || Fault::new(format!("{} is not an origin", quoted(text)));
    if text == ANY {
        return Ok(text.to_owned());
    }
    if text == "null" {
        return Err(Fault::new("\"null\" is the origin of anybody's page in a sandbox")
            .hint("name the origins that you mean, or write \"*\""));
    }
    let Some((scheme, authority)) = text.split_once("://") else {
        return Err(fault().hint("it has a scheme, such as \"https://app.example\""));
    };
    let domain = authority.strip_prefix("*.");
    if domain.unwrap_or(authority).contains(ANY) {
        return Err(fault().hint(
            "\"*\" stands alone, for every origin, or for all below a domain, as in \"https://*.example.com\"",
        ));
    }
    let host = authority.split(['/', '?', '#']).next().unwrap_or_default();
    let own_port = match scheme {
        "http" => ":80",
        "https" => ":443",
        _ => "",
    };
    let written = match host.strip_suffix(own_port) {
        Some(bare) if !own_port.is_empty() => bare,
        _ => host,
    };
    let meant = format!("{scheme}://{written}").to_ascii_lowercase();
    let is_scheme = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    let bare = if domain.is_some() { written.strip_prefix("*.").unwrap_or(written) } else { written };
    let host = crate::route::host_of(bare);
    let valid = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(is_scheme)
        && host.as_ref().is_some_and(|host| !host.is_empty());
    if let (true, Some(_), Some(domain)) = (valid, domain, &host) {
        if !domain.contains('.') && domain != "localhost" {
            return Err(fault()
                .hint("that is all below a top-level domain, which is everybody: name a domain of yours"));
        }
        if domain.starts_with('[') || domain.parse::<std::net::Ipv4Addr>().is_ok() {
            return Err(fault().hint("nothing lies below an address: write it without \"*.\""));
        }
    }
    match (valid, meant == text) {
        (false, _) => Err(fault().hint("write a scheme and a host, such as \"https://app.example\"")),
        (true, false) => Err(fault().hint(format!("browsers send {}", quoted(&meant)))),
        (true, true) => Ok(text.to_owned()),
    }
}

/// A list of words that go into one field, each once; `"*"` is all of them.
fn words(
    item: &Item<'_>,
    of: &str,
    expected: &str,
    credentials: bool,
    parse: impl Fn(&str) -> Result<String, Fault>,
) -> Checked<Vec<String>> {
    let words = item.values(of, |item| {
        let word = item.parse(expected, &parse)?;
        if credentials && word == ANY { Err(with_credentials(&item)) } else { Ok(word) }
    });
    words.each_once_by(|word| word.to_ascii_lowercase()).all()
}

fn with_credentials(item: &Item<'_>) -> Reported {
    let fault = Fault::new("browsers do not take \"*\" from a route with `credentials`");
    item.report(fault.hint("name each one, or leave out `credentials`"))
}

/// The methods that are allowed by default on a route that takes these methods.
fn allowed(taken: &[Method]) -> Vec<String> {
    match taken.is_empty() {
        true => DEFAULT_METHODS.map(str::to_owned).to_vec(),
        false => taken.iter().map(Method::to_string).collect(),
    }
}

/// The fields that scripts may read, with those of the gateway's own refusals.
fn exposed(mut names: Vec<String>) -> Vec<String> {
    if !names.iter().any(|name| name == ANY) {
        let more = ALWAYS_EXPOSED
            .iter()
            .filter(|always| !names.iter().any(|name| name.eq_ignore_ascii_case(always)));
        let more: Vec<String> = more.map(|&name| name.to_owned()).collect();
        names.extend(more);
    }
    names
}

fn list(item: &Item<'_>, words: &[String]) -> Checked<HeaderValue> {
    header_value(&words.join(", ")).map_err(|fault| item.report(fault))
}
