//! `gateway proxy`: makes a configuration of the command line, for a first try or a service on this machine.
//!
//! What is served is the text of a configuration file, which is printed. So nothing can be said here that a file cannot say, and whoever wants
//! more has the file to go on with.

use std::fmt::Write as _;

use crate::config::Source;

/// What `gateway proxy` takes.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// The service: an address such as :3000 (on this machine), app.internal:3000, https://app.internal or unix:/run/app.sock. Several
    /// share the requests.
    #[allow(rustdoc::bare_urls, reason = "`--help` shows it as it is")]
    #[arg(long, required = true, value_name = "ADDRESS", value_parser = server)]
    to: Vec<Server>,
    /// Where clients come in; :8000 is that port on every address of this machine.
    #[arg(long, default_value = "127.0.0.1:8000", value_name = "ADDRESS", value_parser = listener)]
    from: String,
    /// How much each client may have, such as 10/s or 600/min; left out, as much as it likes.
    #[arg(long, value_name = "RATE")]
    rate: Option<String>,
    /// How many requests it may send at once; left out, the count in the rate.
    #[arg(long, requires = "rate", value_name = "REQUESTS")]
    burst: Option<u32>,
    /// What a client is told by: client_ip (its address), header:X-Api-Key, cookie:NAME, query:NAME. Several are one client for each
    /// combination.
    #[arg(long, requires = "rate", value_name = "KEY")]
    key: Vec<String>,
    /// The side port, with the live page and the metrics; or off.
    #[arg(long, default_value = "127.0.0.1:8001", value_name = "ADDRESS", value_parser = admin)]
    admin: String,
}

/// A server of the service.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Server {
    address: String,
    tls: bool,
}

/// Reads `:3000`, `3000`, `host:3000`, `http://host:3000`, `https://host` or `unix:/path`.
fn server(text: &str) -> Result<Server, String> {
    if text.starts_with("unix:") {
        return Ok(Server { address: text.to_owned(), tls: false });
    }
    let (tls, authority) = match text.split_once("://") {
        None => (false, text),
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some((scheme, _)) => return Err(format!("{scheme}: is neither http nor https")),
    };
    let authority = authority.strip_suffix('/').unwrap_or(authority);
    if authority.contains(['/', '?', '#', '@']) {
        return Err(
            "a host and a port are enough: what goes where by its path is for a configuration file, \
                    which `gateway init` writes"
                .to_owned(),
        );
    }
    let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| is_number(port));
    let address = match (text.contains("://"), has_port) {
        (true, false) => format!("{authority}:{}", if tls { 443 } else { 80 }),
        _ => on(authority, "127.0.0.1"),
    };
    Ok(Server { address, tls })
}

#[expect(clippy::unnecessary_wraps, reason = "what clap calls")]
fn listener(text: &str) -> Result<String, String> {
    Ok(on(text, "0.0.0.0"))
}

#[expect(clippy::unnecessary_wraps, reason = "what clap calls")]
fn admin(text: &str) -> Result<String, String> {
    Ok(on(text, "127.0.0.1"))
}

/// An address with a host. A text that is only a port, as `3000` or `:3000`, gets this one.
fn on(text: &str, host: &str) -> String {
    match text.strip_prefix(':').unwrap_or(text) {
        port if is_number(port) => format!("{host}:{port}"),
        _ => text.to_owned(),
    }
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

impl Args {
    /// The configuration that says the same.
    ///
    /// # Errors
    /// When some servers speak TLS and others do not.
    pub fn source(&self) -> Result<Source, String> {
        let tls = self.to.iter().any(|server| server.tls);
        if tls && !self.to.iter().all(|server| server.tls) {
            return Err(
                "--to names servers with TLS and others without: give each kind an upstream of its own in a \
                        configuration file, which `gateway init` writes"
                    .to_owned(),
            );
        }
        Ok(Source::Text { name: "gateway proxy", text: self.text(tls).into() })
    }

    fn text(&self, tls: bool) -> String {
        let mut text = format!(
            "# The same as a file; `gateway --config FILE` serves it.\n[server]\nlisten = {}\n\n[admin]\nlisten = {}\n\n",
            quoted(&self.from),
            quoted(&self.admin)
        );
        if let Some(rate) = &self.rate {
            let _ = writeln!(text, "[limits.per_client]\nrate = {}", quoted(rate));
            if let Some(burst) = self.burst {
                let _ = writeln!(text, "burst = {burst}");
            }
            match &*self.key {
                [] => {}
                [key] => drop(writeln!(text, "key = {}", quoted(key))),
                keys => drop(writeln!(text, "key = [{}]", list(keys.iter().map(String::as_str)))),
            }
            text.push('\n');
        }
        let servers = list(self.to.iter().map(|server| &*server.address));
        let _ = writeln!(text, "[upstreams.app]\nservers = [{servers}]");
        if tls {
            text.push_str("tls = true\n");
        }
        text.push_str("\n[[routes]]\nname = \"app\"\npath = \"/*\"\nupstream = \"app\"\n");
        if self.rate.is_some() {
            text.push_str("limits = [\"per_client\"]\n");
        }
        text
    }
}

fn list<'a>(texts: impl Iterator<Item = &'a str>) -> String {
    texts.map(quoted).collect::<Vec<_>>().join(", ")
}

