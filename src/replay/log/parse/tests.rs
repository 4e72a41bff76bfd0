//! Which format a line is in, and lines that are in none.

use proptest::prelude::*;

use super::*;

#[test]
fn the_format_of_a_line() {
    use Format::*;
    for (line, expected) in [
        (r#"1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326"#, Some(Common)),
        (r#"1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326 rt=0.1"#, Some(Common)),
        (
            r#"1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326 "-" "a" rt=0.1"#,
            Some(Combined),
        ),
        (r#"1.2.3.4:80 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326 "-" "a""#, Some(Combined)),
        // What Traefik writes if it is not told to write JSON.
        (
            r#"1.2.3.4 - - [10/Oct/2000:13:55:36 +0000] "GET / HTTP/1.1" 200 4 "-" "-" 7 "r@file" "http://10.0.0.1" 3ms"#,
            Some(Combined),
        ),
        (
            r#"a:80 1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326 "-" "a""#,
            Some(VhostCombined),
        ),
        (
            r#"[::1]:80 ::1 - - [10/Oct/2000:13:55:36 -0700] "GET / HTTP/1.0" 200 2326 "-" "a""#,
            Some(VhostCombined),
        ),
        // No request tells as much of the format as any.
        (r#"1.2.3.4 - - [10/Oct/2000:13:55:36 -0700] "-" 408 0 "-" "-""#, Some(Combined)),
        (
            r#"{"time":"2026-11-26T08:41:35.000123Z","client":"1.2.3.4","method":"-","path":"-","protocol":"-","status":400,"duration_ms":0.1}"#,
            Some(Gateway),
        ),
        (
            r#"{"ts":1.5,"request":{"remote_ip":"1.2.3.4","proto":"HTTP/2.0","method":"GET","uri":"/"},"status":200}"#,
            Some(Caddy),
        ),
        (
            r#"{"StartUTC":"2025-05-01T12:00:00Z","ClientHost":"1.2.3.4","RequestMethod":"GET","RequestPath":"/","RequestProtocol":"HTTP/1.1","DownstreamStatus":200}"#,
            Some(Traefik),
        ),
        ("{}", None),
        ("", None),
        ("#Fields: date time c-ip", None),
        ("\0\0\0", None),
    ] {
        assert_eq!(format_of(line.as_bytes(), &Wanted::default()), expected, "{line}");
    }
}

proptest! {
    #[test]
    fn whatever_stands_in_a_line_it_is_read_or_not(
        line in prop_oneof![
            prop::collection::vec(any::<u8>(), 0..200),
            prop::collection::vec(prop::sample::select(&b"\" \\[]:-1/x"[..]), 0..100),
            ("[ -~]{0,20}", "[ -~]{0,40}", "[ -~]{0,40}").prop_map(|(client, request, rest)| {
                format!("{client} - - [10/Oct/2000:13:55:36 -0700] \"{request}\" 200 {rest}").into_bytes()
            }),
        ],
    ) {
        let mappings = ["header:a=user", "cookie:b=request.uri"].map(|text| text.parse().unwrap());
        for wanted in [Wanted::default(), Wanted::new([], mappings.into(), None)] {
            for format in Format::ALL {
                let _ = read(&line, format, &wanted, &mut ClfStamps::default());
            }
            let _ = format_of(&line, &wanted);
        }
    }

    #[test]
    fn objects_of_json_are_read_or_not(
        members in prop::collection::vec(
            (
                prop::sample::select(&[
                    "time", "client", "method", "path", "protocol", "status", "duration_ms", "limits", "keys", "costs", "ts",
                    "request", "duration", "StartUTC", "Duration", "ClientHost", "RequestMethod", "RequestPath",
                    "RequestProtocol", "DownstreamStatus",
                ][..]),
                prop::sample::select(&[
                    "null", "0", "-1", "200", "1e400", "1e300", "\"\"", "\"GET\"", "\"/\"", "\"HTTP/1.1\"",
                    "\"\\ud800\"", "[]", "{}", "{\"a\":1}", "[1]", "\"2026-11-26T08:41:35Z\"", "18446744073709551615",
                ][..]),
            ),
            0..12,
        ),
    ) {
        let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let line = format!("{{{}}}", members.join(","));
        for format in Format::ALL {
            let _ = read(line.as_bytes(), format, &Wanted::default(), &mut ClfStamps::default());
        }
    }
}
