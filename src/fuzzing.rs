//! What the fuzz targets (`fuzz/`) call: what reads bytes that are not the gateway's own, each with what must hold of it
//! whatever the bytes. It exists under `cfg(fuzzing)`, and in tests, which go through the targets' seeds.

use std::net::{IpAddr, Ipv4Addr};

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use crate::client::{ClientId, TrustedProxies};
use crate::clock::Timestamp;
use crate::config::Config;
use crate::limit::key::{Inputs, Key, KeyPart, Secret};
use crate::limit::snapshot::{self, Moment, Snapshot};
pub use crate::server::fuzzing::{chunked, http2_request, proxy_header, request_head};

/// A config file. Every problem has a place in it, and what it shows of itself has no secret.
pub fn config(text: &[u8]) {
    const SECRET: &str = "s3cr3t-of-the-environment";

    let Ok(text) = str::from_utf8(text) else { return };
    let env = |name: &str| (name == "TOKEN").then(|| SECRET.to_owned());
    match Config::parse("f", text, &env) {
        Ok(config) => assert!(!config.shown.to_string().contains(SECRET)),
        Err(problems) => {
            let lines = text.split('\n').count();
            assert!(problems.iter().count() > 0);
            // Other places are in files that the text names.
            for (place, _) in problems.iter().filter(|(_, problem)| problem.file.is_none()) {
                let position = place.start;
                assert!((1..=lines).contains(&position.line), "{position} of {lines} lines");
            }
        }
    }
}

/// Whom a request is counted for: the first line is its query, the others are fields. A stranger speaks for nobody else, and the
/// same request has the same key.
pub fn keys(input: &[u8]) {
    const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1));
    const STRANGER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

    let Some((query, headers)) = read_request(input) else { return };
    let trusted = TrustedProxies::new(&["10.0.0.0/8".parse().expect("it is a network")]);
    assert_eq!(trusted.client(STRANGER, &headers), Ok(ClientId::Address(STRANGER)));
    let Ok(client) = trusted.client(PROXY, &headers) else { return };
    let inputs = Inputs {
        client: &client,
        caller: None,
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
    for key in parts.iter().map(|part| vec![part.clone()]).chain([parts.to_vec()]).map(Key::of) {
        assert_eq!(key.fingerprint(&inputs, &secret), key.fingerprint(&inputs, &secret));
        // What an operator is shown is bounded.
        assert!(key.shown(&inputs, &secret, true).iter().all(|shown| shown.len() < 1024));
    }
}

fn read_request(input: &[u8]) -> Option<(Option<String>, HeaderMap)> {
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

/// A snapshot of buckets: as it is, and with a checksum that is right.
pub fn saved_buckets(bytes: &[u8]) {
    let _ = snapshot::check(bytes, bytes.len() as u64);
    let mut file = bytes.to_vec();
    file.extend_from_slice(&crc32fast::hash(bytes).to_le_bytes());
    snapshot::check(&*file, file.len() as u64).expect("its checksum is right");
    let _ = Snapshot::read(&*file, Moment { wall: 1 << 60, clock: Timestamp::from_nanos(1 << 40) });
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;

    #[test]
    fn the_seeds_and_what_failed_once_pass() {
        for (name, target) in [
            ("chunked", chunked as fn(&[u8])),
            ("config", config),
            ("http2_request", http2_request),
            ("keys", keys),
            ("proxy_header", proxy_header),
            ("request_head", request_head),
            ("snapshot", saved_buckets),
        ] {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(name);
            let seeds: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
            assert!(!seeds.is_empty(), "{name}");
            for seed in seeds {
                target(&fs::read(seed).unwrap());
            }
        }
    }
}
