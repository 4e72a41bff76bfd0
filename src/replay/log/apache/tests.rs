//! Lines of Apache, nginx, and of those that write as they do.

use http::{HeaderValue, Method, Version};
use proptest::prelude::*;

use super::*;
use crate::client::ClientId;
use crate::limit::key::KeyPart;
use crate::replay::record::Stamp;

fn read_as(format: Format, line: &str, wanted: &Wanted) -> Result<Record, Unreadable> {
    read(line.as_bytes(), format, wanted, &mut ClfStamps::default())
}

/// Time, client, method, target, version, status.
fn told(record: &Record) -> (i64, String, String, String, Version, Option<u16>) {
    (
        record.ended.0,
        record.client.to_string(),
        record.method.to_string(),
        String::from_utf8_lossy(&record.target).into_owned(),
        record.version,
        record.status.map(|status| status.as_u16()),
    )
}

#[test]
fn lines_as_servers_write_them() {
    use Format::{Combined, Common, VhostCombined};
    const AT: i64 = 971_211_336_000_000_000;
    let v11 = Version::HTTP_11;
    for (format, line, expected) in [
        (
            Common,
            r#"127.0.0.1 - frank [10/Oct/2000:13:55:36 -0700] "GET /apache_pb.gif HTTP/1.0" 200 2326"#,
            ("127.0.0.1", "GET", "/apache_pb.gif", Version::HTTP_10, Some(200)),
        ),
        (
            Combined,
            r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "POST /a?b=c HTTP/1.1" 429 0 "-" "curl/8.5.0""#,
            ("192.0.2.1", "POST", "/a?b=c", v11, Some(429)),
        ),
        (
            Combined,
            r#"2001:db8::1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/2.0" 499 0 "-" "a" rt=0.123 "x""#,
            ("2001:db8::1", "GET", "/", Version::HTTP_2, Some(499)),
        ),
        (
            VhostCombined,
            r#"a.example:443 192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 304 - "-" "a""#,
            ("192.0.2.1", "GET", "/", v11, Some(304)),
        ),
        // A user with spaces and brackets.
        (
            Combined,
            r#"192.0.2.1 - a [b] c [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 401 5 "-" "-""#,
            ("192.0.2.1", "GET", "/", v11, Some(401)),
        ),
        // Escapes of nginx and of Apache.
        (
            Combined,
            r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /\x22a\xC3\xA9 HTTP/1.1" 200 5 "-" "-""#,
            ("192.0.2.1", "GET", "/\"a\u{e9}", v11, Some(200)),
        ),
        (
            Combined,
            r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET /\"a\\b HTTP/1.1" 200 5 "\"" "-""#,
            ("192.0.2.1", "GET", "/\"a\\b", v11, Some(200)),
        ),
        // The gateway cuts long fields, and escapes names of clients.
        (
            Combined,
            r#"unknown\x20behind\x2010.0.0.1 - - [10/Oct/2000:13:55:36 -0700] "GET /abc\... HTTP/1.1" 200 5 "-" "-""#,
            ("unknown behind 10.0.0.1", "GET", "/abc", v11, Some(200)),
        ),
        // HTTP/0.9, and no answer.
        (
            Common,
            r#"host.example - - [10/Oct/2000:13:55:36 -0700] "GET /" - -"#,
            ("host.example", "GET", "/", Version::HTTP_09, None),
        ),
        (
            Common,
            r#"192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 000 0"#,
            ("192.0.2.1", "GET", "/", v11, None),
        ),
    ] {
        let record =
            read_as(format, line, &Wanted::default()).unwrap_or_else(|error| panic!("{line}: {error}"));
        let (client, method, target, version, status) = expected;
        assert_eq!(
            told(&record),
            (AT, client.into(), method.into(), target.into(), version, status),
            "{line}"
        );
        assert_eq!(record.took, None);
    }
}

