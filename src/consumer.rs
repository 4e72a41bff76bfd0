//! Consumers: the known callers, each with the plan that says what it may have, and the credentials by which it is told.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderValue;
use ring::digest::{SHA256, digest};

/// The SHA-256 of an API key: the key itself is kept nowhere.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

/// A text is not the hash of an API key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKeyHash;

/// A known caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consumer {
    name: String,
    plan: Option<usize>,
    field: HeaderValue,
}

/// All known callers.
#[derive(Clone, Debug, Default)]
pub struct Consumers {
    list: Vec<Arc<Consumer>>,
    by_name: HashMap<String, usize>,
    by_key: HashMap<KeyHash, usize>,
    by_certificate: HashMap<String, usize>,
}

/// Why a consumer cannot be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Another one has its name.
    Name,
    /// It has the key with this index in its list, and so has another one, or itself.
    Key(usize),
}

/// The longest name of a consumer, in bytes.
const MAX_NAME: usize = 128;

/// What the text of a hash begins with: the algorithm.
const ALGORITHM: &str = "sha256:";

impl KeyHash {
    /// The hash with these bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The hash of this key.
    pub fn of(key: &[u8]) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, key).as_ref());
        Self(bytes)
    }
}

impl FromStr for KeyHash {
    type Err = BadKeyHash;

    /// Reads `sha256:` and 64 hexadecimal digits.
    fn from_str(text: &str) -> Result<Self, BadKeyHash> {
        let digits = text.strip_prefix(ALGORITHM).ok_or(BadKeyHash)?.as_bytes();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return Err(BadKeyHash);
        }
        let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let (high, low) = (digit(pair[0]).ok_or(BadKeyHash)?, digit(pair[1]).ok_or(BadKeyHash)?);
            *byte = high << 4 | low;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for KeyHash {
    /// As in the configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ALGORITHM)?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyHash {
    /// Nothing of it: whoever reads a log has no use for it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHash(***)")
    }
}

impl Consumer {
    /// Whether a text may be the name of a consumer, which goes into header fields and the paths of the side port: 1 to 128 letters,
    /// digits, and `_` `.` `@` `:` `+` `/` `|` `=` `~` `-`.
    pub fn is_name(text: &str) -> bool {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_.@:+/|=~-".contains(&byte);
        (1..=MAX_NAME).contains(&text.len()) && text.bytes().all(fits)
    }

    /// A consumer of this name, with the plan of this index. The name has no character that a field value cannot have.
    pub fn new(name: String, plan: Option<usize>) -> Self {
        let field = HeaderValue::try_from(&name).unwrap_or_else(|_| HeaderValue::from_static(""));
        Self { name, plan, field }
    }

    /// Its name, unique.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its name, as the value of a field.
    pub fn field(&self) -> &HeaderValue {
        &self.field
    }

    /// The index of its plan.
    pub fn plan(&self) -> Option<usize> {
        self.plan
    }
}

impl Consumers {
    /// Adds a consumer with these keys.
    ///
    /// # Errors
    /// When another one has its name or a key of it. It is not added then.
    pub fn add(&mut self, consumer: Consumer, keys: &[KeyHash]) -> Result<(), Taken> {
        if self.by_name.contains_key(&consumer.name) {
            return Err(Taken::Name);
        }
        let index = self.list.len();
        for (at, key) in keys.iter().enumerate() {
            if self.by_key.contains_key(key) {
                for key in &keys[..at] {
                    self.by_key.remove(key);
                }
                return Err(Taken::Key(at));
            }
            self.by_key.insert(*key, index);
        }
        self.by_name.insert(consumer.name.clone(), index);
        self.list.push(Arc::new(consumer));
        Ok(())
    }

    /// Notes that certificates with these names are this consumer's.
    ///
    /// # Errors
    /// The index of a name that another one has, or that stands twice.
    pub fn add_certificates(&mut self, consumer: &str, names: Vec<String>) -> Result<(), usize> {
        let Some(&consumer) = self.by_name.get(consumer) else { return Ok(()) };
        for (index, name) in names.into_iter().enumerate() {
            if self.by_certificate.insert(name, consumer).is_some() {
                return Err(index);
            }
        }
        Ok(())
    }

