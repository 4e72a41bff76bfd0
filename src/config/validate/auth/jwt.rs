//! `[auth.jwt]`: which tokens are believed, and where requests have them.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Uri, header};

use crate::config::item::Item;
use crate::config::problem::{Checked, Fault, quoted};
use crate::config::section::Section;
use crate::config::table::{Kind, Setting, Table};
use crate::config::validate::shared::{DURATION, DURATION_OR_ZERO, FIELD, FIELD_NAME, FILE};
use crate::config::validate::tls;
use crate::config::value::http::header_name;
use crate::config::{Jwks, Jwt, JwtKeys};
use crate::field_names::{is_of_the_gateway, is_plain};
use crate::jwt::{Algorithm, Key, KeySet, MAX_KEYS, NoKeys, Rules, Trust, UnusableKey};
use crate::regular_file::{self, Unread};
use crate::tls::{Authorities, read_authorities, system_authorities};

const ALGORITHMS: [(&str, Algorithm); 12] = [
    ("RS256", Algorithm::RS256),
    ("RS384", Algorithm::RS384),
    ("RS512", Algorithm::RS512),
    ("PS256", Algorithm::PS256),
    ("PS384", Algorithm::PS384),
    ("PS512", Algorithm::PS512),
    ("ES256", Algorithm::ES256),
    ("ES384", Algorithm::ES384),
    ("EdDSA", Algorithm::EdDSA),
    ("HS256", Algorithm::HS256),
    ("HS384", Algorithm::HS384),
    ("HS512", Algorithm::HS512),
];

const ALGORITHM: Kind = Kind::Word(&[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "EdDSA", "HS256", "HS384",
    "HS512",
]);

const TEXT: Kind = Kind::Pattern(&[".+"]);

