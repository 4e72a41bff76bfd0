//! What a token says, and the rules by which it is believed. Its signature has been verified before.

use std::fmt;
use std::time::Duration;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::{Map, Value};

/// The longest name of a consumer that a token may say, in bytes.
const MAX_NAME: usize = 256;

/// The last second of the year 9999. A time after it is taken for a mistake.
const LAST_TIME: i64 = 253_402_300_799;

/// What a token must say to be believed, and where it names the consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Who must have issued it (`iss`).
    pub issuer: Option<String>,
    /// For whom it must be (`aud`), one of these. If there are none, it may not be for anybody in particular.
    pub audience: Vec<String>,
    /// By how many seconds the issuer's clock may differ.
    pub leeway: i64,
    /// The claim that names the consumer.
    pub consumer_claim: String,
    /// The claim that names its plan.
    pub plan_claim: Option<String>,
}

/// What a token proves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proved {
    /// The name of the consumer: visible characters of ASCII and spaces between them, at most 256 bytes.
    pub name: String,
    /// The name of its plan, if the token says one.
    pub plan: Option<String>,
    /// When the token is valid.
    pub valid: Valid,
}

/// From when to when a token is valid, in seconds of Unix time, the leeway included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Valid {
    from: i64,
    until: i64,
}

impl Valid {
    /// For how long it is valid from this time on.
    pub fn left(self, now: i64) -> Duration {
        Duration::from_secs(u64::try_from(self.until - now).unwrap_or(0))
    }

    /// Whether it is valid at this time, in seconds of Unix time.
    pub fn at(self, now: i64) -> bool {
        self.from <= now && now < self.until
    }
}

/// The members of a JSON object. No two have the same name, or it is not read.
#[derive(Debug)]
pub(super) struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Members, A::Error> {
                let mut members = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if members.insert(name, value).is_some() {
                        return Err(de::Error::custom("a member stands twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

impl Rules {
    /// What a token with these claims proves at this time, in seconds of Unix time.
    ///
    /// # Errors
    /// Why it proves nothing, without anything of the token.
    pub(super) fn believe(&self, claims: &Members, now: i64) -> Result<Proved, &'static str> {
        let claim = |name: &str| claims.0.get(name);
        let expires = claim("exp").ok_or("the token does not say when it expires")?;
        let expires = seconds(expires, f64::floor).ok_or("the token expires at what is no time")?;
        let begins = match claim("nbf") {
            Some(begins) => seconds(begins, f64::ceil).ok_or("the token begins at what is no time")?,
            None => -LAST_TIME,
        };
        let valid = Valid { from: begins - self.leeway, until: expires + self.leeway };
        if now >= valid.until {
            return Err("the token has expired");
        }
        if now < valid.from {
            return Err("the token is not valid yet");
        }
        if let Some(issuer) = &self.issuer
            && claim("iss").and_then(Value::as_str) != Some(issuer)
        {
            return Err("the token is of another issuer");
        }
        if !self.is_for_us(claim("aud")) {
            return Err("the token is for another audience");
        }
        let name = claim(&self.consumer_claim).and_then(Value::as_str);
        let name = name.filter(|name| is_name(name)).ok_or("the token does not name a consumer")?;
        let plan = match self.plan_claim.as_deref().and_then(claim) {
            None => None,
            Some(Value::String(plan)) => Some(plan.clone()),
            Some(_) => return Err("the token does not name a plan where it should"),
        };
        Ok(Proved { name: name.to_owned(), plan, valid })
    }

    /// Whether a token with this `aud` is for one of those whom it may be for (RFC 7519, section 4.1.3).
    fn is_for_us(&self, audience: Option<&Value>) -> bool {
        let is_ours = |name: &str| self.audience.iter().any(|ours| ours == name);
        match audience {
            None => self.audience.is_empty(),
            Some(Value::String(name)) => is_ours(name),
            Some(Value::Array(names)) => {
                names.iter().all(Value::is_string) && names.iter().filter_map(Value::as_str).any(is_ours)
            }
            Some(_) => false,
        }
    }
}

/// A time in a claim (RFC 7519, section 2), in seconds of Unix time; `None` if it is no number, or no time.
fn seconds(value: &Value, round: fn(f64) -> f64) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    let seconds = match (number.as_i64(), number.as_f64()) {
        (Some(seconds), _) => seconds,
        #[expect(clippy::cast_possible_truncation, reason = "it is far smaller than an i64")]
        (None, Some(seconds)) if seconds.abs() <= LAST_TIME as f64 => round(seconds) as i64,
        _ => return None,
    };
    (-LAST_TIME..=LAST_TIME).contains(&seconds).then_some(seconds)
}

/// Whether a text can be the name of a consumer. It goes into header fields and logs as it is, so a space at its end, which servers take
/// away, would make it another one.
fn is_name(text: &str) -> bool {
    let is_visible = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(is_visible) && text.trim_ascii() == text
}
