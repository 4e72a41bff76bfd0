//! The parts of a limit's key: `client_ip`, `header:X-Api-Key`.

use http::HeaderName;

use super::super::problem::{Fault, quoted};
use super::super::suggest;
use super::http::header_name;
use crate::field_names::{is_plain, never_goes_upstream};
use crate::limit::key::KeyPart;

const KINDS: [&str; 9] =
    ["client_ip", "consumer", "header:NAME", "cookie:NAME", "query:NAME", "route", "host", "path", "global"];

/// What matches a part of a key.
pub(in super::super) const PART: &str =
    "client_ip|consumer|route|host|path|global|(header|cookie):[0-9A-Za-z!#$%&'*+.^_`|~-]+|query:.+";

/// What matches a way to balance by a part of a key.
pub(in super::super) const HASH: &str =
    "hash:(client_ip|consumer|route|host|path|global|(header|cookie):[0-9A-Za-z!#$%&'*+.^_`|~-]+|query:.+)";

/// Parses a part of a key. `underscores` says whether fields are passed on whose names have other characters than letters, digits and `-`.
pub(in super::super) fn part(text: &str, underscores: bool) -> Result<KeyPart, Fault> {
    let (kind, name) = match text.split_once(':') {
        Some((kind, name)) => (kind, Some(name)),
        None => (text, None),
    };
    match (kind, name) {
        ("client_ip", None) => Ok(KeyPart::ClientIp),
        ("consumer", None) => Ok(KeyPart::Consumer),
        ("route", None) => Ok(KeyPart::Route),
        ("host", None) => Ok(KeyPart::Host),
        ("path", None) => Ok(KeyPart::Path),
        ("global", None) => Ok(KeyPart::Global),
        ("header", Some(name)) => field(name, underscores).map(KeyPart::Header),
        ("cookie", Some(name)) if is_token(name) => Ok(KeyPart::Cookie(name.to_owned())),
        ("query", Some(name)) if !name.is_empty() => Ok(KeyPart::Query(name.to_owned())),
        ("cookie", Some(name)) => Err(Fault::new(format!("{} is not the name of a cookie", quoted(name)))
            .hint("such as \"cookie:session\"")),
        ("header" | "query" | "cookie", _) => {
            Err(Fault::new(format!("{} does not say which {kind}", quoted(text)))
                .hint(format!("write \"{kind}:NAME\"")))
        }
        ("client_ip" | "consumer" | "route" | "host" | "path" | "global", Some(_)) => {
            Err(Fault::new(format!("{} has a name, and `{kind}` takes none", quoted(text)))
                .hint(format!("write \"{kind}\"")))
        }
        _ => Err(unknown(text, kind)),
    }
}

/// Parses the name of a field that requests still have when routes and limits are decided, and that is sent upstream.
pub(in super::super) fn field(text: &str, underscores: bool) -> Result<HeaderName, Fault> {
    let name = header_name(text)?;
    if never_goes_upstream(&name) {
        return Err(Fault::new(format!("`{name}` does not go upstream, so nobody can be told by it"))
            .hint("choose a field that the upstream goes by too"));
    }
    if !underscores && !is_plain(&name) {
        let fault = Fault::new(format!(
            "`{name}` never arrives: names with anything but letters, digits and - are dropped"
        ));
        return Err(fault.hint("write it with -, or set underscores_in_headers = true in [server]"));
    }
    Ok(name)
}

fn unknown(text: &str, kind: &str) -> Fault {
    let fault = Fault::new(format!("{} is not a key", quoted(text)));
    let meant = match kind.to_ascii_lowercase().as_str() {
        "ip" | "client" | "remote_addr" | "remote_ip" | "clientip" => Some("client_ip"),
        kind => {
            let kinds = KINDS.map(|kind| kind.split(':').next().unwrap_or(kind));
            let near = suggest::nearest(kind, kinds);
            KINDS.into_iter().find(|kind| near.is_some_and(|near| kind.split(':').next() == Some(near)))
        }
    };
    match meant {
        Some(meant) => fault.hint(format!("did you mean \"{meant}\"?")),
        None => fault.hint(format!("a key is one of {}", KINDS.join(", "))),
    }
}

/// Whether this is a token (RFC 9110), as the name of a cookie must be.
pub(in super::super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_balances_by_what_one_limits_by() {
        assert_eq!(HASH, format!("hash:({PART})"));
    }

    #[test]
    fn parts() {
        for (text, expected) in [
            ("client_ip", KeyPart::ClientIp),
            ("consumer", KeyPart::Consumer),
            ("header:X-Api-Key", KeyPart::Header("x-api-key".parse().unwrap())),
            ("cookie:sid", KeyPart::Cookie("sid".into())),
            ("query:user", KeyPart::Query("user".into())),
            ("route", KeyPart::Route),
            ("host", KeyPart::Host),
            ("path", KeyPart::Path),
            ("global", KeyPart::Global),
        ] {
            assert_eq!(part(text, false), Ok(expected));
        }
        for (text, part_of_hint) in [
            ("ip", "\"client_ip\""),
            ("Client_IP", "\"client_ip\""),
            ("headers:X", "\"header:NAME\""),
            ("header", "\"header:NAME\""),
            ("header:X Y", "X-Api-Key"),
            ("header:X_Api_Key", "underscores_in_headers"),
            ("header:TE", "the upstream goes by"),
            ("cookie:", "cookie:session"),
            ("cookie:a=b", "cookie:session"),
            ("query:", "\"query:NAME\""),
            ("host:x", "\"host\""),
            ("tenant", "one of client_ip"),
            ("", "one of client_ip"),
        ] {
            let hint = part(text, false).unwrap_err().hint.unwrap();
            assert!(hint.contains(part_of_hint), "{text}: {hint}");
        }
    }
}
