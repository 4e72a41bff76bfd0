//! Which fields of a request the configuration asks for, and where a log has them.

use std::fmt;
use std::str::FromStr;

use http::header::{AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION, REFERER, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::format::Format;
use crate::limit::key::KeyPart;

/// What a cookie's name and value are written with here. The engine decodes everything else.
const PLAIN: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b'#');

/// What the user says of where a log has the value of a part of a key: `header:X-Api-Key=user`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    part: Mapped,
    /// A short name that all formats know, or in JSON the path of a member.
    field: String,
}

/// What a field of a log can be the value of.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mapped {
    Header(HeaderName),
    Cookie(String),
}

impl FromStr for Mapping {
    type Err = BadMapping;

    fn from_str(text: &str) -> Result<Self, BadMapping> {
        let bad = || BadMapping(text.to_owned());
        let (part, field) = text.split_once('=').filter(|(_, field)| !field.is_empty()).ok_or_else(bad)?;
        let part = match part.split_once(':') {
            Some(("header", name)) => Mapped::Header(name.parse().map_err(|_| bad())?),
            Some(("cookie", name)) if !name.is_empty() => Mapped::Cookie(name.to_owned()),
            _ => return Err(bad()),
        };
        Ok(Self { part, field: field.to_owned() })
    }
}

/// A mapping that is not written as one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadMapping(String);

impl fmt::Display for BadMapping {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} is no mapping: write header:NAME=FIELD or cookie:NAME=FIELD, where FIELD is client, user, referer, user_agent, \
             or the path of a member of the log's JSON, such as request.headers.X-Api-Key",
            self.0
        )
    }
}

impl std::error::Error for BadMapping {}

/// The fields of requests that are read from a log.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    fields: Vec<HeaderName>,
    mappings: Vec<Mapping>,
    host: Option<HeaderValue>,
}

impl Wanted {
    /// What these parts of keys need, with these mappings. `host` is that of requests of which the log names none.
    pub fn new<'a>(
        parts: impl IntoIterator<Item = &'a KeyPart>,
        mappings: Vec<Mapping>,
        host: Option<HeaderValue>,
    ) -> Self {
        let field = |part: &KeyPart| match part {
            KeyPart::Header(name) => Some(name.clone()),
            // Only the gateway's log has cookies, and it has only those that were asked for.
            KeyPart::Cookie(_)
            | KeyPart::ClientIp
            | KeyPart::Consumer
            | KeyPart::Query(_)
            | KeyPart::Route
            | KeyPart::Host
            | KeyPart::Path
            | KeyPart::Global => None,
        };
        Self { fields: parts.into_iter().filter_map(field).collect(), mappings, host }
    }

    /// Whether a log of this format tells the value that a part of a key has in a request.
    pub fn knows(&self, format: Format, part: &KeyPart) -> bool {
        match part {
            KeyPart::ClientIp | KeyPart::Query(_) | KeyPart::Route | KeyPart::Path | KeyPart::Global => true,
            // Only the gateway's log says who has proved to be calling.
            KeyPart::Consumer => format == Format::Gateway,
            KeyPart::Host => format.names_hosts() || self.host.is_some(),
            KeyPart::Header(name) => self.reads_field(format, name) || self.maps_field(format, name),
            KeyPart::Cookie(name) => {
                let is_mapped = |mapping: &Mapping| mapping.part == Mapped::Cookie(name.clone());
                format == Format::Gateway
                    || self.usable(format).any(is_mapped)
                    || self.maps_field(format, &COOKIE)
            }
        }
    }

    /// Whether a log of this format tells the value itself. The gateway's log may have a hash in its place.
    pub fn tells(&self, format: Format, part: &KeyPart) -> bool {
        match part {
            KeyPart::Header(name) if format == Format::Gateway => self.maps_field(format, name),
            part => self.knows(format, part),
        }
    }

    fn reads_field(&self, format: Format, name: &HeaderName) -> bool {
        match format {
            Format::Gateway => true,
            // It writes REDACTED for these, unless it is told otherwise.
            Format::Caddy => ![AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION].contains(name),
            Format::Combined | Format::VhostCombined => [REFERER, USER_AGENT].contains(name),
            // It writes no fields, unless it is told otherwise.
            Format::Common | Format::Traefik => *name == HOST && format.names_hosts(),
        }
    }

    fn maps_field(&self, format: Format, name: &HeaderName) -> bool {
        self.usable(format).any(|mapping| mapping.part == Mapped::Header(name.clone()))
    }

    /// The mappings from fields that this format may have.
    fn usable(&self, format: Format) -> impl Iterator<Item = &Mapping> {
        self.mappings.iter().filter(move |mapping| format.may_have(&mapping.field))
    }

    /// Whether any field of requests is asked for.
    pub(super) fn has_fields(&self) -> bool {
        !self.fields.is_empty()
    }

    /// Those fields that a log of this format has, that are asked for, and that no mapping gives a value.
    pub(super) fn fields_of(&self, format: Format) -> impl Iterator<Item = &HeaderName> {
        self.fields
            .iter()
            .filter(move |name| self.reads_field(format, name) && !self.maps_field(format, name))
    }

    /// Adds what the user says where it is. `value_of` reads a field of the line.
    pub(super) fn add_mapped(
        &self,
        headers: &mut HeaderMap,
        mut value_of: impl FnMut(&str) -> Option<String>,
    ) {
        for mapping in &self.mappings {
            let Some(value) = value_of(&mapping.field) else { continue };
            match &mapping.part {
                Mapped::Header(name) => add_field(headers, name, value.as_bytes()),
                Mapped::Cookie(name) => add_cookie(headers, name, &value),
            }
        }
    }

    /// Whether the user says where something is.
    pub(super) fn has_mappings(&self) -> bool {
        !self.mappings.is_empty()
    }

    /// Sets `Host` to the one that the log names, or else to the one that the user does.
    pub(super) fn set_host(&self, headers: &mut HeaderMap, named: Option<&[u8]>) {
        let named =
            named.filter(|named| !named.is_empty()).and_then(|host| HeaderValue::from_bytes(host).ok());
        if let Some(host) = named.or_else(|| self.host.clone()) {
            headers.insert(HOST, host);
        }
    }
}

