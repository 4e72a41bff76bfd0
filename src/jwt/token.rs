//! Verifies a token.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Header, decode, decode_header};

use super::claims::Members;
use super::key_set::Found;
use super::{KeySet, Proved, Rules};

/// The longest token, in bytes. Longer ones are refused before they are read.
pub const MAX_TOKEN: usize = 8 * 1024;

/// Why a token proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// No key has the name that it says. The issuer may have a new one.
    UnknownKey,
    /// It is wrong, as this says without anything of the token.
    Wrong(&'static str),
}

/// What a token proves at this time, in seconds of Unix time.
///
/// # Errors
/// Why it proves nothing.
pub fn verify(token: &[u8], keys: &KeySet, rules: &Rules, now: i64) -> Result<Proved, Refused> {
    if token.len() > MAX_TOKEN {
        return Err(Refused::Wrong("the token is too long"));
    }
    let header = decode_header(token).map_err(|_| Refused::Wrong(UNREADABLE))?;
    understood(&header).map_err(Refused::Wrong)?;
    let key = match keys.find(header.kid.as_deref(), header.alg) {
        Found::Key(key) => key,
        Found::UnknownName => return Err(Refused::UnknownKey),
        Found::OtherAlgorithm => {
            return Err(Refused::Wrong("the token has another algorithm than its key"));
        }
        Found::Unnamed => return Err(Refused::Wrong("the token does not say which key it is signed with")),
    };
    let (key, validation) = key.decoding();
    let claims = decode::<Members>(token, key, validation).map_err(|error| {
        Refused::Wrong(match error.kind() {
            ErrorKind::InvalidSignature => "the signature of the token is wrong",
            _ => UNREADABLE,
        })
    })?;
    rules.believe(&claims.claims, now).map_err(Refused::Wrong)
}

const UNREADABLE: &str = "this is no token that is understood here";

/// Refuses a token whose header says that something else is in it than claims, or that it must be read in a way that is not known here.
fn understood(header: &Header) -> Result<(), &'static str> {
    if header.crit.is_some() {
        return Err("the token asks for extensions that are not known here");
    }
    if header.enc.is_some() || header.zip.is_some() {
        return Err("the token is encrypted or compressed");
    }
    if header.cty.as_deref().is_some_and(|kind| is_type(kind, "jwt")) {
        return Err("the token has another token in it");
    }
    // Issuers sign other things with the same keys, such as the end of a session (RFC 8725, section 3.11).
    match header.typ.as_deref().is_none_or(|kind| is_type(kind, "jwt") || is_type(kind, "at+jwt")) {
        true => Ok(()),
        false => Err("the token is of another type"),
    }
}

/// Whether a media type is this one, written with or without `application/` (RFC 7515, section 4.1.9).
fn is_type(written: &str, name: &str) -> bool {
    let written = written.to_ascii_lowercase();
    written.strip_prefix("application/").unwrap_or(&written) == name
}
