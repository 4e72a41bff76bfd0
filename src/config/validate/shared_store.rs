//! `[limiter.shared]`.

use std::fs;
use std::ops::RangeInclusive;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo as _};

use super::super::item::Item;
use super::super::problem::{Checked, Fault};
use super::super::section::Section;
use super::super::table::{Kind, Setting, Table};
use super::super::{SharedStore, StoreKind};
use super::shared::{DURATION, FILE};
use super::tls::path;
use crate::tls::read_authorities;

const URL: Kind = Kind::Pattern(&["(redis|rediss|redis\\+unix|unix)://.+"]);

pub(super) static SHARED: Table = Table::new(
    "The store in which several gateways keep limits together: Redis from 6.2 on, or Valkey.",
    &[
        Setting::new(
            "url",
            URL,
            "The address of the store: `redis://`, `rediss://` (TLS), `redis+unix://` or `unix://`. A user and a \
             password stand in it, with `/`, `@` and `%` written as `%2F`, `%40` and `%25`.",
        )
        .example(r#""redis://:${REDIS_PASSWORD}@10.0.0.1:6379/0""#),
        Setting::new(
            "urls",
            Kind::List(&URL, 1),
            "The nodes of a Cluster, or the Sentinels, instead of `url`. They differ in host and port only.",
        )
        .example(r#"["redis://10.0.0.1:26379", "redis://10.0.0.2:26379"]"#),
        Setting::new(
            "cluster",
            Kind::Boolean,
            "Whether the URLs are nodes of a Cluster.",
        ).or("false"),
        Setting::new(
            "sentinel",
            Kind::Pattern(&[".+"]),
            "The name of the master, if the URLs are Sentinels. User, password and database in the URLs are those \
             of the master; the Sentinels are asked without.",
        )
        .example(r#""mymaster""#),
        Setting::new(
            "secret",
            Kind::Text,
            "The secret under which the keys of clients are hashed, so that the store sees only hashes. It is the \
             same in all gateways and has at least 16 characters.",
        )
        .example(r#""${file:/run/secrets/limits}""#)
        .required(),
        Setting::new(
            "prefix",
            Kind::Pattern(&["[A-Za-z0-9_.-]{1,64}"]),
            "The text with which the name of every key in the store begins.",
        )
        .example(r#""shop""#)
        .or("\"gateway\""),
        Setting::new(
            "timeout",
            DURATION,
            "The longest that a request waits for the store, from 1ms to 1s.",
        )
        .example(r#""10ms""#)
            .or("\"5ms\""),
        Setting::new(
            "lease_time",
            DURATION,
            "How long a gateway may keep tokens that it has taken from the store in advance, from 1s to \
             60s.",
        )
        .example(r#""5s""#).or("\"10s\""),
        Setting::new(
            "ca",
            FILE,
            "A PEM file of the certificate authorities to trust with `rediss://`. Without this key the system's \
             are trusted.",
        )
        .example(r#""/etc/gateway/internal-ca.pem""#),
    ],
)
.with_one_of(&["url", "urls"]);

const EXAMPLE: &str = "a URL such as \"redis://127.0.0.1:6379\"";

/// The fewest characters of a secret.
const SHORTEST_SECRET: usize = 16;

/// Reads `[limiter.shared]`.
pub(super) fn shared_store(item: Item<'_>) -> Checked<SharedStore> {
    let section = item.section(
        &SHARED,
        "[limiter.shared]".into(),
        "[limiter.shared] once, in single brackets, and its keys below",
    )?;
    let kind = kind(&section);
    let urls = urls(&section, kind.as_ref().ok());
    let secret = section.required("secret", "secret = \"${GATEWAY_SECRET}\"", |item| {
        item.secret().parse("a text of at least 16 characters", secret)
    });
    let prefix =
        section.or("prefix", "gateway".to_owned(), |item| item.parse("a word such as \"gateway\"", prefix));
    let timeout = section.or("timeout", Duration::from_millis(5), |item| {
        duration_within(&item, Duration::from_millis(1)..=Duration::from_secs(1), "1ms to 1s")
    });
    let lease_time = section.or("lease_time", Duration::from_secs(10), |item| {
        duration_within(&item, Duration::from_secs(1)..=Duration::from_secs(60), "1s to 60s")
    });
    let ca = ca(&section, urls.as_deref().ok());
    section.finish();
    Ok(SharedStore {
        kind: kind?,
        urls: urls?,
        ca: ca?,
        secret: secret?,
        prefix: prefix?,
        timeout: timeout?,
        lease_time: lease_time?,
    })
}

/// Reads `cluster` and `sentinel`.
fn kind(section: &Section<'_>) -> Checked<StoreKind> {
    let cluster = section.or("cluster", false, |item| item.boolean());
    let sentinel = section.optional("sentinel", |item| {
        item.parse("the name of a master such as \"mymaster\"", |text| match text {
            "" => Err(Fault::new("an empty name names no master").hint("leave out `sentinel`, or name it")),
            name => Ok(name.to_owned()),
        })
    });
    match (cluster?, sentinel?) {
        (true, Some(_)) => Err(section.report(
            Fault::new("a store is either a Cluster or behind Sentinels")
                .hint("leave out `cluster` or `sentinel`"),
        )),
        (true, None) => Ok(StoreKind::Cluster),
        (false, Some(master)) => Ok(StoreKind::Sentinel(master)),
        (false, None) => Ok(StoreKind::Single),
    }
}

/// Reads `url` or `urls`.
fn urls(section: &Section<'_>, kind: Option<&StoreKind>) -> Checked<Vec<String>> {
    let (url, urls) = (section.get("url"), section.get("urls"));
    let (items, of) = match (url, urls) {
        (Some(url), None) => (vec![url.secret()], url),
        (None, Some(urls)) => (urls.list("URLs")?.into_iter().map(Item::secret).collect(), urls),
        (Some(_), Some(urls)) => {
            let fault = Fault::new("a store has either `url` or `urls`");
            return Err(section.sink.report(urls.key_span(), fault.hint("leave out one of them")));
        }
        (None, None) => {
            let none = |_: Item<'_>| Err(section.sink.reported_later());
            return section.required("url", "url = \"redis://127.0.0.1:6379\"", none);
        }
    };
    if items.is_empty() {
        return Err(of.report(Fault::new("an empty list says no place").hint(format!("write {EXAMPLE}"))));
    }
    let read: Vec<Checked<(&str, ConnectionInfo)>> =
        items.iter().map(|item| item.parse(EXAMPLE, |text| Ok((text, url_of_store(text)?)))).collect();
    let read: Vec<_> = read.into_iter().collect::<Checked<_>>()?;
    let is_single = kind == Some(&StoreKind::Single);
    if is_single && read.len() > 1 {
        let hint = "add cluster = true if they are nodes of a Cluster, or sentinel = \"mymaster\" if they are Sentinels";
        return Err(of.report(Fault::new("one server has one URL").hint(hint)));
    }
    let Some((first, first_info)) = read.first() else { return Err(section.sink.already_reported()) };
    for ((text, info), item) in read.iter().zip(&items) {
        let fault = if !is_single && kind.is_some() && is_socket(text) {
            Fault::new("neither a Cluster nor a Sentinel is behind one socket")
                .hint("write the URL of a port, such as \"redis://10.0.0.1:6379\"")
        } else if kind == Some(&StoreKind::Cluster) && info.redis_settings().db() != 0 {
            Fault::new("a Cluster has one database, the database 0").hint("leave the number out of the URL")
        } else if is_tls(text) != is_tls(first)
            || info.redis_settings().password() != first_info.redis_settings().password()
            || info.redis_settings().username() != first_info.redis_settings().username()
            || info.redis_settings().db() != first_info.redis_settings().db()
        {
            Fault::new("the URLs differ in more than the host and the port")
                .hint("give all of them the same scheme, user, password and database")
        } else {
            continue;
        };
        return Err(item.report(fault));
    }
    Ok(read.into_iter().map(|(text, _)| text.to_owned()).collect())
}

fn is_tls(url: &str) -> bool {
    url.starts_with("rediss:")
}

fn is_socket(url: &str) -> bool {
    url.starts_with("unix:") || url.starts_with("redis+unix:")
}

/// Parses the URL of a store. What is wrong with it is told without the URL, which may have a password in it.
fn url_of_store(text: &str) -> Result<ConnectionInfo, Fault> {
    const SCHEMES: [&str; 4] = ["redis://", "rediss://", "redis+unix://", "unix://"];
    if !SCHEMES.iter().any(|scheme| text.starts_with(scheme)) {
        return Err(Fault::new("this is not the URL of a store")
            .hint("it begins with redis://, rediss://, redis+unix:// or unix://"));
    }
    if text.contains('#') || (!is_socket(text) && text.contains('?')) {
        return Err(Fault::new("the URL of a store ends with the number of a database at most")
            .hint("leave out what is behind it; in a password write # as %23 and ? as %3F"));
    }
    text.into_connection_info().map_err(|_| {
        Fault::new("this is not the URL of a store").hint(
            "such as \"redis://:password@127.0.0.1:6379/0\" or \"redis+unix:///run/redis.sock\"; in a password write / as %2F, @ as %40 and % as %25",
        )
    })
}

/// A secret of a configuration, which is long enough not to be guessed.
pub(super) fn secret(text: &str) -> Result<String, Fault> {
    match text.chars().count() >= SHORTEST_SECRET {
        true => Ok(text.to_owned()),
        false => Err(Fault::new("a short secret can be guessed")
            .hint("it has at least 16 characters: take what `openssl rand -hex 16` prints")),
    }
}

fn prefix(text: &str) -> Result<String, Fault> {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-');
    match (1..=64).contains(&text.len()) && text.bytes().all(is_part) {
        true => Ok(text.to_owned()),
        false => Err(Fault::new("this cannot be the first part of a key in the store")
            .hint("it has 1 to 64 letters, digits, and the characters _ . -")),
    }
}

/// Reads a duration in a range; `told` is the range in messages.
fn duration_within(item: &Item<'_>, range: RangeInclusive<Duration>, told: &str) -> Checked<Duration> {
    let duration = item.duration()?;
    match range.contains(&duration) {
        true => Ok(duration),
        false => Err(item.mismatch(&format!("a duration from {told}"), None)),
    }
}

/// Reads `ca`.
fn ca(section: &Section<'_>, urls: Option<&[String]>) -> Checked<Option<Vec<u8>>> {
    let ca = section.optional("ca", |item| {
        let path = path(&item)?;
        read_authorities(path).map_err(|flaw| item.report(flaw.into()))?;
        fs::read(path).map_err(|error| item.report(Fault::new(format!("{path:?} cannot be read: {error}"))))
    })?;
    if urls.is_some_and(|urls| !urls.iter().any(|url| is_tls(url))) {
        section.useless(&["ca"], "without TLS", "write rediss:// in the URL, or leave it out")?;
    }
    Ok(ca)
}
