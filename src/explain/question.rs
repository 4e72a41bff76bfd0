//! A request that nobody sends, as people write it.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::route::{encode, host_of};

/// A request as it is asked for on a command line or in a query.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// The method.
    pub method: String,
    /// A URL, or a path.
    pub url: String,
    /// The host, where the URL is a path; empty is `localhost`.
    pub host: String,
    /// Header fields, each as `Name: value`.
    pub fields: Vec<String>,
    /// The address of the peer; empty is `127.0.0.1`.
    pub from: String,
    /// The length of the body, if it has one.
    pub body_size: Option<u64>,
}

/// A request whose parts are those of a request.
#[derive(Clone, Debug)]
pub struct Question {
    pub(super) method: Method,
    pub(super) tls: bool,
    /// Path and query.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    /// The names of the fields as they were written.
    pub(super) spelt: Vec<String>,
    pub(super) peer: SocketAddr,
}

impl Question {
    /// The request that is asked for.
    ///
    /// # Errors
    /// Says which part is none of a request.
    pub fn new(asked: &Asked) -> Result<Self, String> {
        let method = Method::from_bytes(asked.method.as_bytes())
            .map_err(|_| format!("{:?} is no method", shortened(&asked.method)))?;
        if method == Method::CONNECT {
            return Err("CONNECT opens a tunnel, and the gateway opens none".to_owned());
        }
        let (tls, host, target) = parts(&asked.url)?;
        if target == "*" && method != Method::OPTIONS {
            return Err("only OPTIONS asks about \"*\"".to_owned());
        }
        let mut headers = HeaderMap::new();
        let mut spelt = vec!["Host".to_owned()];
        for field in &asked.fields {
            let (name, value) = field
                .split_once(':')
                .ok_or_else(|| format!("{:?} is no field: write \"Name: value\"", shortened(field)))?;
            let bad_name = |_| format!("{:?} is no name of a field", shortened(name));
            let bad_value = |_| format!("the value of {} has a character that no field has", shortened(name));
            let field = HeaderName::from_bytes(name.as_bytes()).map_err(bad_name)?;
            headers.append(field, HeaderValue::from_bytes(value.trim().as_bytes()).map_err(bad_value)?);
            spelt.push(name.to_owned());
        }
        if let Some(host) = host.or(Some(&*asked.host).filter(|host| !host.is_empty())) {
            if headers.contains_key(header::HOST) {
                return Err("the host is given twice: by the URL or --host, and by a field".to_owned());
            }
            set_host(&mut headers, host)?;
        } else if !headers.contains_key(header::HOST) {
            set_host(&mut headers, "localhost")?;
        }
        for name in [header::HOST, header::CONTENT_LENGTH] {
            if headers.get_all(&name).iter().count() > 1 {
                return Err(format!("a request has one field {name}"));
            }
        }
        if let Some(size) = asked.body_size {
            if headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
            {
                return Err("the size of the body is given twice".to_owned());
            }
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
            spelt.push("Content-Length".to_owned());
        }
        let peer = peer(&asked.from)?;
        Ok(Self { method, tls, target, headers, spelt, peer })
    }

    /// The size of its head in HTTP/1.1.
    pub(super) fn head_size(&self) -> usize {
        let fields =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len());
        self.method.as_str().len() + self.target.len() + "  HTTP/1.1\r\n\r\n".len() + fields.sum::<usize>()
    }
}

/// Whether a URL asks for TLS, its authority, and its path and query as the gateway reads them.
fn parts(url: &str) -> Result<(bool, Option<&str>, String), String> {
    if url.bytes().any(|byte| byte <= b' ' || byte == 0x7f) {
        return Err("the URL has a space or a control character in it: a space is written %20".to_owned());
    }
    if url.contains('#') {
        return Err("the URL has a fragment (\"#\"), which is never sent".to_owned());
    }
    let encoded = |target: &str| String::from_utf8_lossy(&encode(target.as_bytes())).into_owned();
    if url.starts_with('/') || url == "*" {
        return Ok((false, None, encoded(url)));
    }
    let (scheme, rest) = url.split_once("://").ok_or_else(|| {
        let url = shortened(url);
        format!("{url:?} is neither a URL, such as http://api.example.com/users, nor a path, such as /users")
    })?;
    let tls = match scheme {
        _ if scheme.eq_ignore_ascii_case("http") => false,
        _ if scheme.eq_ignore_ascii_case("https") => true,
        _ => return Err(format!("the scheme of the URL is http or https, not {:?}", shortened(scheme))),
    };
    let (authority, target) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let target = if target.starts_with('/') { encoded(target) } else { format!("/{}", encoded(target)) };
    Ok((tls, Some(authority), target))
}

