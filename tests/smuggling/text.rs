//! Bytes as text that can be read and compared.

use std::fmt::Write as _;
use std::net::SocketAddr;

/// The cases of a file, each with its name: a case begins with `--- name`, and lines that begin with `#` say why.
pub(super) fn cases(text: &str) -> Vec<(String, String)> {
    let lines = text.lines().filter(|line| !line.starts_with('#')).map(|line| format!("{line}\n"));
    let text: String = lines.collect();
    let cases = text.split("--- ").skip(1).map(|case| case.split_once('\n').unwrap());
    cases.map(|(name, input)| (name.to_owned(), input.to_owned())).collect()
}

/// The bytes that a text stands for. Its own line ends do not count.
pub(super) fn unescape(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes().filter(|byte| *byte != b'\n');
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next().unwrap() {
            b'r' => b'\r',
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            other => panic!("\\{} stands for nothing", char::from(other)),
        });
    }
    bytes
}

/// The text that stands for bytes, without what differs from run to run: ids, dates, the port of the upstream.
pub(super) fn escape(bytes: &[u8], upstream: SocketAddr) -> String {
    let text: String = bytes.iter().copied().map(char::from).collect();
    let text = text.replace(&upstream.to_string(), "UPSTREAM");
    let mut out = String::new();
    for line in text.split_inclusive('\n') {
        let line = match line.split_once(": ") {
            Some((name, _)) if name.eq_ignore_ascii_case("date") => format!("{name}: DATE\r\n"),
            _ => without_ids(line),
        };
        for char in line.chars() {
            match char {
                '\r' => out.push_str("\\r"),
                '\n' => out.push_str("\\n\n"),
                '\\' => out.push_str("\\\\"),
                ' '..='~' => out.push(char),
                other => write!(out, "\\x{:02x}", u32::from(other)).unwrap(),
            }
        }
    }
    if !out.ends_with('\n') {
        out.push('\n');
    }
    out
}

/// A text whose runs of 32 hexadecimal digits are left out.
fn without_ids(line: &str) -> String {
    let mut out = String::new();
    let mut run = String::new();
    for char in line.chars().chain(['\0']) {
        if char.is_ascii_hexdigit() {
            run.push(char);
            continue;
        }
        out.push_str(if run.len() == 32 { "ID" } else { &run });
        run.clear();
        out.push(char);
    }
    out.pop();
    out
}
