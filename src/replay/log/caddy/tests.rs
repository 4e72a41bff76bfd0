//! Lines of Caddy.

use http::{Method, StatusCode, Version};

use super::*;
use crate::client::ClientId;
use crate::limit::key::KeyPart;

const LINE: &str = r#"{"level":"info","ts":1646861401.5241024,"logger":"http.log.access","msg":"handled request","request":{"remote_ip":"127.0.0.1","remote_port":"41342","client_ip":"192.0.2.1","proto":"HTTP/2.0","method":"GET","host":"localhost","uri":"/a?b","headers":{"User-Agent":["curl/7.82.0"],"Accept":["*/*","text/html"],"Cookie":["REDACTED"],"X-Api-Key":["k"]},"tls":{"resumed":false,"version":772,"proto":"h2","server_name":"example.com"}},"bytes_read":0,"user_id":"frank","duration":0.000929675,"size":10900,"status":200,"resp_headers":{"Server":["Caddy"]}}"#;

fn fields(line: &str, parts: &[&str], mappings: &[&str]) -> Vec<String> {
    let parts: Vec<_> = parts.iter().map(|name| KeyPart::Header(name.parse().unwrap())).collect();
    let wanted = Wanted::new(&parts, mappings.iter().map(|text| text.parse().unwrap()).collect(), None);
    let headers = read(line.as_bytes(), &wanted).unwrap().headers;
    headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect()
}

#[test]
fn a_line() {
    let record = read(LINE.as_bytes(), &Wanted::default()).unwrap();
    // As exact as the number is that holds it.
    assert!((record.ended.0 - 1_646_861_401_524_102_400).abs() < 300, "{:?}", record.ended);
    assert_eq!(record.took, Some(Duration::from_nanos(929_675)));
    assert_eq!(record.client, ClientId::Address("192.0.2.1".parse().unwrap()));
    assert_eq!(
        (record.method, record.version, &*record.target),
        (Method::GET, Version::HTTP_2, &b"/a?b"[..])
    );
    assert_eq!((record.status, record.own), (Some(StatusCode::OK), None));
    assert_eq!(record.headers.len(), 1);
    assert_eq!(record.headers["host"], "localhost");
}

#[test]
fn what_other_versions_and_settings_write() {
    let changed = |from: &str, to: &str| {
        let line = LINE.replacen(from, to, 1);
        assert_ne!(line, LINE);
        read(line.as_bytes(), &Wanted::default())
    };
    let record = changed("1646861401.5241024", "\"2022-03-09T21:30:01.524+0000\"").unwrap();
    assert_eq!(record.ended.0, 1_646_861_401_524_000_000);
    let record = changed("\"client_ip\":\"192.0.2.1\",", "").unwrap();
    assert_eq!(record.client, ClientId::Address("127.0.0.1".parse().unwrap()));
    assert_eq!(changed("0.000929675", "\"929.675µs\"").unwrap().took, None);
    // The client left before there was an answer.
    assert_eq!(changed("\"status\":200", "\"status\":0").unwrap().status, None);
    for (from, to, expected) in [
        ("1646861401.5241024", "\"2022/03/09 21:30:01\"", Unreadable::Malformed("the time")),
        ("1646861401.5241024", "1e300", Unreadable::OutOfRange("the time")),
        ("1646861401.5241024", "[]", Unreadable::OtherType),
        ("0.000929675", "-1", Unreadable::OutOfRange("the duration")),
        ("\"ts\"", "\"t\"", Unreadable::Missing("a time")),
        ("\"request\"", "\"r\"", Unreadable::Missing("a request")),
        ("\"uri\"", "\"u\"", Unreadable::Missing("a path")),
        ("HTTP/2.0", "HTTP/x", Unreadable::Malformed("the version of HTTP")),
    ] {
        assert_eq!(changed(from, to).unwrap_err(), expected, "{to}");
    }
}

#[test]
fn fields_are_read_where_the_configuration_asks_for_them() {
    assert_eq!(
        fields(LINE, &["x-api-key", "accept", "cookie", "missing"], &[]),
        ["host: localhost", "x-api-key: k", "accept: */*", "accept: text/html"]
    );
    let mappings =
        ["header:a=user", "header:b=request.tls.proto", "cookie:sid=user_agent", "header:c=cookie"];
    assert_eq!(
        fields(LINE, &[], &mappings),
        ["host: localhost", "a: frank", "b: h2", "cookie: sid=curl%2F7.82.0"]
    );
    let told = LINE.replace("REDACTED", "sid=1; a=2");
    assert_eq!(fields(&told, &["cookie"], &[]), ["host: localhost"]);
    let mapped = fields(&told, &["cookie"], &["header:cookie=request.headers.cookie"]);
    assert_eq!(mapped, ["host: localhost", "cookie: sid=1; a=2"]);
    // What is kept secret has no value.
    assert_eq!(fields(LINE, &[], &["header:cookie=request.headers.Cookie"]), ["host: localhost"]);
}
