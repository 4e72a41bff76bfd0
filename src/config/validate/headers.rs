//! `request_headers` and `response_headers`: the fields that a route, or all routes, change.

use std::collections::HashSet;

use http::{HeaderName, HeaderValue, header};

use super::super::HeaderChanges;
use super::super::item::Item;
use super::super::problem::{Checked, Fault, Sink};
use super::super::table::{Kind, Setting, Table};
use super::super::value::http::{HEADER_NAME, header_name, header_value};
use super::super::values::Values;
use super::shared::{FIELD, FIELD_VALUE};

/// Fields that delimit a message or concern a connection. The gateway sets them itself on each side.
const UNTOUCHABLE: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

pub(super) static CHANGES: Table = Table::new(
    "Changes to header fields: first `remove`, then `set`.",
    &[
        Setting::new(
            "set",
            Kind::Named(HEADER_NAME, &FIELD_VALUE),
            "Fields to set, by name. Each takes the place of every value that was there.",
        )
        .example(r#"{ X-Env = "prod" }"#),
        Setting::new("remove", Kind::List(&FIELD, 0), "Fields to remove.").example(r#"["X-Debug"]"#),
    ],
);

/// Reads a table of changes.
pub(super) fn changes(item: Item<'_>, key: &'static str, sink: &Sink<'_>) -> Checked<HeaderChanges> {
    let section = item.section(
        &CHANGES,
        format!("`{key}`"),
        &format!("{key} = {{ set = {{ X-Env = \"prod\" }}, remove = [\"X-Debug\"] }}"),
    )?;
    let set = section.or("set", Vec::new(), |item| set(&item, sink));
    let remove = section.optional("remove", |item| {
        let names = item.values("names of header fields", |item| {
            let name = item.parse("the name of a header field", |text| touchable(header_name(text)?))?;
            if name == header::HOST && key == "request_headers" {
                let fault = Fault::new("a request without `Host` is not valid, so it cannot be removed");
                return Err(item.report(fault.hint("give it another value with `set`, or leave it")));
            }
            Ok(name)
        });
        Ok(names.each_once())
    });
    section.finish();
    let (set, remove) = (set?, remove?.unwrap_or_else(Values::empty));
    let is_set: HashSet<&HeaderName> = set.iter().map(|(name, _)| name).collect();
    for (name, item) in &remove.list {
        if is_set.contains(name) {
            let fault = Fault::new(format!("`{name}` is both set and removed"));
            return Err(
                item.report(fault.hint("leave out `remove`: a field that is set replaces what was there"))
            );
        }
    }
    Ok(HeaderChanges { remove: remove.all()?, set })
}

/// The changes of a route where `everywhere` are those of all routes: what a route says of a field holds for it.
pub(super) fn with(own: HeaderChanges, everywhere: &HeaderChanges) -> HeaderChanges {
    let named: HashSet<&HeaderName> = own.remove.iter().chain(own.set.iter().map(|(name, _)| name)).collect();
    let remove: Vec<_> = everywhere.remove.iter().filter(|name| !named.contains(name)).cloned().collect();
    let set: Vec<_> = everywhere.set.iter().filter(|(name, _)| !named.contains(name)).cloned().collect();
    HeaderChanges { remove: [remove, own.remove].concat(), set: [set, own.set].concat() }
}

fn set(item: &Item<'_>, sink: &Sink<'_>) -> Checked<Vec<(HeaderName, HeaderValue)>> {
    let mut fields: Vec<(HeaderName, HeaderValue)> = Vec::new();
    let (mut known, mut complete) = (HashSet::new(), Ok(()));
    for (name, item) in item.named("set = { X-Env = \"prod\" }")? {
        // The value of any field may be a credential, whatever its name.
        let value = item.secret().parse("a string", header_value);
        let name = header_name(name).and_then(touchable).and_then(|name| match !known.insert(name.clone()) {
            true => {
                Err(Fault::new(format!("`{name}` is set twice: case does not count in the name of a field"))
                    .hint("keep one of the two"))
            }
            false => Ok(name),
        });
        match (name, value) {
            (Ok(name), Ok(value)) => fields.push((name, value)),
            (Err(fault), _) => complete = Err(sink.report(item.key_span(), fault)),
            (Ok(_), Err(reported)) => complete = Err(reported),
        }
    }
    complete?;
    Ok(fields)
}

fn touchable(name: HeaderName) -> Result<HeaderName, Fault> {
    if UNTOUCHABLE.contains(&name.as_str()) {
        return Err(Fault::new(format!("`{name}` cannot be changed"))
            .hint("it belongs to one connection, and the gateway writes its own on each side"));
    }
    Ok(name)
}