#[test]
fn why_a_line_is_not_read() {
    use Unreadable::{Malformed, Missing, NoRequest, OutOfRange};
    for (rest, expected) in [
        (r#""-" 400 0"#, NoRequest),
        (r#""" 400 0"#, NoRequest),
        (r#""- - -" 400 0"#, NoRequest),
        (r#""\x16\x03\x01" 400 157"#, NoRequest),
        (r#""GET / HTTP/1.1" 999 0"#, OutOfRange("the status")),
        (r#""GET / HTTP/1.1" 1000 0"#, Malformed("the status")),
        (r#""GET / HTTP/1.1" 20"#, Malformed("the status")),
        (r#""GET / HTTP/1.1""#, Malformed("the status")),
        (r#""GET / HTTP/1.1"#, Missing("a request")),
        (r#""GET / HTTP/1.1\"#, Missing("a request")),
        (r#"GET / HTTP/1.1 200 0"#, Missing("a request")),
        (r#""GET /a b HTTP/1.1" 200 0"#, Malformed("the path")),
        (r#""GET /a\x00 HTTP/1.1" 200 0"#, Malformed("the path")),
        (r#""GET  HTTP/1.1" 200 0"#, Malformed("the path")),
        (r#""G@T / HTTP/1.1" 200 0"#, Malformed("the method")),
        (r#""GET / HTTP/7" 200 0"#, Malformed("the version of HTTP")),
    ] {
        let line = format!("192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] {rest}");
        assert_eq!(read_as(Format::Combined, &line, &Wanted::default()).unwrap_err(), expected, "{line}");
    }
    for (line, expected) in [
        ("", Missing("a client")),
        ("x", Missing("a client")),
        ("192.0.2.1 - -", Missing("a time")),
        (" - - [10/Oct/2000:13:55:36 -0700] \"GET / HTTP/1.1\" 200 0", Missing("a client")),
        ("192.0.2.1 - - [now] \"GET / HTTP/1.1\" 200 0 0 0 0", Malformed("the time")),
        ("192.0.2.1 - - [10/Oct/2000:13:55:36 -0700 \"GET / HTTP/1.1\" 200 0", Malformed("the time")),
        ("192.0.2.1 - - [10/Oct/2000:25:55:36 -0700] \"GET / HTTP/1.1\" 200 0", OutOfRange("the time")),
    ] {
        assert_eq!(read_as(Format::Common, line, &Wanted::default()).unwrap_err(), expected, "{line}");
    }
    let method = "A".repeat(1_000_000);
    let line = format!("192.0.2.1 - - [10/Oct/2000:13:55:36 -0700] \"{method} / HTTP/1.1\" 200 0");
    let error = read_as(Format::Common, &line, &Wanted::default()).unwrap_err();
    assert_eq!(error, OutOfRange("the method"));
    let error = read_as(Format::VhostCombined, "192.0.2.1 - - [", &Wanted::default()).unwrap_err();
    assert_eq!(error, Missing("a virtual host and its port"));
}

#[test]
fn fields_are_read_where_the_configuration_asks_for_them() {
    let parts: Vec<_> = ["referer", "user-agent", "x-api-key", "accept"]
        .map(|name| KeyPart::Header(name.parse().unwrap()))
        .into_iter()
        .chain([KeyPart::Cookie("sid".into())])
        .collect();
    let mappings = ["header:x-api-key=user", "cookie:sid=client", "header:accept=no.such.field"];
    let mappings: Vec<_> = mappings.map(|text| text.parse().unwrap()).into();
    let line = |user: &str, referer: &str, agent: &str| {
        format!(
            r#"192.0.2.1 - {user} [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 - "{referer}" "{agent}" rt=1"#
        )
    };
    let fields = |format, line: &str, wanted: &Wanted| {
        let record = read_as(format, line, wanted).unwrap();
        let mut fields: Vec<_> = record
            .headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
            .collect();
        fields.sort();
        fields
    };
    let all = Wanted::new(&parts, mappings, Some(HeaderValue::from_static("b.example")));
    let none = Wanted::default();
    let full = line("frank", "http://a/\\x22", "curl \\\"8\\\"");
    assert_eq!(
        fields(Format::Combined, &full, &all),
        [
            "cookie: sid=192.0.2.1",
            "host: b.example",
            "referer: http://a/\"",
            "user-agent: curl \"8\"",
            "x-api-key: frank"
        ]
    );
    assert!(fields(Format::Combined, &full, &none).is_empty());
    assert_eq!(
        fields(Format::Combined, &line("-", "-", ""), &all),
        ["cookie: sid=192.0.2.1", "host: b.example"]
    );
    let with_host = format!("a.example:8443 {full}");
    assert_eq!(fields(Format::VhostCombined, &with_host, &none), ["host: a.example:8443"]);
    // What a common line has after its fields is of no format.
    let common = Wanted::new(&parts, Vec::new(), None);
    assert!(fields(Format::Common, &full, &common).is_empty());
}

#[test]
fn the_mark_of_what_is_cut_off_is_no_escape() {
    for (text, expected) in [
        (&b"a"[..], &b"a"[..]),
        (b"a\\...", b"a"),
        (b"\\x5C...", b"\\..."),
        (b"\\x4", b"x4"),
        (b"\\xzz", b"xzz"),
        (b"\\", b"\\"),
        (b"\\n\\t\\r\\b\\v\\f", b"\n\t\r\x08\x0b\x0c"),
        (b"\\\\n", b"\\n"),
        (b"\\xff", b"\xff"),
    ] {
        assert_eq!(&*unescaped(text), expected);
    }
}

proptest! {
    #[test]
    fn what_is_escaped_is_read_back(text in prop::collection::vec(any::<u8>(), 0..50)) {
        let escaped: String = text.iter().map(|byte| format!("\\x{byte:02X}")).collect();
        prop_assert_eq!(&*unescaped(escaped.as_bytes()), &*text);
    }
}

#[test]
fn a_client_that_is_no_address_is_a_name() {
    let line = r#"- - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.1" 200 0"#;
    let record = read_as(Format::Common, line, &Wanted::default()).unwrap();
    assert_eq!((record.client, record.method), (ClientId::Opaque("-".into()), Method::GET));
    assert_eq!(record.ended, Stamp(971_211_336_000_000_000));
}
