//! The line of a request.
//!
//! A line is ASCII whatever clients send, and has one end: in JSON everything else is escaped (also what some readers take
//! for the end of a line, such as U+2028, and what some terminals obey), in the combined format it becomes `\xHH` as
//! with nginx. So nobody can forge a line, or a field of one. No field is longer than a bound, as it is written: what is cut off
//! is said in JSON by `cut`, which names the fields, and in the combined format by `\...` at the field's end, which no client
//! can send.

use super::entry::Entry;
use super::second::SecondText;
use super::{combined, json};
use crate::config::{LogFormat, Members};

/// Formats the lines of a worker.
pub(super) struct Formatter {
    format: LogFormat,
    /// What is in a line of JSON.
    members: Members,
    second: SecondText,
}

impl Formatter {
    pub(super) fn new(format: LogFormat, members: Members) -> Self {
        let second = SecondText::new(match format {
            LogFormat::Json => json::SECOND,
            LogFormat::Combined => combined::SECOND,
        });
        Self { format, members, second }
    }

    /// Appends the line of a request.
    pub(super) fn append(&mut self, entry: &Entry<'_>, lines: &mut Vec<u8>) {
        match self.format {
            LogFormat::Json => json::write(entry, self.members, &mut self.second, lines),
            LogFormat::Combined => combined::write(entry, &mut self.second, lines),
        }
        lines.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};
    use std::time::Duration;

    use jiff::Timestamp;
    use proptest::prelude::*;
    use smallvec::smallvec;

    use super::*;
    use crate::access_log::arbitrary::{client, text};
    use crate::client::ClientId;

    const CLIENT: ClientId = ClientId::Address(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)));

    fn entry(user_agent: &str) -> Entry<'_> {
        Entry {
            request_id: "id",
            method: "GET",
            host: "a.example".into(),
            path: "/a?b",
            protocol: "HTTP/1.1",
            route: "r",
            status: 429,
            bytes_in: 1,
            bytes_out: 2,
            duration: Duration::from_micros(1500),
            upstream_duration: Some(Duration::from_millis(1)),
            limits: smallvec![("l", Some(0)), ("m", Some(7)), ("n", None)],
            refused_by: smallvec!["l"],
            trace_id: Some(0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c),
            user_agent: user_agent.into(),
            ..Entry::unread(Timestamp::from_microsecond(1_700_000_000_000_001).unwrap(), &CLIENT)
        }
    }

    fn line(entry: &Entry<'_>, format: LogFormat) -> String {
        let mut line = Vec::new();
        Formatter::new(format, Members::ALL).append(entry, &mut line);
        String::from_utf8(line).unwrap()
    }

    #[test]
    fn a_json_line_tells_everything() {
        let entry = entry("curl\"\\\n\u{e9}\u{1d11e}\u{7f}");
        assert_eq!(
            line(&entry, LogFormat::Json),
            concat!(
                r#"{"time":"2023-11-14T22:13:20.000001Z","request_id":"id","client":"192.0.2.1","method":"GET","#,
                r#""host":"a.example","path":"/a?b","protocol":"HTTP/1.1","route":"r","status":429,"bytes_in":1,"#,
                r#""bytes_out":2,"duration_ms":1.5,"upstream_ms":1.0,"limits":{"l":0,"m":7,"n":null},"#,
                r#""refused_by":["l"],"trace_id":"0af7651916cd43dd8448eb211c80319c","#,
                r#""user_agent":"curl\"\\\n\u00e9\ud834\udd1e\u007f"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn a_combined_line_is_that_of_other_servers() {
        assert_eq!(
            line(&entry("curl\"\\\n\u{e9}"), LogFormat::Combined),
            "192.0.2.1 - - [14/Nov/2023:22:13:20 +0000] \"GET /a?b HTTP/1.1\" 429 2 \"-\" \
             \"curl\\x22\\x5C\\x0A\\xC3\\xA9\"\n"
        );
    }

    #[test]
    fn a_field_is_cut_by_what_it_takes_and_that_is_said() {
        let (agent, path) = ("\u{fffd}".repeat(60_000), format!("/{}", "a".repeat(5000)));
        let client = ClientId::Opaque("b".repeat(5000));
        let entry = Entry { path: &path, user_agent: (&*agent).into(), client: &client, ..entry("") };
        let json = line(&entry, LogFormat::Json);
        assert!(json.len() < 13_000, "{}", json.len());
        let json: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(json["cut"], serde_json::json!(["client", "path", "user_agent"]));
        assert_eq!(json["path"], path[..4096]);
        assert_eq!(json["user_agent"].as_str().unwrap().chars().count(), 682);
        let combined = line(&entry, LogFormat::Combined);
        assert!(combined.len() < 13_000, "{}", combined.len());
        assert!(combined.contains("b\\... - - ["), "{combined}");
        assert!(combined.contains("a\\... HTTP/1.1\" 429 2 \"-\" \"\\xEF"), "{combined}");
        assert!(combined.ends_with("\\xBD\\...\"\n"), "{combined}");
    }

    /// What `\xHH` stands for.
    fn unescaped(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.as_bytes();
        while let [first, more @ ..] = rest {
            rest = more;
            match more {
                [b'x', high, low, more @ ..] if *first == b'\\' => {
                    let digits = [*high, *low];
                    bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                    rest = more;
                }
                _ => bytes.push(*first),
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    proptest! {
        #[test]
        fn nobody_forges_a_line(
            client in client(text()),
            method in text(),
            host in text(),
            path in text(),
            referer in text(),
            user_agent in text(),
        ) {
            let entry = Entry {
                client: &client,
                method: &method,
                host: (&*host).into(),
                path: &path,
                referer: (&*referer).into(),
                user_agent: (&*user_agent).into(),
                ..entry("")
            };
            for format in [LogFormat::Json, LogFormat::Combined] {
                let line = line(&entry, format);
                let (last, others) = line.as_bytes().split_last().unwrap();
                prop_assert_eq!(*last, b'\n');
                prop_assert!(others.iter().all(|byte| matches!(byte, b' '..=b'~')), "{}", line);
            }
            let json: serde_json::Value = serde_json::from_str(&line(&entry, LogFormat::Json)).unwrap();
            for (key, value) in [
                ("client", &client.to_string()), ("method", &method), ("host", &host), ("path", &path),
            ] {
                prop_assert_eq!(json[key].as_str(), Some(value.as_str()));
            }
            let given = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
            let told = |key: &str| json[key].as_str().map(str::to_owned);
            prop_assert_eq!((told("referer"), told("user_agent")), (given(&referer), given(&user_agent)));
            prop_assert_eq!(&json["status"], 429);

            let combined = line(&entry, LogFormat::Combined);
            let parts: Vec<_> = combined.split('"').collect();
            prop_assert_eq!(parts.len(), 7, "{}", combined);
            let who = parts[0].split(' ').collect::<Vec<_>>();
            prop_assert_eq!(who.len(), 6);
            prop_assert_eq!(unescaped(who[0]), client.to_string());
            prop_assert_eq!(unescaped(parts[1]), format!("{method} {path} HTTP/1.1"));
            prop_assert_eq!(parts[2], " 429 2 ");
            let dashed = |text: &str| given(text).unwrap_or("-".to_owned());
            prop_assert_eq!(unescaped(parts[3]), dashed(&referer));
            prop_assert_eq!(unescaped(parts[5]), dashed(&user_agent));
        }
    }
}
