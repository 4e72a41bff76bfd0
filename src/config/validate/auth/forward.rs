//! `[auth.forward]`: a service that is asked about each caller.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, Uri, header};

use crate::config::item::Item;
use crate::config::problem::{Checked, Fault, quoted};
use crate::config::section::Section;
use crate::config::table::{Kind, Setting, Table};
use crate::config::validate::shared::{DURATION, DURATION_OR_ZERO, FIELD, FIELD_NAME, FILE};
use crate::config::validate::tls;
use crate::config::value::http::header_name;
use crate::config::{ForwardAuth, WithoutAnswer};
use crate::field_names::{is_of_the_gateway, is_plain, never_goes_upstream};
use crate::tls::{Authorities, read_authorities, system_authorities};

const CONSUMER_HEADER: HeaderName = HeaderName::from_static("x-consumer");
const PLAN_HEADER: HeaderName = HeaderName::from_static("x-plan");
const TIMEOUT: Duration = Duration::from_millis(500);
const MAX_CACHE: Duration = Duration::from_secs(60);

/// The most fields that are passed on in either direction.
const MAX_FIELDS: usize = 16;

const FIELDS: Kind = Kind::List(&FIELD, 0);

pub(super) static FORWARD: Table = Table::new(
    "A service that the gateway asks about each caller (forward auth).",
    &[
        Setting::new(
            "url",
            Kind::Pattern(&["https?://[^?#@/]+([/?][^#]*)?"]),
            "The `http://` or `https://` URL that the gateway asks.",
        )
        .example(r#""http://127.0.0.1:4180/check""#)
        .required(),
        Setting::new(
            "request_headers",
            FIELDS,
            "The request fields that the service receives; at most 16.",
        )
        .example(r#"["Authorization", "Cookie"]"#)
            .or("[\"Authorization\"]"),
        Setting::new(
            "response_headers",
            FIELDS,
            "The fields of the service's answer that upstreams receive; at most 16. What clients write in these \
             fields is dropped.",
        )
        .example(r#"["X-User-Id"]"#).or("[]"),
        Setting::new(
            "consumer_header",
            FIELD,
            "The field of the service's answer that names the consumer.",
        )
        .example(r#""X-User""#)
            .or("\"X-Consumer\""),
        Setting::new(
            "plan_header",
            FIELD,
            "The field of the service's answer that names the plan.",
        )
        .example(r#""X-Tier""#).or("\"X-Plan\""),
        Setting::new(
            "timeout",
            DURATION,
            "The longest that a request waits for the service's answer, from 1ms to 30s.",
        )
        .example(r#""200ms""#)
            .or("\"500ms\""),
        Setting::new(
            "on_error",
            Kind::Word(&["refuse", "allow"]),
            "What happens to a request for which the service gives no answer: `refuse` answers it with 503, \
             `allow` lets it in as a stranger.",
        )
        .or("\"refuse\""),
        Setting::new(
            "max_cache",
            DURATION_OR_ZERO,
            "The longest that an answer is remembered, if its `Cache-Control` allows that; at most an hour. With \
             `0` no answer is remembered.",
        )
        .example(r#""5m""#)
        .or("\"60s\""),
        Setting::new(
            "keep",
            Kind::Boolean,
            "Whether upstreams receive the `request_headers` too.",
        ).or("false"),
        Setting::new(
            "ca",
            FILE,
            "A PEM file of the certificate authorities to trust with `https://`. Without this key the system's \
             are trusted.",
        )
        .example(r#""/etc/gateway/internal-ca.pem""#),
    ],
);

/// Reads `[auth.forward]`. `underscores` says whether fields pass whose names have other characters than letters, digits and `-`.
pub(super) fn read(item: &Item<'_>, underscores: bool) -> Checked<ForwardAuth> {
    let section = item.section(&FORWARD, "[auth.forward]".into(), "[auth.forward] and its keys below")?;
    let url = section.required("url", "url = \"http://127.0.0.1:9000/verify\"", |item| {
        item.parse("a URL such as \"http://127.0.0.1:9000/verify\"", url)
    });
    let request_headers = section.or("request_headers", vec![header::AUTHORIZATION], |item| {
        fields(&item, |text| request_field(text, underscores))
    });
    let response_headers = section.or("response_headers", Vec::new(), |item| fields(&item, response_field));
    let of_answer = |item: Item<'_>| item.parse(FIELD_NAME, header_name);
    let consumer_header = section.or("consumer_header", CONSUMER_HEADER, of_answer);
    let plan_header = section.or("plan_header", PLAN_HEADER, of_answer);
    let timeout = section.or("timeout", TIMEOUT, |item| {
        within(&item, item.duration()?, Duration::from_millis(1)..=Duration::from_secs(30), "1ms to 30s")
    });
    let on_error = section.or("on_error", WithoutAnswer::Refuse, |item| {
        item.word(&[("refuse", WithoutAnswer::Refuse), ("allow", WithoutAnswer::Allow)])
    });
    let max_cache = section.or("max_cache", MAX_CACHE, |item| {
        within(&item, item.duration_or_zero()?, Duration::ZERO..=Duration::from_secs(3600), "0 to 1h")
    });
    let keep = section.or("keep", false, |item| item.boolean());
    let authorities = authorities(&section, url.as_ref().ok());
    let twice = match (&consumer_header, &plan_header) {
        (Ok(consumer), Ok(plan)) if consumer == plan => Err(section.report(
            Fault::new(format!("`{plan}` cannot name both the consumer and its plan"))
                .hint("give each a field of the answer"),
        )),
        _ => Ok(()),
    };
    section.finish();
    twice?;
    Ok(ForwardAuth {
        url: url?,
        authorities: authorities?,
        request_headers: request_headers?,
        response_headers: response_headers?,
        consumer_header: consumer_header?,
        plan_header: plan_header?,
        timeout: timeout?,
        on_error: on_error?,
        max_cache: max_cache?,
        keep: keep?,
    })
}

/// Says which field of the service's answer has another meaning in the request that the upstream gets. `told` are the fields by which
/// upstreams are told the consumer and its plan, and `credentials` those that have an API key or a token.
pub(super) fn twice(
    forward: &ForwardAuth,
    told: [&HeaderName; 2],
    credentials: [Option<&HeaderName>; 2],
) -> Option<Fault> {
    let is_taken = |name: &&HeaderName| {
        told.contains(name) || credentials.contains(&Some(*name)) || forward.request_headers.contains(name)
    };
    let name = forward.response_headers.iter().find(is_taken)?;
    let fault = Fault::new(format!("`{name}` cannot mean two things in [auth]"));
    Some(fault.hint("leave it out of `response_headers`: what clients write in those is dropped"))
}

/// Parses the URL of the service.
fn url(text: &str) -> Result<Uri, Fault> {
    let example = "write a URL such as \"http://127.0.0.1:9000/verify\"";
    let fault = || Fault::new(format!("{} is not the URL of a service", quoted(text))).hint(example);
    let url: Uri = text.parse().map_err(|_| fault())?;
    let authority = url.authority().ok_or_else(fault)?;
    if authority.as_str().contains('@') {
        return Err(Fault::new("a user and a password in this URL would not be sent").hint(example));
    }
    // A port that cannot be read is none.
    let port_is_read = authority.as_str().len() == authority.host().len() || authority.port_u16().is_some();
    match url.scheme_str() {
        Some("http" | "https") if !authority.host().is_empty() && port_is_read && !text.contains('#') => {
            Ok(url)
        }
        _ => Err(fault()),
    }
}

/// Reads a list of the names of fields, each once.
fn fields(item: &Item<'_>, name: impl Fn(&str) -> Result<HeaderName, Fault>) -> Checked<Vec<HeaderName>> {
    let names = item.values("names of fields", |item| item.parse(FIELD_NAME, &name)).each_once().all()?;
    match names.len() {
        0..=MAX_FIELDS => Ok(names),
        count => {
            let fault =
                Fault::new(format!("{count} fields are more than the {MAX_FIELDS} that are passed on"));
            Err(item.report(fault.hint("name those that say who is calling")))
        }
    }
}

/// The name of a field of requests that the service may get.
fn request_field(text: &str, underscores: bool) -> Result<HeaderName, Fault> {
    let name = header_name(text)?;
    let is_credential = name == header::AUTHORIZATION || name == header::COOKIE;
    if is_of_the_gateway(&name) && !is_credential || never_goes_upstream(&name) {
        return Err(Fault::new(format!("`{name}` means something else to the gateway"))
            .hint("name a field that says who is calling, such as \"Authorization\" or \"Cookie\""));
    }
    if !underscores && !is_plain(&name) {
        let fault = Fault::new(format!(
            "`{name}` never arrives: names with anything but letters, digits and - are dropped"
        ));
        return Err(fault.hint("write it with -, or set underscores_in_headers = true in [server]"));
    }
    Ok(name)
}

/// The name of a field of the answer that upstreams may get.
fn response_field(text: &str) -> Result<HeaderName, Fault> {
    /// What a message consists of, or whom it is from.
    const OF_A_MESSAGE: [&str; 6] =
        ["content-encoding", "content-range", "content-type", "date", "trailer", "upgrade"];
    let name = header_name(text)?;
    if is_of_the_gateway(&name) || never_goes_upstream(&name) || OF_A_MESSAGE.contains(&name.as_str()) {
        return Err(Fault::new(format!("`{name}` means something else in a request"))
            .hint("name a field that says something of the caller, such as \"X-User-Role\""));
    }
    if !is_plain(&name) {
        return Err(Fault::new(format!("`{name}` has other characters than letters, digits and -"))
            .hint("servers take such names for others: choose a name without them"));
    }
    Ok(name)
}

fn within(
    item: &Item<'_>,
    duration: Duration,
    range: RangeInclusive<Duration>,
    told: &str,
) -> Checked<Duration> {
    match range.contains(&duration) {
        true => Ok(duration),
        false => Err(item.mismatch(&format!("a duration from {told}"), None)),
    }
}

/// Reads `ca`. The authorities of the system are read only for a service that shows a certificate.
fn authorities(section: &Section<'_>, url: Option<&Uri>) -> Checked<Authorities> {
    let own = section.optional("ca", |item| {
        read_authorities(tls::path(&item)?).map_err(|flaw| item.report(flaw.into()))
    })?;
    if url.is_some_and(|url| url.scheme_str() == Some("http")) {
        section.useless(&["ca"], "without TLS", "write https:// in the URL, or leave it out")?;
        return Ok(Authorities::from([]));
    }
    match (own, url) {
        (Some(own), _) => Ok(own),
        (None, Some(_)) => system_authorities().map_err(|flaw| section.report(flaw.into())),
        (None, None) => Ok(Authorities::from([])),
    }
}
