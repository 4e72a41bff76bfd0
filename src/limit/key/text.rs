//! A key's values as people write and read them: in overrides, in the paths of the side port, in lists of offenders.

use std::fmt;
use std::net::IpAddr;

use super::{
    Encoded, Fingerprint, GLOBAL, Inputs, Key, KeyPart, MISSING, MissingKey, Secret, TEXT, add_text, reading,
};
use crate::client::ClientId;

/// The longest value that is shown, in characters.
const MAX_SHOWN: usize = 128;

/// Why some texts are no values of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TextError {
    /// The key has so many parts, and there is not one text for each.
    Count(usize),
    /// A text is empty.
    Empty,
    /// A part is a client address, and the text is none.
    NoAddress(String),
    /// All clients share one bucket, and the text is not its name.
    NotGlobal,
}

impl fmt::Display for TextError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Count(1) => f.write_str("the key has one part"),
            Self::Count(parts) => write!(f, "the key has {parts} parts"),
            Self::Empty => f.write_str("a value is empty"),
            Self::NoAddress(text) => write!(f, "{text:?} is no IP address"),
            Self::NotGlobal => f.write_str("there is one bucket for everybody, which is called \"global\""),
        }
    }
}

impl std::error::Error for TextError {}

impl KeyPart {
    /// Its value in a request, in words; `None` if the request has none, or several. A value that may be a credential is shown as a
    /// short keyed hash, unless `plainly`.
    pub fn shown(&self, inputs: &Inputs<'_>, secret: &Secret, plainly: bool) -> Option<String> {
        let value = reading::value_of(self, inputs).ok().flatten()?;
        Some(match self.is_secret() && !plainly {
            true => hash(&value, secret),
            false => shorten(&String::from_utf8_lossy(&value)),
        })
    }
}

impl Key {
    /// The fingerprint of the key where its parts have these values: an address for `client_ip`, `global` for that, and
    /// the value itself for the others.
    ///
    /// # Errors
    /// When the key cannot have these values.
    pub fn fingerprint_of<T: AsRef<str>>(
        &self,
        values: &[T],
        secret: &Secret,
    ) -> Result<Fingerprint, TextError> {
        if values.len() != self.parts.len() {
            return Err(TextError::Count(self.parts.len()));
        }
        let mut encoded = Encoded::new();
        for (part, value) in self.parts.iter().zip(values) {
            match (part, value.as_ref()) {
                (_, "") => return Err(TextError::Empty),
                (KeyPart::ClientIp, text) => self.add_client(&client(text)?, &mut encoded),
                (KeyPart::Global, "global") => encoded.push(GLOBAL),
                (KeyPart::Global, _) => return Err(TextError::NotGlobal),
                (part, text) => {
                    let text = part.normal(text);
                    add_text(TEXT, &reading::canonical(part, text.as_bytes()), &mut encoded);
                }
            }
        }
        Ok(secret.hash(&encoded))
    }

    /// The fingerprint of a key of one part for a request without that part, where the client's address is used instead.
    ///
    /// # Errors
    /// When the key has several parts, or the text is no address, or the key does not use the address instead.
    pub fn fingerprint_of_stand_in(&self, address: &str, secret: &Secret) -> Result<Fingerprint, TextError> {
        let mut encoded = Encoded::new();
        if self.parts.len() > 1 {
            return Err(TextError::Count(self.parts.len()));
        }
        encoded.push(MISSING);
        if self.missing == MissingKey::ClientIp {
            self.add_client(&client(address)?, &mut encoded);
        }
        Ok(secret.hash(&encoded))
    }

    /// The key's values in a request, in words. A value that may be a credential (of a header, a cookie or a query parameter) is
    /// shown as a short keyed hash, unless `plainly`.
    pub fn shown(&self, inputs: &Inputs<'_>, secret: &Secret, plainly: bool) -> Vec<String> {
        self.parts.iter().map(|part| self.show_part(part, inputs, secret, plainly)).collect()
    }

    /// The same of values that were given as text.
    pub fn shown_texts<T: AsRef<str>>(&self, values: &[T], secret: &Secret, plainly: bool) -> Vec<String> {
        let shown = |(part, value): (&KeyPart, &T)| match part.is_secret() && !plainly {
            true => hash(&reading::canonical(part, value.as_ref().as_bytes()), secret),
            false => shorten(value.as_ref()),
        };
        self.parts.iter().zip(values).map(shown).collect()
    }

    fn show_part(&self, part: &KeyPart, inputs: &Inputs<'_>, secret: &Secret, plainly: bool) -> String {
        match (part, part.shown(inputs, secret, plainly)) {
            (KeyPart::ClientIp, _) => self.show_client(inputs.client),
            (KeyPart::Global, _) => "global".to_owned(),
            (_, Some(value)) => value,
            (part, None) if self.missing == MissingKey::Shared => format!("(no {part})"),
            (part, None) => format!("{} (no {part})", self.show_client(inputs.client)),
        }
    }

    fn show_client(&self, client: &ClientId) -> String {
        match client {
            ClientId::Address(address @ IpAddr::V6(_)) if self.ipv6_prefix < 128 => {
                let network = ipnet::IpNet::new(*address, self.ipv6_prefix).map(|network| network.trunc());
                network.map_or_else(|_| address.to_string(), |network| network.to_string())
            }
            client => shorten(&client.to_string()),
        }
    }
}

/// A client, by its address or the address of its IPv6 network.
fn client(text: &str) -> Result<ClientId, TextError> {
    let address = text.split_once('/').map_or(text, |(address, _)| address);
    let address: IpAddr = address.parse().map_err(|_| TextError::NoAddress(text.to_owned()))?;
    Ok(ClientId::Address(address.to_canonical()))
}

/// A short hash of a value under the secret.
fn hash(value: &[u8], secret: &Secret) -> String {
    format!("#{:08x}", secret.hash(value).bits() >> 96)
}

fn shorten(text: &str) -> String {
    if text.chars().count() <= MAX_SHOWN {
        return text.to_owned();
    }
    text.chars().take(MAX_SHOWN).collect::<String>() + "…"
}
