//! The keys of an issuer.

use std::collections::{HashMap, HashSet};

use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::Jwk;
use ring::digest::{Context, SHA256};
use serde::Deserialize;

use super::Key;

/// The largest set, in bytes of its text.
pub const MAX_KEYS: usize = 256 * 1024;

/// Keys that verify tokens; at least one. No two have the same name and the same algorithm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Key>,
    left_out: usize,
    /// A SHA-256 of all of it.
    fingerprint: [u8; 32],
}

/// Where a set comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// A file of the operator, who may write secrets into it. Two keys of the same name in it are an error.
    File,
    /// A server, which shows the set to everybody. So a secret in it is none, and is left out, as are two keys of the same name.
    Server,
}

/// Why there are no keys in a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoKeys {
    /// It is no JSON object with a list `keys`.
    NoSet,
    /// It has none that can be used.
    NoneUsable,
    /// Two have the same name and the same algorithm.
    SameName,
}

impl NoKeys {
    /// In words.
    pub fn what(self) -> &'static str {
        match self {
            Self::NoSet => "this is no set of keys",
            Self::NoneUsable => "this set has no key that can be used",
            Self::SameName => {
                "two keys have the same `kid` and the same algorithm, so a token does not say which one is meant"
            }
        }
    }
}

/// The keys that a token could be signed with.
pub(super) enum Found<'a> {
    /// This one.
    Key(&'a Key),
    /// None: no key has the name that the token says.
    UnknownName,
    /// None: the key of this name has another algorithm.
    OtherAlgorithm,
    /// The token does not name its key, and several could be meant, or none.
    Unnamed,
}

#[derive(Deserialize)]
struct Set {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// A set of these keys.
    ///
    /// # Errors
    /// When there is none, or two could be meant by a token.
    pub fn new(keys: Vec<Key>) -> Result<Self, NoKeys> {
        let (keys, same) = distinct(keys);
        match (keys.is_empty(), same) {
            (_, 1..) => Err(NoKeys::SameName),
            (true, _) => Err(NoKeys::NoneUsable),
            (false, _) => Ok(Self::of(keys, 0)),
        }
    }

    /// The keys of a JSON Web Key Set (RFC 7517, section 5).
    ///
    /// # Errors
    /// When no key of it can be used. In a file also when two have the same name.
    pub fn from_json(json: &[u8], trust: Trust) -> Result<Self, NoKeys> {
        let set: Set = serde_json::from_slice(json).map_err(|_| NoKeys::NoSet)?;
        let all = set.keys.len();
        let usable = set.keys.into_iter().filter_map(|key| {
            let key = Key::from_jwk(&serde_json::from_value::<Jwk>(key).ok()?).ok()?;
            (trust == Trust::File || !key.is_secret()).then_some(key)
        });
        let (keys, same) = distinct(usable.collect());
        match (keys.is_empty(), same) {
            (_, 1..) if trust == Trust::File => Err(NoKeys::SameName),
            (true, _) => Err(NoKeys::NoneUsable),
            (false, _) => {
                let left_out = all - keys.len();
                Ok(Self::of(keys, left_out))
            }
        }
    }

    fn of(keys: Vec<Key>, left_out: usize) -> Self {
        let mut hash = Context::new(&SHA256);
        keys.iter().for_each(|key| key.note_in(&mut hash));
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        Self { keys, left_out, fingerprint }
    }

    /// What tells it apart from all other sets.
    pub fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// How many keys it has.
    pub fn count(&self) -> usize {
        self.keys.len()
    }

    /// Whether some of them are secrets.
    pub fn has_secrets(&self) -> bool {
        self.keys.iter().any(Key::is_secret)
    }

    /// How many keys of the set that was read are not in it, because they cannot be used.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The key that a token is signed with which says this name and this algorithm.
    ///
    /// A key without a name takes tokens whose name no other key has. A token without a name is taken if one key has its algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Found<'_> {
        let only = |named: Option<&str>| {
            let mut fits = self.keys.iter().filter(|key| key.algorithm() == algorithm);
            match named {
                Some(_) => fits.find(|key| key.id().is_none()),
                None => fits.next().filter(|_| fits.next().is_none()),
            }
        };
        let Some(id) = id else {
            return only(None).map_or(Found::Unnamed, Found::Key);
        };
        let mut named = self.keys.iter().filter(|key| key.id() == Some(id)).peekable();
        match (named.peek().is_some(), named.find(|key| key.algorithm() == algorithm)) {
            (_, Some(key)) => Found::Key(key),
            (true, None) => Found::OtherAlgorithm,
            (false, None) => only(Some(id)).map_or(Found::UnknownName, Found::Key),
        }
    }
}

/// These keys without those of which another one has the name and the algorithm, and how many names those have. A key that stands twice is one.
/// It takes linear time, since a set may have thousands.
fn distinct(keys: Vec<Key>) -> (Vec<Key>, usize) {
    let mut first: HashMap<(Option<&str>, Algorithm), (usize, bool)> = HashMap::with_capacity(keys.len());
    for (at, key) in keys.iter().enumerate() {
        let (before, is_ambiguous) = first.entry((key.id(), key.algorithm())).or_insert((at, false));
        *is_ambiguous |= keys[*before] != *key;
    }
    let same = first.values().filter(|(_, is_ambiguous)| *is_ambiguous).count();
    let apart: HashSet<usize> =
        first.into_values().filter(|(_, is_ambiguous)| !is_ambiguous).map(|(at, _)| at).collect();
    let keys = keys.into_iter().enumerate().filter(|(at, _)| apart.contains(at));
    (keys.map(|(_, key)| key).collect(), same)
}