    /// The consumer whose certificates have this name, written as `client_certificate` writes it.
    pub fn with_certificate(&self, name: &str) -> Option<&Arc<Consumer>> {
        self.by_certificate.get(name).map(|index| &self.list[*index])
    }

    /// Whether some consumer has a certificate.
    pub fn have_certificates(&self) -> bool {
        !self.by_certificate.is_empty()
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Consumer>> {
        self.list.iter()
    }

    /// The consumer of this name.
    pub fn named(&self, name: &str) -> Option<&Arc<Consumer>> {
        self.by_name.get(name).map(|index| &self.list[*index])
    }

    /// The consumer of this name, as somebody else tells it: an issuer of tokens, say. It need not be one of these. The plan that is told comes
    /// before the one that it has here. The name has no character that a field value cannot have.
    pub fn known_as(&self, name: &str, plan: Option<usize>) -> Arc<Consumer> {
        match self.named(name).filter(|known| plan.is_none() || known.plan == plan) {
            Some(known) => known.clone(),
            None => Arc::new(Consumer::new(name.to_owned(), plan)),
        }
    }

    /// The consumer that has the key with this hash. The time that it takes says nothing of a key: what is compared is a hash, and nobody
    /// knows which key has a hash that is close to another one.
    pub fn with_key(&self, key: &KeyHash) -> Option<&Arc<Consumer>> {
        self.by_key.get(key).map(|index| &self.list[*index])
    }

    /// How many consumers have each plan, of so many plans.
    pub fn of_plans(&self, plans: usize) -> Vec<usize> {
        let mut counts = vec![0; plans];
        for plan in self.list.iter().filter_map(|consumer| consumer.plan) {
            if let Some(count) = counts.get_mut(plan) {
                *count += 1;
            }
        }
        counts
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_has_one_text() {
        let text = format!("sha256:{}", "0f".repeat(32));
        let hash: KeyHash = text.parse().unwrap();
        assert_eq!((hash, hash.to_string()), (KeyHash::new([15; 32]), text.clone()));
        assert_eq!(text.to_uppercase().replace("SHA256", "sha256").parse(), Ok(hash));
        for wrong in ["", "sha256:", &text[7..], &text[..70], &format!("{text}0"), &text.replace('f', "g")] {
            assert_eq!(wrong.parse::<KeyHash>(), Err(BadKeyHash), "{wrong}");
        }
        assert_eq!(format!("{hash:?}"), "KeyHash(***)");
        // FIPS 180-2, appendix B.1.
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(KeyHash::of(b"abc").to_string(), abc);
    }

    #[test]
    fn names_and_keys_are_of_one_consumer() {
        let mut consumers = Consumers::default();
        let key = |byte| KeyHash::new([byte; 32]);
        let consumer = |name: &str, plan| Consumer::new(name.to_owned(), plan);
        assert_eq!(consumers.add(consumer("a", Some(1)), &[key(1), key(2)]), Ok(()));
        assert_eq!(consumers.add(consumer("a", None), &[]), Err(Taken::Name));
        assert_eq!(consumers.add(consumer("b", None), &[key(3), key(2)]), Err(Taken::Key(1)));
        assert_eq!(consumers.add(consumer("b", None), &[key(3), key(3)]), Err(Taken::Key(1)));
        assert_eq!((consumers.with_key(&key(3)), consumers.named("b")), (None, None));
        assert_eq!(consumers.add(consumer("b", None), &[key(3)]), Ok(()));
        assert_eq!(consumers.with_key(&key(3)).unwrap().name(), "b");
        assert_eq!(consumers.with_key(&key(2)).unwrap().plan(), Some(1));
        assert_eq!((consumers.named("a").unwrap().name(), consumers.len()), ("a", 2));
    }
}
