//! A cookie by which a client comes back to the server that answered it.
//!
//! Its value is a keyed hash of the server: HMAC-SHA-256 under a secret of the configuration, of which 128 bits are kept. All gateways with the
//! same secret make the same value for the same server. A client learns no address from it, also not by trying addresses, and can name no
//! server but by a value that a gateway has made.

use std::fmt;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};
use ring::hmac;

/// How an upstream keeps clients at their servers.
#[derive(Clone, PartialEq, Eq)]
pub struct Sticky {
    /// The name of the cookie.
    pub cookie: String,
    /// How long a browser keeps it; `None` is until it is closed.
    pub max_age: Option<Duration>,
    /// The secret under which servers are hashed.
    pub secret: String,
}

/// The value of the cookie for a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stickiness(u128);

impl fmt::Debug for Sticky {
    /// Without the secret, which must not be logged.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Sticky");
        shown.field("cookie", &self.cookie).field("max_age", &self.max_age).field("secret", &"***").finish()
    }
}

impl Sticky {
    /// The value for a server of an upstream. `server` is the same text in every gateway.
    pub fn value(&self, upstream: &str, server: &str) -> Stickiness {
        let key = hmac::Key::new(hmac::HMAC_SHA256, self.secret.as_bytes());
        let mut context = hmac::Context::with_key(&key);
        // The length keeps the two apart.
        context.update(&(upstream.len() as u64).to_le_bytes());
        context.update(upstream.as_bytes());
        context.update(server.as_bytes());
        let tag = context.sign();
        Stickiness(tag.as_ref().iter().take(16).fold(0, |all, byte| all << 8 | u128::from(*byte)))
    }

    /// The server that a request with these fields asks for; `None` if it has no such cookie, several, or one that no gateway has made.
    pub fn asked(&self, headers: &HeaderMap) -> Option<Stickiness> {
        let mut values = pairs(headers).filter_map(|pair| self.value_in(pair));
        let value = values.next()?;
        if values.next().is_some() {
            return None;
        }
        let digits = str::from_utf8(value).ok().filter(|text| text.len() == 32)?;
        digits
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
            .then(|| u128::from_str_radix(digits, 16).ok().map(Stickiness))?
    }

    /// The field of cookies without this one, for the server: `None` if it is not in these fields, `Some(None)` if no other cookie is there.
    pub fn without(&self, headers: &HeaderMap) -> Option<Option<HeaderValue>> {
        if !pairs(headers).any(|pair| self.value_in(pair).is_some()) {
            return None;
        }
        let others: Vec<_> =
            pairs(headers).filter(|pair| self.value_in(pair).is_none() && !pair.is_empty()).collect();
        let joined = others.join(&b"; "[..]);
        // It is made of field values, so it is one.
        Some(HeaderValue::from_bytes(&joined).ok().filter(|value| !value.is_empty()))
    }

    /// The field that gives a client the cookie; `secure` if it must come back by HTTPS alone.
    pub fn set_cookie(&self, value: Stickiness, secure: bool) -> Option<HeaderValue> {
        let max_age =
            self.max_age.map_or_else(String::new, |age| format!("; Max-Age={}", age.as_secs().max(1)));
        let Self { cookie, .. } = self;
        // Browsers take a cookie with such a name in no other way (RFC 6265bis, section 4.1.3).
        let is_named_so = ["__Host-", "__Secure-"]
            .iter()
            .any(|prefix| cookie.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix)));
        let secure = if secure || is_named_so { "; Secure" } else { "" };
        // The name of a cookie has no character that a field value cannot have.
        HeaderValue::try_from(format!("{cookie}={value}; Path=/{max_age}; HttpOnly; SameSite=Lax{secure}"))
            .ok()
    }

    /// The value of this cookie, if it is the one in a pair.
    fn value_in<'a>(&self, pair: &'a [u8]) -> Option<&'a [u8]> {
        let (name, value) = pair.split_at(memchr::memchr(b'=', pair)?);
        (name.trim_ascii() == self.cookie.as_bytes()).then(|| value[1..].trim_ascii())
    }
}

