//! A name and a password in `Authorization` (RFC 7617).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};

use super::passwords::Passwords;
use super::proof::{Credentials, Unproven, only_field};
use super::turns::Turn;
use crate::clock::Timestamp;
use crate::config::Basic;
use crate::consumer::{Consumer, Consumers};
use crate::password::PasswordHash;

const SCHEME: &str = "Basic";

/// The answer to a wrong name and to a wrong password.
pub(super) const WRONG: Unproven = Unproven::Wrong("the name or the password is wrong");

/// Name and password of a request, with a colon between them; `None` if it has none. Credentials of another scheme are none.
///
/// # Errors
/// When they are malformed, or there are several fields.
pub(super) fn find(headers: &HeaderMap) -> Result<Option<Credentials<'static>>, Unproven> {
    let value = only_field(headers, &header::AUTHORIZATION, "the request has two fields Authorization")?;
    let Some(encoded) = value.and_then(encoded) else { return Ok(None) };
    let malformed = Unproven::Wrong("Authorization has no name and password in base64");
    let decoded = STANDARD.decode(encoded).map_err(|_| malformed)?;
    let is_plain = !decoded.iter().any(u8::is_ascii_control);
    match split(&decoded).filter(|_| is_plain) {
        Some(_) => Ok(Some(Credentials(decoded.into()))),
        None => Err(malformed),
    }
}

/// Whether the value of an `Authorization` field has credentials of this scheme, well formed or not.
pub(super) fn is_of_scheme(value: &HeaderValue) -> bool {
    encoded(value).is_some()
}

/// What follows the scheme; `None` if it is another one.
fn encoded(value: &HeaderValue) -> Option<&[u8]> {
    let (scheme, rest) = value.as_bytes().split_at_checked(SCHEME.len())?;
    let ends =
        rest.first().is_none_or(|byte| !byte.is_ascii_alphanumeric() && !b"!#$%&'*+-.^_`|~".contains(byte));
    if !ends || !scheme.eq_ignore_ascii_case(SCHEME.as_bytes()) {
        return None;
    }
    // Nothing else than spaces stands between the two (RFC 9110, section 11.4).
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    rest.get(spaces..)
}

fn split(decoded: &[u8]) -> Option<(&str, &[u8])> {
    let colon = memchr::memchr(b':', decoded)?;
    Some((str::from_utf8(&decoded[..colon]).ok()?, &decoded[colon + 1..]))
}

/// What a try needs.
struct Try<'a> {
    name: &'a str,
    password: &'a [u8],
    /// The hash of the user's password; for an unknown user that of another one, so that both take as long.
    hash: &'a PasswordHash,
    is_known: bool,
}

impl<'a> Try<'a> {
    /// `None` if there are no users at all.
    fn new(basic: &'a Basic, passwords: &Passwords, found: &'a Credentials<'_>) -> Option<Self> {
        let (name, password) = split(&found.0)?;
        let known = basic.users.named(name);
        let hash = known.or_else(|| basic.users.some(passwords.number(name)))?;
        Some(Self { name, password, hash, is_known: known.is_some() })
    }

    fn parts(&self) -> [&[u8]; 3] {
        [self.name.as_bytes(), self.hash.text().as_bytes(), self.password]
    }

    /// Whether it is known to be right without making a hash.
    fn is_remembered(&self, passwords: &Passwords, now: Timestamp) -> bool {
        self.is_known && passwords.right.get(&self.parts(), now).is_some()
    }
}

/// Whether verifying this name and password takes long.
pub(super) fn takes_long(
    basic: &Basic,
    passwords: &Passwords,
    found: &Credentials<'_>,
    now: Timestamp,
) -> bool {
    Try::new(basic, passwords, found).is_some_and(|this| !this.is_remembered(passwords, now))
}

/// The consumer that has this name and password. If that takes long, it is the `turn` of the client.
///
/// # Errors
/// When nobody has them, or it cannot be found out now.
pub(super) async fn verify(
    basic: &Basic,
    passwords: &Passwords,
    consumers: &Consumers,
    found: &Credentials<'_>,
    now: Timestamp,
    turn: Option<Arc<Turn>>,
) -> Result<Arc<Consumer>, Unproven> {
    let this = Try::new(basic, passwords, found).ok_or(WRONG)?;
    if !this.is_remembered(passwords, now) {
        if !this.hash.takes(this.password) {
            return Err(WRONG);
        }
        let right = passwords.verifies(this.hash.clone(), this.password.to_vec(), turn).await?;
        if !right || !this.is_known {
            return Err(WRONG);
        }
        if !basic.cache.is_zero() {
            passwords.right.insert(&this.parts(), (), now.after(basic.cache), now);
        }
    }
    Ok(consumers.known_as(this.name, None))
}

