//! A key that verifies tokens. It has one algorithm, whatever a token says of its own.

use std::fmt;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, AlgorithmFamily, DecodingKey, DecodingKeyKind, Validation};
use ring::digest::{Context, SHA256};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, SubjectPublicKeyInfoDer};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::{FromDer as _, X509Certificate};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::provider;

/// The smallest and the largest RSA keys, in bits.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// A key that verifies tokens.
#[derive(Clone)]
pub struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: DecodingKey,
    /// A SHA-256 of the key, by which keys are told apart.
    fingerprint: [u8; 32],
    validation: Validation,
}

/// Why a key cannot be used, in words that say nothing of a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnusableKey {
    /// What is wrong.
    pub what: &'static str,
    /// What would be right.
    pub remedy: &'static str,
}

const fn unusable(what: &'static str, remedy: &'static str) -> UnusableKey {
    UnusableKey { what, remedy }
}

const OTHER_ALGORITHM: UnusableKey = unusable(
    "this key is not of its algorithm",
    "RS… and PS… have RSA keys, ES256 has one on P-256, ES384 one on P-384, EdDSA one for Ed25519",
);
const NO_PUBLIC_KEY: UnusableKey = unusable(
    "this file has no public key",
    "it has a PEM block that begins with -----BEGIN PUBLIC KEY----- or -----BEGIN CERTIFICATE-----",
);
const PRIVATE_KEY: UnusableKey = unusable(
    "this file has a private key, which only the issuer should have",
    "name a file with the public key: openssl pkey -in FILE -pubout",
);
const RSA_SIZE: UnusableKey = unusable(
    "an RSA key of this size is not used",
    "it has 2048 to 8192 bits, and an odd exponent from 3 on",
);
const SHORT_SECRET: UnusableKey = unusable(
    "this secret is shorter than the hash of its algorithm",
    "it has at least 32 bytes for HS256, 48 for HS384 and 64 for HS512: take what `openssl rand -hex 32` prints",
);
const NO_SIGNATURES: UnusableKey =
    unusable("this key is not for verifying signatures", "it has the `use` \"sig\", or none");
const NO_ALGORITHM: UnusableKey = unusable(
    "no algorithm is known for this key",
    "its `kty` is RSA, EC with P-256 or P-384, OKP with Ed25519, or oct",
);

impl Key {
    /// The key of a secret that both sides know. It takes tokens that name it, or all if it has no name.
    ///
    /// # Errors
    /// When it is shorter than the algorithm's hash (RFC 7518, section 3.2), or the algorithm has no secrets.
    pub fn from_secret(id: Option<String>, algorithm: Algorithm, secret: &[u8]) -> Result<Self, UnusableKey> {
        let least = match algorithm {
            Algorithm::HS256 => 32,
            Algorithm::HS384 => 48,
            Algorithm::HS512 => 64,
            _ => return Err(unusable("this algorithm has public keys", "write `public_key`, or HS256")),
        };
        match secret.len() >= least {
            true => Ok(Self::new(id, algorithm, DecodingKey::from_secret(secret))),
            false => Err(SHORT_SECRET),
        }
    }

    /// The public key in a PEM text: a block `PUBLIC KEY` (RFC 5280, a `SubjectPublicKeyInfo`), or the first certificate.
    ///
    /// # Errors
    /// When there is none, or one that is not of this algorithm.
    pub fn from_pem(id: Option<String>, algorithm: Algorithm, pem: &[u8]) -> Result<Self, UnusableKey> {
        if let Ok(info) = SubjectPublicKeyInfoDer::from_pem_slice(pem) {
            let (_, info) = SubjectPublicKeyInfo::from_der(&info).map_err(|_| NO_PUBLIC_KEY)?;
            return Self::from_public_key(id, algorithm, &info);
        }
        if let Ok(certificate) = CertificateDer::from_pem_slice(pem) {
            let (_, certificate) = X509Certificate::from_der(&certificate).map_err(|_| NO_PUBLIC_KEY)?;
            return Self::from_public_key(id, algorithm, certificate.public_key());
        }
        match memchr::memmem::find(pem, b"PRIVATE KEY-----") {
            Some(_) => Err(PRIVATE_KEY),
            None => Err(NO_PUBLIC_KEY),
        }
    }

    fn from_public_key(
        id: Option<String>,
        algorithm: Algorithm,
        info: &SubjectPublicKeyInfo<'_>,
    ) -> Result<Self, UnusableKey> {
        let kind = &info.algorithm.algorithm;
        let curve = || info.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        let bytes = &*info.subject_public_key.data;
        let key = match algorithm {
            Algorithm::ES256 if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve() == Some(OID_EC_P256) => {
                DecodingKey::from_ec_der(bytes)
            }
            Algorithm::ES384 if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY && curve() == Some(OID_NIST_EC_P384) => {
                DecodingKey::from_ec_der(bytes)
            }
            Algorithm::EdDSA if *kind == OID_SIG_ED25519 => DecodingKey::from_ed_der(bytes),
            _ if algorithm.family() == AlgorithmFamily::Rsa && *kind == OID_PKCS1_RSAENCRYPTION => match info
                .parsed()
            {
                Ok(PublicKey::RSA(rsa)) => DecodingKey::from_rsa_raw_components(rsa.modulus, rsa.exponent),
                _ => return Err(NO_PUBLIC_KEY),
            },
            _ => return Err(OTHER_ALGORITHM),
        };
        Self::checked(id, algorithm, key)
    }