pub(super) static JWT: Table = Table::new(
    "Which JSON Web Tokens are accepted, and where requests carry them.",
    &[
        Setting::new(
            "keys",
            Kind::List(&Kind::Table(&KEY), 1),
            "The keys that verify tokens, if there is no `jwks`.",
        )
        .example(r#"[{ algorithm = "RS256", public_key = "issuer.pem" }]"#),
        Setting::new(
            "jwks",
            TEXT,
            "The issuer's set of keys (JWKS): an `http://` or `https://` URL, or the path of a file.",
        )
        .example(r#""https://issuer.example/jwks.json""#),
        Setting::new(
            "issuer",
            TEXT,
            "What a token must have in `iss`. Without this key any issuer will do.",
        )
        .example(r#""https://issuer.example/""#),
        Setting::new(
            "audience",
            Kind::Either(&[TEXT, Kind::List(&TEXT, 1)]),
            "What a token must have in `aud`; of a list, one is enough. Without this key only tokens that have no \
             `aud` are accepted.",
        )
        .example(r#""https://api.example.com""#),
        Setting::new(
            "leeway",
            DURATION_OR_ZERO,
            "By how much the issuer's clock may differ from this machine's, up to 5m.",
        )
        .example(r#""10s""#)
            .or("\"30s\""),
        Setting::new(
            "consumer_claim",
            TEXT,
            "The claim that names the consumer. That consumer need not be in the file.",
        )
        .example(r#""client_id""#).or("\"sub\""),
        Setting::new(
            "plan_claim",
            TEXT,
            "The claim that names the consumer's plan. It goes before the plan in the file. A token that names a \
             plan which the file does not have gets 401.",
        )
        .example(r#""plan""#),
        Setting::new(
            "header",
            FIELD,
            "The request field that carries the token after the word `Bearer`. In a field other than \
             `Authorization` that word may be left out.",
        )
        .example(r#""X-Token""#).or("\"Authorization\""),
        Setting::new(
            "keep",
            Kind::Boolean,
            "Whether upstreams receive the token too.",
        ).or("false"),
        Setting::new(
            "refresh",
            DURATION,
            "How often the keys of a URL are fetched, from 10s to 1d.",
        )
        .example(r#""1h""#).or("\"5m\""),
        Setting::new(
            "timeout",
            DURATION,
            "How long fetching the keys may take, and how long a request waits for that; from 100ms to 30s.",
        )
        .example(r#""2s""#).or("\"5s\""),
        Setting::new(
            "ca",
            FILE,
            "A PEM file of the certificate authorities to trust with an `https://` URL. Without this key the \
             system's are trusted.",
        )
        .example(r#""/etc/gateway/internal-ca.pem""#),
    ],
)
.with_one_of(&["keys", "jwks"]);

static KEY: Table = Table::new(
    "A key that verifies tokens.",
    &[
        Setting::new(
            "kid",
            TEXT,
            "The name of the key, if tokens name the key that signed them.",
        )
        .example(r#""2026""#),
        Setting::new(
            "algorithm",
            ALGORITHM,
            "The algorithm of the tokens that this key verifies. A token cannot choose another one.",
        )
        .example(r#""ES256""#).required(),
        Setting::new(
            "public_key",
            FILE,
            "A PEM file: the public key, or a certificate that has it.",
        )
        .example(r#""issuer.pem""#),
        Setting::new(
            "secret",
            Kind::Text,
            "The shared secret of HS256, HS384 or HS512, instead of `public_key`; at least 32, 48 or 64 bytes.",
        )
        .example(r#""${file:/run/secrets/jwt}""#),
    ],
)
.with_one_of(&["public_key", "secret"]);

const KEY_EXAMPLE: &str = "{ kid = \"2026\", algorithm = \"RS256\", public_key = \"issuer.pem\" }";

/// Reads `[auth.jwt]`.
pub(super) fn read(item: &Item<'_>, underscores: bool) -> Checked<Jwt> {
    let section = item.section(&JWT, "[auth.jwt]".into(), "[auth.jwt] and its keys below")?;
    let name = |key: &'static str| {
        section.optional(key, |item| item.parse("a name", |text| not_empty(text).map(str::to_owned)))
    };
    let (issuer, consumer_claim, plan_claim) = (name("issuer"), name("consumer_claim"), name("plan_claim"));
    let audience = section.or("audience", Vec::new(), |item| audience(&item));
    let leeway = section.or("leeway", Duration::from_secs(30), |item| {
        within(&item, item.duration_or_zero()?, Duration::ZERO..=Duration::from_secs(300), "0 to 5m")
    });
    let header = section.or("header", header::AUTHORIZATION, |item| {
        item.parse(FIELD_NAME, |text| token_field(text, underscores))
    });
    let keep = section.or("keep", false, |item| item.boolean());
    let keys = keys(&section);
    section.finish();
    let rules = Rules {
        issuer: issuer?,
        audience: audience?,
        // Tokens know seconds only.
        leeway: i64::try_from(leeway?.as_millis().div_ceil(1000)).unwrap_or(0),
        consumer_claim: consumer_claim?.unwrap_or_else(|| "sub".to_owned()),
        plan_claim: plan_claim?,
    };
    Ok(Jwt { keys: keys?, rules, header: header?, keep: keep? })
}

fn not_empty(text: &str) -> Result<&str, Fault> {
    match text {
        "" => Err(Fault::new("an empty text names nothing").hint("write what tokens say, or leave it out")),
        text => Ok(text),
    }
}

/// Reads `audience`.
fn audience(item: &Item<'_>) -> Checked<Vec<String>> {
    let names = item.one_or_list();
    if names.is_empty() {
        let fault = Fault::new("an empty list is nobody");
        return Err(
            item.report(fault.hint("write what `aud` says in tokens that are meant for these routes"))
        );
    }
    names
        .iter()
        .map(|item| item.parse("a text, or a list of them", |text| Ok(not_empty(text)?.to_owned())))
        .collect()
}

fn within(
    item: &Item<'_>,
    value: Duration,
    range: RangeInclusive<Duration>,
    told: &str,
) -> Checked<Duration> {
    match range.contains(&value) {
        true => Ok(value),
        false => Err(item.mismatch(&format!("a duration from {told}"), None)),
    }
}

/// The name of a field that requests may have a token in.
fn token_field(text: &str, underscores: bool) -> Result<HeaderName, Fault> {
    let name = header_name(text)?;
    if name != header::AUTHORIZATION && is_of_the_gateway(&name) {
        return Err(Fault::new(format!("`{name}` means something else to the gateway"))
            .hint("choose another name, such as \"Authorization\""));
    }
    if !underscores && !is_plain(&name) {
        let fault = Fault::new(format!(
            "`{name}` never arrives: names with anything but letters, digits and - are dropped"
        ));
        return Err(fault.hint("write it with -, or set underscores_in_headers = true in [server]"));
    }
    Ok(name)
}

/// Reads `keys` or `jwks`, and how keys are fetched.
fn keys(section: &Section<'_>) -> Checked<JwtKeys> {
    let refresh = section.or("refresh", Duration::from_secs(300), |item| {
        let range = Duration::from_secs(10)..=Duration::from_secs(24 * 60 * 60);
        within(&item, item.duration()?, range, "10s to 1d")
    });
    let timeout = section.or("timeout", Duration::from_secs(5), |item| {
        let range = Duration::from_millis(100)..=Duration::from_secs(30);
        within(&item, item.duration()?, range, "100ms to 30s")
    });
    let ca = section
        .optional("ca", |item| read_authorities(tls::path(&item)?).map_err(|flaw| item.report(flaw.into())));
    let (list, jwks) = (section.get("keys"), section.get("jwks"));
    let place = match (list, jwks) {
        (Some(_), Some(jwks)) => {
            let fault = Fault::new("tokens are verified either by `keys` or by `jwks`");
            return Err(section.sink.report(jwks.key_span(), fault.hint("leave out one of them")));
        }
        (None, None) => {
            let none = |_: Item<'_>| Err(section.sink.reported_later());
            return section.required("jwks", "jwks = \"https://issuer.example/jwks.json\"", none);
        }
        (Some(_), None) => None,
        (None, Some(jwks)) => Some((jwks, jwks.text(JWKS)?)),
    };
    let url = place.filter(|(_, text)| text.contains("://"));
    let Some((item, text)) = url else {
        let hint = "keys of the file are read when it is: leave it out";
        let useless = section.useless(&["refresh", "timeout", "ca"], "without a URL in `jwks`", hint);
        let set = match (list, place) {
            (Some(list), _) => of_list(&list),
            (None, Some((item, text))) => of_file(&item, text),
            (None, None) => Err(section.sink.already_reported()),
        };
        return useless.and(set).map(|set| JwtKeys::Read(Arc::new(set)));
    };
    let url = url_of_keys(text).map_err(|fault| item.report(fault));
    let is_plain = url.as_ref().is_ok_and(|url| url.scheme_str() == Some("http"));
    if is_plain {
        section.useless(&["ca"], "without TLS", "write https:// in the URL, or leave it out")?;
    }
    let authorities = match (ca?, is_plain) {
        (Some(authorities), _) => authorities,
        (None, true) => Authorities::default(),
        (None, false) => system_authorities().map_err(|flaw| item.report(flaw.into()))?,
    };
    Ok(JwtKeys::Shown(Jwks { url: url?, authorities, refresh: refresh?, timeout: timeout? }))
}

const JWKS: &str = "a file such as \"jwks.json\", or a URL such as \"https://issuer.example/jwks.json\"";

/// Parses the URL of a set of keys.
fn url_of_keys(text: &str) -> Result<Uri, Fault> {
    let example = "write a URL such as \"https://issuer.example/jwks.json\"";
    let url: Uri =
        text.parse().map_err(|_| Fault::new(format!("{} is no URL", quoted(text))).hint(example))?;
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(Fault::new("a user and a password in this URL would not be sent").hint(example));
    }
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(host)) if !host.is_empty() => Ok(url),
        _ => Err(Fault::new(format!("{} is not where a server shows keys", quoted(text))).hint(example)),
    }
}

/// Reads `keys`.
fn of_list(list: &Item<'_>) -> Checked<KeySet> {
    let keys = list.values("keys", key).all()?;
    KeySet::new(keys).map_err(|none| {
        let hint = match none {
            NoKeys::SameName => "give each a `kid` of its own, as tokens say it",
            _ => "write one at least",
        };
        list.report_key(Fault::new(none.what()).hint(hint))
    })
}

fn key(item: Item<'_>) -> Checked<Key> {
    let section = item.section(&KEY, "a key".into(), KEY_EXAMPLE)?;
    let id = section.optional("kid", |item| item.parse("a name", |text| not_empty(text).map(str::to_owned)));
    let algorithm = section.required("algorithm", "algorithm = \"RS256\"", |item| item.word(&ALGORITHMS));
    let unusable = |item: &Item<'_>, flaw: UnusableKey| item.report(Fault::new(flaw.what).hint(flaw.remedy));
    let key = match (section.get("public_key"), section.get("secret")) {
        (Some(_), Some(secret)) => {
            let fault = Fault::new("a key is either public or secret");
            Err(section.sink.report(secret.key_span(), fault.hint("leave out `public_key` or `secret`")))
        }
        (Some(item), None) => content(&item, tls::path(&item)?).and_then(|pem| {
            Key::from_pem(id.clone()?, algorithm?, &pem).map_err(|flaw| unusable(&item, flaw))
        }),
        (None, Some(item)) => item.secret().text("a text").and_then(|secret| {
            Key::from_secret(id.clone()?, algorithm?, secret.as_bytes()).map_err(|flaw| unusable(&item, flaw))
        }),
        (None, None) => section
            .required("public_key", "public_key = \"issuer.pem\"", |_| Err(section.sink.reported_later())),
    };
    section.finish();
    key
}

/// Reads a file of keys.
fn of_file(item: &Item<'_>, path: &str) -> Checked<KeySet> {
    let path = Path::new(not_empty(path).map_err(|fault| item.report(fault))?);
    item.note_file(path);
    let json = content(item, path)?;
    let set = KeySet::from_json(&json, Trust::File).map_err(|none| {
        let hint = "a set is { \"keys\": [ … ] }, of RSA keys with 2048 bits or more, EC keys on P-256 or P-384, Ed25519 keys, \
                    or secrets with `alg` that are as long as its hash";
        item.report(Fault::new(none.what()).hint(hint))
    })?;
    if set.has_secrets() {
        item.note_secret(path);
    }
    Ok(set)
}

/// The content of a file of keys.
fn content(item: &Item<'_>, path: &Path) -> Checked<Vec<u8>> {
    const WHERE: &str = "a relative path starts where the gateway runs";
    regular_file::read_at_most(path, MAX_KEYS as u64).map_err(|why| {
        let (why, hint) = match why {
            Unread::Io(error) => (format!("cannot be read: {error}"), WHERE),
            Unread::NotRegular => ("is no regular file".to_owned(), WHERE),
            Unread::Large => ("has more than 256 KiB".to_owned(), "keys take less: is this the right file?"),
        };
        item.report(Fault::new(format!("{path:?} {why}")).hint(hint))
    })
}