fn set_host(headers: &mut HeaderMap, host: &str) -> Result<(), String> {
    let value = HeaderValue::from_str(host).ok().filter(|_| host_of(host).is_some());
    let value = value.ok_or_else(|| format!("{:?} is no host", shortened(host)))?;
    headers.insert(header::HOST, value);
    Ok(())
}

fn peer(from: &str) -> Result<SocketAddr, String> {
    let bare = from.strip_prefix('[').and_then(|from| from.strip_suffix(']')).unwrap_or(from);
    let address = match from {
        "" => Some(IpAddr::from([127, 0, 0, 1])),
        _ => bare.parse().ok().or_else(|| from.parse::<SocketAddr>().ok().map(|peer| peer.ip())),
    };
    let address = address.ok_or_else(|| format!("{:?} is no IP address", shortened(from)))?;
    Ok(SocketAddr::new(address, 0))
}

/// A text for a message, which need not be long.
fn shortened(text: &str) -> String {
    const MAX: usize = 64;
    match text.char_indices().nth(MAX) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &str, url: &str) -> Asked {
        Asked { method: method.to_owned(), url: url.to_owned(), ..Asked::default() }
    }

    #[test]
    fn a_url_or_a_path_is_a_question() {
        for (url, host, target) in [
            ("https://api.example.com:8443/users/7?a=b", "api.example.com:8443", "/users/7?a=b"),
            ("HTTP://a", "a", "/"),
            ("http://a?b", "a", "/?b"),
            ("http://[2001:db8::1]/", "[2001:db8::1]", "/"),
            ("/a%2Fb", "localhost", "/a%2Fb"),
            ("/a|b", "localhost", "/a%7Cb"),
        ] {
            let question = Question::new(&asked("GET", url)).unwrap();
            assert_eq!((&*question.target, question.headers[header::HOST].to_str().unwrap()), (target, host));
        }
    }

    #[test]
    fn what_is_no_request_is_told() {
        let long = format!("ftp{}://a", "x".repeat(1 << 20));
        for (method, url, told) in [
            ("G T", "/", "\"G T\" is no method"),
            ("GET", "/a b", "a space"),
            ("GET", "/a\r\nX: y", "control character"),
            ("GET", "a", "neither a URL"),
            ("GET", "", "neither a URL"),
            ("GET", "ftp://a/", "http or https"),
            ("GET", &long, "http or https"),
            ("GET", "http://user@a/", "no host"),
            ("GET", "http:///a", "no host"),
            ("GET", "http://a..b/", "no host"),
            ("GET", "/#a", "fragment"),
            ("GET", "*", "only OPTIONS"),
            ("CONNECT", "/", "tunnel"),
        ] {
            let error = Question::new(&asked(method, url)).unwrap_err();
            assert!(error.contains(told) && error.len() < 200, "{error}");
        }
    }

    #[test]
    fn fields_and_addresses_are_read() {
        let with = |fields: &[&str], from: &str| {
            let fields = fields.iter().map(ToString::to_string).collect();
            Question::new(&Asked { fields, from: from.to_owned(), ..asked("GET", "/") })
        };
        for from in ["2001:db8::1", "[2001:db8::1]", "[2001:db8::1]:80"] {
            assert_eq!(with(&[], from).unwrap().peer.ip().to_string(), "2001:db8::1");
        }
        let question = with(&["X-Api-Key: k", "X-Empty:", "host: a"], "").unwrap();
        assert_eq!(
            (&question.headers["x-api-key"], &question.headers["host"]),
            (&"k".parse().unwrap(), &"a".parse().unwrap())
        );
        for (fields, from) in [
            (&["X-Api-Key"][..], ""),
            (&["X Y: 1"], ""),
            (&[": 1"], ""),
            (&["X: a\r\nY: b"], ""),
            (&["Host: a", "Host: b"], ""),
            (&[], "203.0.113.300"),
            (&[], "somebody"),
        ] {
            assert!(with(fields, from).is_err(), "{fields:?} {from}");
        }
    }
}
