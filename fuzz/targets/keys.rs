//! Who a request is counted for: its client, and the value of a key. The first line is the query, the others are fields.
#![no_main]

use std::net::{IpAddr, Ipv4Addr};

use gateway::client::{ClientId, TrustedProxies};
use gateway::limit::key::{Facts, Key, KeyPart, Secret};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;

const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

fuzz_target!(|input: &[u8]| {
    let Some((query, headers)) = request(input) else { return };
    let trusted = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("it is a network")]);
    assert_eq!(trusted.client(STRANGER, &headers), ClientId::Address(STRANGER), "a stranger speaks for itself");
    let client = trusted.client(PROXY, &headers);
    let facts = Facts {
        client: &client,
        method: &Method::GET,
        host: "a.example",
        path: "/",
        query: query.as_deref(),
        route: "r",
        headers: &headers,
    };
    let parts = [
        KeyPart::ClientIp,
        KeyPart::Header(HeaderName::from_static("x-api-key")),
        KeyPart::Cookie("sid".into()),
        KeyPart::Query("user".into()),
    ];
    let secret = Secret::shared();
    for part in &parts {
        let key = Key::of(vec![part.clone()]);
        let once = key.fingerprint(&facts, &secret);
        assert_eq!(once, key.fingerprint(&facts, &secret));
        // What an operator is shown can be looked up again, where it is the value and not shortened.
        if let [shown] = &*key.shown(&facts, &secret, true) {
            assert!(shown.len() < 1024, "{shown:?}");
        }
    }
    let _ = Key::of(parts.to_vec()).fingerprint(&facts, &secret);
});

fn request(input: &[u8]) -> Option<(Option<String>, HeaderMap)> {
    let mut lines = input.split(|&byte| byte == b'\n');
    let query = String::from_utf8(lines.next()?.to_vec()).ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let colon = line.iter().position(|&byte| byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        headers.append(name, HeaderValue::from_bytes(&line[colon + 1..]).ok()?);
    }
    Some(((!query.is_empty()).then_some(query), headers))
}
