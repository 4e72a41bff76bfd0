//! `[tracing]`.

use http::Uri;

use super::super::Tracing;
use super::super::item::Item;
use super::super::problem::{Checked, Fault, quoted};
use super::super::table::{Kind, Setting, Table};

/// Where collectors take traces, below the endpoint (OTLP/HTTP).
const PATH: &str = "/v1/traces";

pub(super) static TRACING: Table = Table::new(
    "Where traces are sent.",
    &[
        Setting::new(
            "endpoint",
            Kind::Pattern(&["off", "http://[^?#@]+"]),
            "The OTLP/HTTP port of a collector. Spans go to `/v1/traces` below it as protobuf, without TLS.",
        )
        .example(r#""http://127.0.0.1:4318""#)
        .or("\"off\""),
        Setting::new(
            "sample_ratio",
            Kind::Fraction,
            "The share of requests whose spans are sent. It does not hold for a request in which a \
             trusted proxy sends `traceparent`: that field says whether its spans are sent.",
        )
        .example("0.1")
        .or("1.0"),
        Setting::new(
            "service_name",
            Kind::Pattern(&[r"(.|\n)*\S(.|\n)*"]),
            "The name of the gateway in traces.",
        )
        .example(r#""edge""#)
        .or("\"gateway\""),
    ],
);

/// Reads `[tracing]`.
pub(super) fn tracing(item: Item<'_>) -> Checked<Tracing> {
    let section =
        item.section(&TRACING, "[tracing]".into(), "[tracing] once, in single brackets, and its keys below")?;
    let endpoint = section.or("endpoint", None, |item| {
        item.parse("a URL such as \"http://127.0.0.1:4318\", or \"off\"", |text| match text {
            "off" => Ok(None),
            text => endpoint(text).map(Some),
        })
    });
    let sample_ratio = section.or("sample_ratio", 1.0, |item| item.fraction());
    let service_name =
        section.or("service_name", "gateway".to_owned(), |item| {
            item.parse("a string", |text| match text.trim() {
                "" => Err(Fault::new("an empty name tells nobody whose traces these are")
                    .hint("such as \"gateway\"")),
                text => Ok(text.to_owned()),
            })
        });
    section.finish();
    Ok(Tracing { endpoint: endpoint?, sample_ratio: sample_ratio?, service_name: service_name? })
}

/// Parses the address of a collector, and adds where it takes traces.
fn endpoint(text: &str) -> Result<Uri, Fault> {
    let fault = || Fault::new(format!("{} is not the URL of a collector", quoted(text)));
    let example = "write the URL of its OTLP/HTTP port, such as \"http://127.0.0.1:4318\"";
    let uri: Uri = text.parse().map_err(|_| fault().hint(example))?;
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Fault::new("a user and a password in this URL would not be sent").hint(example));
    }
    match (uri.scheme_str(), uri.query()) {
        (Some("http"), None) => {
            let whole = text.trim_end_matches('/').to_owned() + PATH;
            whole.parse().map_err(|_| fault().hint(example))
        }
        (Some("https"), _) => {
            Err(Fault::new(format!("{} asks for TLS, with which no spans are sent", quoted(text))).hint(
                "use a collector on this machine, such as \"http://127.0.0.1:4318\", and let it send them on",
            ))
        }
        _ => Err(fault().hint(example)),
    }
}