/// What a client is told that has no name and password, or wrong ones (RFC 7617, section 2).
pub(super) fn challenge(basic: &Basic) -> String {
    let realm = basic.realm.replace('\\', "\\\\").replace('"', "\\\"");
    format!("{SCHEME} realm=\"{realm}\", charset=\"UTF-8\"")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::password::Users;

    fn found(values: &[&str]) -> Result<Option<String>, Unproven> {
        let field = |value: &&str| (header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        let found = find(&values.iter().map(field).collect());
        found.map(|found| found.map(|found| String::from_utf8_lossy(&found.0).into_owned()))
    }

    #[test]
    fn names_and_passwords_are_found() {
        for (value, decoded) in [
            // RFC 7617, section 2.
            ("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin:open sesame"),
            ("bASIC QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin:open sesame"),
            ("Basic    QWxhZGRpbjpvcGVuIHNlc2FtZQ==", "Aladdin:open sesame"),
            ("Basic YTpiOmM=", "a:b:c"),
            ("Basic YTo=", "a:"),
            // Section 2.1.
            ("Basic dGVzdDoxMjPCow==", "test:123£"),
        ] {
            assert_eq!(found(&[value]), Ok(Some(decoded.to_owned())), "{value}");
        }
        assert_eq!(found(&[]), Ok(None));
        for other in ["Bearer YTpi", "Basicer YTpi", "YTpi", "Basi", "Basic-x YTpi", "Digest username=\"a\""]
        {
            assert_eq!(found(&[other]), Ok(None), "{other}");
        }
    }

    #[test]
    fn what_is_malformed_is_wrong_and_two_fields_are_ambiguous() {
        for value in [
            "Basic",
            "Basic YTpi YTpi",
            "Basic YTpi,",
            "Basic,YTpi",
            "Basic\tYTpi",
            "Basic YTo",
            "Basic YTp=",
            "Basic a:b",
            // No colon; a line break in the name; zero in the password; a name that is no UTF-8.
            "Basic YWI=",
            "Basic YQo6Yg==",
            "Basic YToAYg==",
            "Basic /zpi",
        ] {
            assert!(matches!(found(&[value]), Err(Unproven::Wrong(_))), "{value}");
        }
        for values in [["Basic YTpi", "Basic YTpi"], ["Basic YTpi", "Bearer x"], ["Bearer x", "Basic YTpi"]] {
            assert!(matches!(found(&values), Err(Unproven::Ambiguous(_))), "{values:?}");
        }
    }

    #[test]
    fn a_name_that_nobody_has_takes_as_long_as_one_that_somebody_has() {
        let hash = |text: &str| PasswordHash::parse(text).unwrap();
        let mut users = Users::default();
        users.add("alice", hash("$2y$05$9lOzT9zSJ/znvyxPLf0w2OcnFWj4O9xd/ruOXYsyIQB/vxCT16/Uy"));
        users.add("bob", hash("$2b$04$5K5Ej8vybqQ88cufPwEZKeVE5mqaT0PUsOdq.WxDMVRg.xl8PhCvm"));
        let basic = |users| Basic {
            users: Arc::new(users),
            realm: String::new(),
            keep: false,
            cache: Duration::ZERO,
        };
        let (nobody, basic) = (basic(Users::default()), basic(users));
        let passwords = Passwords::new();
        let credentials = |text: &'static str| Credentials(text.as_bytes().into());
        for name in ["mallory:x", "eve:x", "alic:x", ":x"] {
            let found = credentials(name);
            let [first, second] = [(), ()].map(|()| Try::new(&basic, &passwords, &found).unwrap());
            assert!(!first.is_known && first.hash == second.hash, "{name}: the same hash each time");
            assert!(takes_long(&basic, &passwords, &found, Timestamp::default()));
        }
        let alice = credentials("alice:x");
        assert!(Try::new(&basic, &passwords, &alice).is_some_and(|this| this.is_known));
        assert!(
            Try::new(&nobody, &passwords, &alice).is_none(),
            "where nobody is known there is no difference"
        );
    }
}
