//! `gateway key new`: makes an API key, and prints the key and what the configuration stores of it.

use rand::Rng as _;
use rand::TryRngCore as _;
use rand::rngs::OsRng;

use crate::consumer::KeyHash;

/// What every key begins with, so that tools which look for secrets in texts know it.
const PREFIX: &str = "gwk_";

/// How many characters follow. Each of them has 5 bits, so nobody guesses 200 of them; with the prefix they fit in one block of SHA-256.
const LENGTH: usize = 40;

/// Letters and digits that are not taken for each other (those of Crockford's base32, in lower case).
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A new key, from the operating system's random numbers.
pub fn new_key() -> String {
    let mut random = OsRng.unwrap_err();
    let characters = (0..LENGTH).map(|_| char::from(ALPHABET[random.random_range(0..ALPHABET.len())]));
    PREFIX.chars().chain(characters).collect()
}

/// What is printed of a key.
pub fn told(key: &str) -> String {
    let hash = KeyHash::of(key.as_bytes());
    format!(
        "key     {key}\n        for the consumer, and nobody else: it is kept nowhere\n\
         stored  \"{hash}\"\n        for `keys` of the consumer in the configuration\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_long_and_never_the_same() {
        let (one, other) = (new_key(), new_key());
        assert!(one != other && one.starts_with("gwk_") && one.len() == 44, "{one}");
        assert!(one[4..].bytes().all(|byte| ALPHABET.contains(&byte)), "{one}");
        let told = told(&one);
        let stored = told.split('"').nth(1).unwrap();
        assert_eq!(stored.parse(), Ok(KeyHash::of(one.as_bytes())));
        assert!(told.contains(&one));
    }
}
