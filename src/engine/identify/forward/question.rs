//! A question to the service, and the key by which its answer is known again.

use std::borrow::Cow;
use std::hash::Hasher as _;

use http::{HeaderMap, HeaderName, HeaderValue, Request, Uri};
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use smallvec::SmallVec;

use super::super::proof::Unproven;

/// What the service is told: names and values of fields, each name once.
pub(super) type Telling<'a> = SmallVec<[(&'a HeaderName, Cow<'a, [u8]>); 8]>;

/// By this an answer is known again. It is made of all that the service is told.
pub(super) type Key = [u8; 16];

/// Makes keys of what the service is told, by SipHash-2-4 with 128 bits: without the secret nobody finds two questions with the same key.
pub(super) struct Keys([u8; 16]);

impl Keys {
    /// With a secret that nobody else knows.
    pub(super) fn new() -> Self {
        Self(rand::random())
    }

    /// The key of a question that tells this. Each name and each value has its length before it, so that no two lists of fields make the
    /// same bytes.
    pub(super) fn of(&self, telling: &Telling<'_>) -> Key {
        let mut hasher = SipHasher24::new_with_key(&self.0);
        for (name, value) in telling {
            for part in [name.as_str().as_bytes(), value] {
                hasher.write_usize(part.len());
                hasher.write(part);
            }
        }
        hasher.finish128().as_bytes()
    }
}

/// The question that tells this.
///
/// # Errors
/// When a value is none that a field can have.
pub(super) fn question(url: &Uri, telling: &Telling<'_>) -> Result<Request<()>, Unproven> {
    let mut fields = HeaderMap::with_capacity(telling.len());
    for (name, value) in telling {
        let untold = |_| Unproven::Ambiguous("the target of the request cannot be told in a field");
        fields.insert(*name, HeaderValue::from_bytes(value).map_err(untold)?);
    }
    let mut request = Request::new(());
    request.uri_mut().clone_from(url);
    *request.headers_mut() = fields;
    Ok(request)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn other_fields_have_another_key() {
        let names = ["a", "ab", "c", "cd"].map(HeaderName::from_static);
        let keys = Keys::new();
        let key = |fields: &[(&str, &'static str)]| {
            let field = |(name, value): &(&str, &'static str)| {
                let name = names.iter().find(|known| known == name).unwrap();
                (name, value.as_bytes().into())
            };
            keys.of(&fields.iter().map(field).collect())
        };
        let different = [
            &[][..],
            &[("a", "b")],
            &[("a", "")],
            &[("ab", "")],
            &[("a", "b"), ("c", "d")],
            &[("a", "bcd")],
            &[("ab", "cd")],
            &[("a", "d"), ("c", "b")],
            &[("a", "b"), ("c", "")],
            &[("a", "b"), ("cd", "")],
        ];
        let all: HashSet<_> = different.iter().map(|each| key(each)).collect();
        assert_eq!(all.len(), different.len());
        assert_eq!(key(&[("a", "b")]), key(&[("a", "b")]));
    }
}
