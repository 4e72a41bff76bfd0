//! An issuer of tokens, also of such as no issuer would make.

use std::time::{SystemTime, UNIX_EPOCH};

use ring::hmac;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

/// The name of its key.
pub(crate) const KID: &str = "ed";

/// Base64 for URLs, without padding.
pub(crate) fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let digits = |chunk: &[u8]| {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        let digit = |at: usize| char::from(DIGITS[(bits >> (18 - 6 * at)) as usize & 63]);
        (0..=chunk.len()).map(digit).collect::<String>()
    };
    bytes.chunks(3).map(digits).collect()
}

/// The time, in seconds of Unix time.
#[expect(clippy::disallowed_methods, reason = "tokens go by the wall clock")]
pub(crate) fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()).unwrap()
}

/// What is signed, of texts that are JSON or not.
pub(crate) fn message(header: &str, claims: &str) -> String {
    format!("{}.{}", base64url(header.as_bytes()), base64url(claims.as_bytes()))
}

/// A token with a signature by a secret.
pub(crate) fn with_secret(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = message(header, claims);
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", base64url(signature.as_ref()))
}

/// An issuer that signs with EdDSA.
pub(crate) struct Issuer(Ed25519KeyPair);

impl Issuer {
    /// The issuer whose key comes of this number.
    pub(crate) fn new(seed: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap())
    }

    /// Its key, under this name.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        json!({"kty": "OKP", "crv": "Ed25519", "x": base64url(self.0.public_key().as_ref()), "kid": kid, "use": "sig"})
    }

    /// Its set of keys.
    pub(crate) fn jwks(&self) -> String {
        json!({"keys": [self.jwk(KID)]}).to_string()
    }

    /// A token of these texts, which are signed whatever they are.
    pub(crate) fn signed(&self, header: &str, claims: &str) -> String {
        let message = message(header, claims);
        let signature = self.0.sign(message.as_bytes());
        format!("{message}.{}", base64url(signature.as_ref()))
    }

    /// A token with these claims, and the usual header.
    pub(crate) fn token(&self, claims: &Value) -> String {
        self.named(KID, claims)
    }

    /// The same, signed with the key of this name.
    pub(crate) fn named(&self, kid: &str, claims: &Value) -> String {
        self.signed(&json!({"alg": "EdDSA", "kid": kid, "typ": "JWT"}).to_string(), &claims.to_string())
    }
}

/// What a token of this consumer says which is good.
pub(crate) fn claims(name: &str) -> Value {
    json!({"sub": name, "iss": "https://issuer.example", "aud": "gateway", "exp": now() + 600})
}