impl fmt::Display for Stickiness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// The pairs of all fields of cookies (RFC 6265, section 4.2.1).
fn pairs(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let fields = headers.get_all(header::COOKIE).into_iter();
    fields.flat_map(|field| field.as_bytes().split(|&byte| byte == b';')).map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sticky() -> Sticky {
        let secret = "0123456789abcdef".to_owned();
        Sticky { cookie: "gw".to_owned(), max_age: Some(Duration::from_secs(3600)), secret }
    }

    fn fields(cookies: &[&str]) -> HeaderMap {
        cookies.iter().map(|cookie| (header::COOKIE, cookie.parse().unwrap())).collect()
    }

    #[test]
    fn a_value_belongs_to_one_server_under_one_secret() {
        let value = sticky().value("u", "10.0.0.1:80 10.0.0.1:80");
        // The same in every gateway and the next version: another value would move every client.
        assert_eq!(value.to_string(), "e2931b4d6d8e0b8c4a0e5e565a80b11a");
        let other = Sticky { secret: "another secret...".to_owned(), ..sticky() };
        for different in [
            sticky().value("u", "10.0.0.2:80 10.0.0.2:80"),
            sticky().value("u1", "0.0.0.1:80 10.0.0.1:80"),
            other.value("u", "10.0.0.1:80 10.0.0.1:80"),
        ] {
            assert_ne!(different, value);
        }
        assert_eq!(sticky().asked(&fields(&[&format!("a=b; gw={value}")])), Some(value));
        assert!(!format!("{:?}", sticky()).contains("0123456789abcdef"));
    }

    #[test]
    fn a_doubled_or_malformed_cookie_is_none() {
        let value = sticky().value("u", "s").to_string();
        let upper = value.to_uppercase();
        for cookies in [
            &[][..],
            &["a=b"],
            &["gw="],
            &["gw"],
            &["gw=+1"],
            &["gw=00000000000000000000000000000000f"],
            &["gw=+0000000000000000000000000000000"],
            &[&format!("GW={value}")],
            &[&format!("gw={}", &value[1..])],
            &[&format!("gw=\"{value}\"")],
            &[&format!("gw={value}; gw={value}")],
            &[&format!("gw={value}"), "a=b; gw=x"],
        ] {
            assert_eq!(sticky().asked(&fields(cookies)), None, "{cookies:?}");
        }
        assert_ne!(upper, value);
        assert_eq!(sticky().asked(&fields(&[&format!("gw={upper}")])), None);
    }

    #[test]
    fn the_server_gets_the_other_cookies() {
        for (cookies, left) in [
            (&["a=b"][..], None),
            (&["agw=1; gwa=2"], None),
            (&["gw=1"], Some(None)),
            (&["gw=1;", "gw=2"], Some(None)),
            (&["a=b; gw=1; c=\"d e\""], Some(Some("a=b; c=\"d e\""))),
            (&["gw=1", "a=b", " gw =2; c"], Some(Some("a=b; c"))),
        ] {
            let without = sticky().without(&fields(cookies));
            let without = without.map(|field| field.map(|value| value.to_str().unwrap().to_owned()));
            assert_eq!(without, left.map(|left| left.map(str::to_owned)), "{cookies:?}");
        }
    }

    #[test]
    fn a_browser_is_told_what_the_cookie_is_for() {
        let value = sticky().value("u", "s");
        let field =
            |sticky: Sticky, secure| sticky.set_cookie(value, secure).unwrap().to_str().unwrap().to_owned();
        assert_eq!(
            field(sticky(), false),
            format!("gw={value}; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax")
        );
        let until_closed = Sticky { max_age: None, ..sticky() };
        let always = "Path=/; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(field(until_closed.clone(), true), format!("gw={value}; {always}"));
        let named = Sticky { cookie: "__Host-gw".to_owned(), ..until_closed };
        assert_eq!(field(named, false), format!("__Host-gw={value}; {always}"));
    }
}