/// A string of a configuration, in which a dollar sign begins a variable.
fn quoted(text: &str) -> String {
    toml::Value::String(text.replace('$', "$$")).to_string()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn source(line: &str) -> Result<Source, String> {
        let words = std::iter::once("proxy").chain(line.split(' '));
        let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
        line.args.source()
    }

    fn text(line: &str) -> String {
        match source(line).unwrap() {
            Source::Text { text, .. } => text.to_string(),
            Source::File(_) => unreachable!("a command line is no file"),
        }
    }

    #[test]
    fn the_file_says_what_the_command_line_says() {
        let text = text("--to :3000 --rate 10/s --burst 20 --from :8000 --key header:X-Api-Key");
        let expected = "[server]\nlisten = \"0.0.0.0:8000\"\n\n[admin]\nlisten = \"127.0.0.1:8001\"\n\n\
             [limits.per_client]\nrate = \"10/s\"\nburst = 20\nkey = \"header:X-Api-Key\"\n\n\
             [upstreams.app]\nservers = [\"127.0.0.1:3000\"]\n\n\
             [[routes]]\nname = \"app\"\npath = \"/*\"\nupstream = \"app\"\nlimits = [\"per_client\"]\n";
        assert_eq!(text.split_once('\n').unwrap().1, expected);
    }

    #[test]
    fn addresses_have_short_forms() {
        let server = |text: &str| server(text).map(|server| (server.address, server.tls));
        for (text, address, tls) in [
            (":3000", "127.0.0.1:3000", false),
            ("3000", "127.0.0.1:3000", false),
            ("app:3000", "app:3000", false),
            ("[::1]:3000", "[::1]:3000", false),
            ("http://app/", "app:80", false),
            ("https://app", "app:443", true),
            ("https://[::1]", "[::1]:443", true),
            ("https://app:8443", "app:8443", true),
            ("unix:/run/app.sock", "unix:/run/app.sock", false),
        ] {
            assert_eq!(server(text), Ok((address.to_owned(), tls)), "{text}");
        }
        for wrong in ["ftp://app", "http://app/path", "http://user@app"] {
            assert!(server(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_line_is_a_valid_configuration_or_says_what_is_wrong() {
        for line in [
            "--to :3000",
            "--to :3000 --to :3001 --rate 600/min",
            "--to https://app.internal --rate 1/s --key client_ip --key path",
            "--to :3000 --admin off",
            "--to unix:/run/$app.sock",
        ] {
            let config = source(line).unwrap().load();
            assert!(config.is_ok(), "{line}: {}", config.unwrap_err());
        }
        for (line, problem) in [
            ("--to :3000 --burst 20", "--rate"),
            ("--from :8000", "--to"),
            ("--to :3000 --to https://app", "TLS"),
        ] {
            let said = source(line).unwrap_err();
            assert!(said.contains(problem), "{line}: {said}");
        }
        for (line, problem) in [
            ("--to :3000 --rate 10", "gateway proxy:9:8: "),
            ("--to :3000 --rate 1/s --key colour", "gateway proxy:10:7: "),
            ("--to app", "gateway proxy:9:12: "),
            ("--to :3000 --from nowhere", "gateway proxy:3:10: "),
        ] {
            let said = source(line).unwrap().load().unwrap_err().to_string();
            assert!(said.starts_with(problem), "{line}: {said}");
        }
    }
}
