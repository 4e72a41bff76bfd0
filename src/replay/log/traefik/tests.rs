//! Lines of Traefik.

use http::{Method, StatusCode, Version};

use super::*;
use crate::client::ClientId;

const LINE: &str = r#"{"ClientAddr":"10.0.0.5:54321","ClientHost":"192.0.2.1","ClientPort":"54321","ClientUsername":"-","DownstreamContentSize":1234,"DownstreamStatus":200,"Duration":45123456,"OriginDuration":45000000,"OriginStatus":200,"Overhead":123456,"RequestAddr":"a.example:8080","RequestContentSize":0,"RequestCount":7,"RequestHost":"a.example","RequestMethod":"GET","RequestPath":"/api?b=c","RequestPort":"8080","RequestProtocol":"HTTP/1.1","RequestScheme":"http","RetryAttempts":0,"RouterName":"r@docker","StartLocal":"2025-05-01T14:00:00.5+02:00","StartUTC":"2025-05-01T12:00:00.5Z","entryPointName":"web","level":"info","msg":"","request_User-Agent":"curl/8","request_X-Api-Key":"k","time":"2025-05-01T12:00:00Z"}"#;

fn changed(from: &str, to: &str) -> Result<Record, Unreadable> {
    let line = LINE.replacen(from, to, 1);
    assert_ne!(line, LINE);
    read(line.as_bytes(), &Wanted::default())
}

#[test]
fn a_line() {
    let record = read(LINE.as_bytes(), &Wanted::default()).unwrap();
    assert_eq!(record.ended.0, 1_746_100_800_545_123_456);
    assert_eq!(record.began().0, 1_746_100_800_500_000_000);
    assert_eq!(record.client, ClientId::Address("192.0.2.1".parse().unwrap()));
    assert_eq!((record.method, record.version), (Method::GET, Version::HTTP_11));
    assert_eq!((&*record.target, record.status), (&b"/api?b=c"[..], Some(StatusCode::OK)));
    assert_eq!((record.headers.len(), record.own), (1, None));
    assert_eq!(record.headers["host"], "a.example");
}

#[test]
fn what_other_settings_write() {
    // Without the beginning, the line's own time is that of the end.
    assert_eq!(changed("StartUTC", "S").unwrap().ended.0, 1_746_100_800_000_000_000);
    assert_eq!(changed("\"Duration\"", "\"D\"").unwrap().took, None);
    // What `X-Forwarded-For` said.
    let client = |text: &str| changed("192.0.2.1", text).unwrap().client;
    assert_eq!(client("203.0.113.9, 192.0.2.7"), ClientId::Address("192.0.2.7".parse().unwrap()));
    assert_eq!(client("unknown"), ClientId::Opaque("unknown".into()));
    for (from, to, expected) in [
        ("192.0.2.1", "", Unreadable::Missing("a client")),
        ("\"DownstreamStatus\":200", "\"DownstreamStatus\":600", Unreadable::OutOfRange("the status")),
        ("45123456", "-1", Unreadable::OutOfRange("the duration")),
        ("45123456", "\"1\"", Unreadable::OtherType),
        ("RequestPath", "R", Unreadable::Missing("a path")),
        ("RequestMethod", "R", Unreadable::Missing("a method")),
    ] {
        assert_eq!(changed(from, to).unwrap_err(), expected, "{to}");
    }
}

#[test]
fn fields_are_read_where_the_user_says_they_are() {
    let mappings = ["header:x-api-key=request_X-Api-Key", "cookie:a=user_agent", "header:b=user"];
    let wanted = Wanted::new([], mappings.map(|text| text.parse().unwrap()).into(), None);
    let headers = read(LINE.as_bytes(), &wanted).unwrap().headers;
    let fields: Vec<_> =
        headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    assert_eq!(fields, ["host: a.example", "x-api-key: k", "cookie: a=curl%2F8"]);
}