/// Adds a field, unless its value is none that a field can have.
pub(super) fn add_field(headers: &mut HeaderMap, name: &HeaderName, value: &[u8]) {
    if let Ok(value) = HeaderValue::from_bytes(value) {
        headers.append(name, value);
    }
}

/// Adds a cookie, in such a way that the engine reads this very value.
pub(super) fn add_cookie(headers: &mut HeaderMap, name: &str, value: &str) {
    let encoded = |text| utf8_percent_encode(text, &PLAIN);
    add_field(headers, &COOKIE, format!("{}={}", encoded(name), encoded(value)).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mappings() {
        for (text, part, field) in [
            ("header:X-Api-Key=user", Mapped::Header("x-api-key".parse().unwrap()), "user"),
            ("cookie:sid=request.a=b", Mapped::Cookie("sid".into()), "request.a=b"),
        ] {
            assert_eq!(text.parse(), Ok(Mapping { part, field: field.into() }));
        }
        for text in
            ["", "=", "header:X", "header:X=", "header:=a", "header:a b=c", "cookie:=a", "client_ip=a", "a=b"]
        {
            let error = text.parse::<Mapping>().unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("{text:?} is no mapping: write header:NAME=FIELD")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_a_log_of_a_format_tells() {
        use Format::*;
        const ALL: [Format; 6] = [Gateway, Combined, VhostCombined, Common, Caddy, Traefik];
        let header = |name: &'static str| KeyPart::Header(HeaderName::from_static(name));
        let cookie = |name: &str| KeyPart::Cookie(name.to_owned());
        let wanted = |mappings: &[&str], host: Option<&'static str>| {
            let mappings = mappings.iter().map(|text| text.parse().unwrap()).collect();
            Wanted::new([], mappings, host.map(HeaderValue::from_static))
        };
        let with_cookies = ["header:cookie=request.headers.Cookie", "header:a=nothing.in.clf"];
        for (mappings, host, part, expected) in [
            (&[][..], None, KeyPart::ClientIp, &ALL[..]),
            (&[], None, KeyPart::Query("q".into()), &ALL),
            (&[], None, KeyPart::Route, &ALL),
            (&[], None, KeyPart::Path, &ALL),
            (&[], None, KeyPart::Global, &ALL),
            (&[], None, KeyPart::Host, &[Gateway, VhostCombined, Caddy, Traefik]),
            (&[], Some("a.example"), KeyPart::Host, &ALL),
            (&[], None, header("x-api-key"), &[Gateway, Caddy]),
            (&[], None, header("referer"), &[Gateway, Combined, VhostCombined, Caddy]),
            (&[], None, header("user-agent"), &[Gateway, Combined, VhostCombined, Caddy]),
            (&[], None, header("authorization"), &[Gateway]),
            (&[], None, cookie("sid"), &[Gateway]),
            (&["header:x-api-key=user"], None, header("x-api-key"), &ALL),
            (&["cookie:sid=user"], None, cookie("sid"), &ALL),
            (&["cookie:sid=user"], None, cookie("other"), &[Gateway]),
            (&with_cookies, None, cookie("sid"), &[Gateway, Caddy, Traefik]),
            (&with_cookies, None, header("a"), &[Gateway, Caddy, Traefik]),
        ] {
            let wanted = wanted(mappings, host);
            let found: Vec<_> = ALL.into_iter().filter(|format| wanted.knows(*format, &part)).collect();
            assert_eq!(found, expected, "{part} with {mappings:?}");
        }
    }
}
