//! Lines of the gateway's own log.

use std::borrow::Cow;

use http::HeaderName;
use http::header::COOKIE;
use proptest::prelude::*;

use super::*;
use crate::client::ClientId;
use crate::limit::key::KeyPart;

#[test]
fn a_line_with_everything() {
    let line = br##"{"time":"2026-11-26T08:41:35.000123Z","request_id":"24cacd763f770518","client":"192.0.2.1","method":"GET","host":"a.example:8080","path":"/a?b","protocol":"HTTP/2","route":"r","status":429,"bytes_in":1,"bytes_out":2,"duration_ms":1.5,"upstream":"10.0.0.1:80","upstream_ms":1.2,"limits":{"z":0,"a":null},"refused_by":["z"],"would_refuse":["a"],"keys":{"header:x-api-key":"#1a2b3c4d","cookie:sid":"a;b%","cookie:none":null,"query:q":"#1"},"costs":{"z":7,"a":4294967295},"settled_ms":1.25,"error":"e","referer":"http://r/","user_agent":"curl","cut":["path"]}"##;
    let parts = [
        KeyPart::Header(HeaderName::from_static("referer")),
        KeyPart::Header(HeaderName::from_static("accept")),
    ];
    let record = read(line, &Wanted::new(&parts, Vec::new(), None)).unwrap();
    assert_eq!(record.ended.0, 1_795_682_495_000_123_000);
    assert_eq!(record.took, Some(Duration::from_micros(1500)));
    assert_eq!(record.client, ClientId::Address("192.0.2.1".parse().unwrap()));
    assert_eq!(
        (record.method, record.version, &*record.target),
        (Method::GET, Version::HTTP_2, &b"/a?b"[..])
    );
    assert_eq!(record.status, Some(StatusCode::TOO_MANY_REQUESTS));
    let own = Own {
        consumer: None,
        plan: None,
        sample: None,
        limits: vec!["z".into(), "a".into()],
        refused_by: vec!["z".into()],
        costs: vec![("z".into(), 7), ("a".into(), u32::MAX)],
        settled: Some(Duration::from_micros(1250)),
        was_not_asked: false,
    };
    assert_eq!(record.own, Some(Box::new(own)));
    let mut fields: Vec<_> =
        record.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    fields.sort();
    assert_eq!(
        fields,
        ["cookie: sid=a%3Bb%25", "host: a.example:8080", "referer: http://r/", "x-api-key: #1a2b3c4d"]
    );
}

fn line(members: &str) -> String {
    format!(
        r#"{{"time":"2026-11-26T08:41:35.000123Z","client":"192.0.2.1","duration_ms":1.5,"protocol":"HTTP/1.1","path":"/",{members}}}"#
    )
}

#[test]
fn requests_about_which_no_limit_was_asked() {
    for (members, expected) in [
        (r#""method":"GET","status":200"#, false),
        (r#""method":"GET","status":400"#, true),
        (r#""method":"GET","status":417"#, true),
        (r#""method":"GET","status":308,"route":"""#, true),
        (r#""method":"GET","status":308,"route":"moved""#, false),
        (r#""method":"GET","status":308"#, false),
        (r#""method":"GET","status":400,"limits":{"a":1}"#, false),
        (r#""method":"OPTIONS","status":204"#, true),
        (r#""method":"OPTIONS","status":204,"upstream":"10.0.0.1:80"#, false),
        (r#""method":"OPTIONS","status":204,"limits":{"a":1}"#, false),
        (r#""method":"GET","status":204"#, false),
        (r#""method":"-","status":408"#, true),
        (r#""status":408"#, true),
    ] {
        let closed = if members.ends_with(":80") { format!("{members}\"") } else { members.to_owned() };
        let record = read(line(&closed).as_bytes(), &Wanted::default()).unwrap();
        assert_eq!(record.own.unwrap().was_not_asked, expected, "{members}");
    }
}

#[test]
fn why_a_line_is_not_read() {
    use Unreadable::{Malformed, Missing, NotJson, OtherType, OutOfRange};
    let whole = line(r#""method":"GET","status":200"#);
    for (from, to, expected) in [
        ("{", "", NotJson),
        ("{", "{{", NotJson),
        ("}", "", NotJson),
        ("GET", "\u{0}", NotJson),
        ("{", "[", NotJson),
        ("200", "\"200\"", OtherType),
        ("200", "-1", OtherType),
        ("200", "999", OutOfRange("the status")),
        ("1.5", "-1", OutOfRange("the duration")),
        ("1.5", "1e300", OutOfRange("the duration")),
        ("2026", "9999", OutOfRange("the time")),
        ("2026", "10000", Malformed("the time")),
        ("GET", "G T", Malformed("the method")),
        ("HTTP/1.1", "-", Malformed("the version of HTTP")),
        ("\"/\"", "\"\"", Malformed("the path")),
        ("\"/\"", "\"/ \"", Malformed("the path")),
        ("\"/\"", "\"/\\n\"", Malformed("the path")),
        ("time", "t", Missing("a time")),
        ("client", "c", Missing("a client")),
        ("status", "s", Missing("a status")),
        ("path", "p", Missing("a path")),
        ("protocol", "p", Missing("a protocol")),
        ("duration_ms", "d", Missing("a duration")),
    ] {
        let broken = whole.replacen(from, to, 1);
        let broken = if to == "[" { "[]".to_owned() } else { broken };
        assert_eq!(read(broken.as_bytes(), &Wanted::default()).unwrap_err(), expected, "{broken}");
    }
    let costs = line(r#""method":"GET","status":200,"costs":{"a":4294967296}"#);
    assert_eq!(read(costs.as_bytes(), &Wanted::default()).unwrap_err(), OtherType);
    assert_eq!(read(b"\xff", &Wanted::default()).unwrap_err(), NotJson);
}

#[test]
fn the_user_says_where_a_field_is() {
    let wanted = Wanted::new(
        [],
        vec!["header:x=extra.0.id".parse().unwrap(), "header:y=extra.id".parse().unwrap()],
        None,
    );
    let text = line(r#""method":"GET","status":200,"extra":{"id":7}"#);
    let record = read(text.as_bytes(), &wanted).unwrap();
    assert_eq!(record.headers.len(), 1);
    assert_eq!(record.headers["y"], "7");
}

proptest! {
    /// The value of a cookie is written in such a way that the engine decodes it as it was shown.
    #[test]
    fn cookies_are_read_as_they_were_shown(value in "[ -~]{1,20}") {
        let mut headers = HeaderMap::new();
        add_key(&mut headers, "cookie:sid", &value);
        let field = headers[COOKIE].to_str().unwrap();
        let encoded = field.strip_prefix("sid=").unwrap();
        prop_assert!(!encoded.contains([';', '"', '+', '\\', ' ']), "{}", field);
        let decoded = percent_encoding::percent_decode_str(encoded).decode_utf8().unwrap();
        prop_assert_eq!(decoded, Cow::Borrowed(&*value));
    }
}