    /// A key of a set (RFC 7517). One that does not say its algorithm has that which goes with it: RS256, ES256, ES384 or EdDSA.
    ///
    /// # Errors
    /// When it is for something else, or no algorithm here can be used with it.
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, UnusableKey> {
        let for_something_else = match (&jwk.common.public_key_use, &jwk.common.key_operations) {
            (Some(usage), _) if *usage != PublicKeyUse::Signature => true,
            (_, Some(operations)) => !operations.contains(&KeyOperations::Verify),
            _ => false,
        };
        if for_something_else {
            return Err(NO_SIGNATURES);
        }
        let said = match jwk.common.key_algorithm.map(Algorithm::try_from) {
            Some(Err(_)) => return Err(NO_ALGORITHM),
            Some(Ok(algorithm)) => Some(algorithm),
            None => None,
        };
        let algorithm = match (&jwk.algorithm, said) {
            (AlgorithmParameters::RSA(_), None) => Algorithm::RS256,
            (AlgorithmParameters::RSA(_), Some(said)) if said.family() == AlgorithmFamily::Rsa => said,
            (AlgorithmParameters::EllipticCurve(key), said) => {
                let of_curve = match key.curve {
                    EllipticCurve::P256 => Algorithm::ES256,
                    EllipticCurve::P384 => Algorithm::ES384,
                    _ => return Err(NO_ALGORITHM),
                };
                said.is_none_or(|said| said == of_curve).then_some(of_curve).ok_or(OTHER_ALGORITHM)?
            }
            (AlgorithmParameters::OctetKeyPair(key), None | Some(Algorithm::EdDSA))
                if key.curve == EllipticCurve::Ed25519 =>
            {
                Algorithm::EdDSA
            }
            (AlgorithmParameters::OctetKey(_), Some(said)) if said.family() == AlgorithmFamily::Hmac => said,
            (AlgorithmParameters::Other(_) | AlgorithmParameters::OctetKey(_), None) => {
                return Err(NO_ALGORITHM);
            }
            _ => return Err(OTHER_ALGORITHM),
        };
        let key = DecodingKey::from_jwk(jwk)
            .map_err(|_| unusable("this key is damaged", "its numbers are in base64url without padding"))?;
        let id = jwk.common.key_id.clone();
        match key.kind() {
            DecodingKeyKind::SecretOrDer(secret) if algorithm.family() == AlgorithmFamily::Hmac => {
                Self::from_secret(id, algorithm, secret)
            }
            _ => Self::checked(id, algorithm, key),
        }
    }

    /// A public key that has the length that its algorithm asks for.
    fn checked(id: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Result<Self, UnusableKey> {
        let length = match key.kind() {
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                let (n, e) = (without_zeros(n), without_zeros(e));
                let is_odd = e.last().is_some_and(|last| last % 2 == 1);
                // `ring` takes exponents of up to 33 bits.
                if !RSA_BITS.contains(&bits(n)) || !is_odd || e == [1] || e.len() > 5 {
                    return Err(RSA_SIZE);
                }
                return Ok(Self::new(id, algorithm, DecodingKey::from_rsa_raw_components(n, e)));
            }
            DecodingKeyKind::SecretOrDer(bytes) => bytes.len(),
        };
        let expected = match algorithm {
            Algorithm::ES256 => 65,
            Algorithm::ES384 => 97,
            _ => 32,
        };
        match length == expected {
            true => Ok(Self::new(id, algorithm, key)),
            false => {
                Err(unusable("this key is damaged", "a point is written uncompressed, with both coordinates"))
            }
        }
    }

    fn new(id: Option<String>, algorithm: Algorithm, key: DecodingKey) -> Self {
        provider::install();
        let mut hash = Context::new(&SHA256);
        match key.kind() {
            DecodingKeyKind::SecretOrDer(bytes) => hash.update(bytes),
            DecodingKeyKind::RsaModulusExponent { n, e } => {
                [n, e].into_iter().for_each(|part| hash.update(part));
            }
        }
        let mut fingerprint = [0; 32];
        fingerprint.copy_from_slice(hash.finish().as_ref());
        // Claims are checked in `claims`, against the caller's clock.
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf, validation.validate_aud) = (false, false, false);
        Self { id, algorithm, key, fingerprint, validation }
    }

    /// Its name, by which tokens say that they are signed with it.
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// The algorithm of the tokens that it verifies.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Whether it is a secret: whoever knows it can sign too.
    pub fn is_secret(&self) -> bool {
        self.algorithm.family() == AlgorithmFamily::Hmac
    }

    /// Has a hash depend on its name, its algorithm and itself.
    pub(super) fn note_in(&self, hash: &mut Context) {
        let id = self.id.as_deref().unwrap_or_default().as_bytes();
        hash.update(&[u8::from(self.id.is_some())]);
        hash.update(&(id.len() as u64).to_le_bytes());
        hash.update(id);
        hash.update(format!("{:?}", self.algorithm).as_bytes());
        hash.update(&self.fingerprint);
    }

    /// The key, as `jsonwebtoken` takes it.
    pub(super) fn decoding(&self) -> (&DecodingKey, &Validation) {
        (&self.key, &self.validation)
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let essence = |key: &Self| (key.algorithm, key.fingerprint);
        self.id == other.id && essence(self) == essence(other)
    }
}

impl Eq for Key {}

impl fmt::Debug for Key {
    /// Without the key, which may be a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// A number without zeros before it.
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|&&byte| byte == 0).count();
    &number[zeros..]
}

/// How many bits a number without zeros before it has.
fn bits(number: &[u8]) -> usize {
    let unused = number.first().map_or(0, |first| first.leading_zeros());
    (8 * number.len()).saturating_sub(unused as usize)
}
