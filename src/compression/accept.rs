//! The content codings, and `Accept-Encoding` (RFC 9110, section 12.5.3).

use http::{HeaderMap, header};

/// A content coding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Coding {
    /// RFC 8878.
    Zstd,
    /// RFC 7932.
    Brotli,
    /// RFC 1952.
    Gzip,
}

impl Coding {
    /// All of them, by what they usually save.
    pub const ALL: [Self; 3] = [Self::Zstd, Self::Brotli, Self::Gzip];

    /// Its name in `Content-Encoding`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Brotli => "br",
            Self::Gzip => "gzip",
        }
    }
}

/// A weight in thousandths.
type Weight = u16;

/// What a client makes of codings.
#[derive(Debug, Default)]
struct Preferences {
    /// In the order of [`Coding::ALL`].
    codings: [Option<Weight>; 3],
    identity: Option<Weight>,
    others: Option<Weight>,
}

/// The coding that the client likes best; among equals, the first that is offered. `None` when it takes none of them,
/// likes the content as it is better, or says nothing.
pub(super) fn best(request: &HeaderMap, offered: &[Coding]) -> Option<Coding> {
    let mut preferences = Preferences::default();
    for value in request.get_all(header::ACCEPT_ENCODING) {
        value.as_bytes().split(|&byte| byte == b',').for_each(|entry| preferences.note(entry.trim_ascii()));
    }
    let mut best: Option<(Coding, Weight)> = None;
    for &coding in offered {
        let weight = preferences.codings[coding as usize].or(preferences.others).unwrap_or(0);
        if weight > best.map_or(0, |(_, weight)| weight) {
            best = Some((coding, weight));
        }
    }
    let (coding, weight) = best?;
    (preferences.identity.unwrap_or(0) <= weight).then_some(coding)
}

impl Preferences {
    /// Takes note of `gzip` or `gzip;q=0.5`. What is malformed says nothing.
    fn note(&mut self, entry: &[u8]) {
        let mut parts = entry.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
        let name = parts.next().unwrap_or_default();
        let weight = match parts.next() {
            None => Some(1000),
            Some(parameter) => weight(parameter),
        };
        let (Some(weight), None) = (weight, parts.next()) else { return };
        let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
        let noted = match Coding::ALL.into_iter().find(|coding| is(coding.name())) {
            Some(coding) => &mut self.codings[coding as usize],
            None if is("x-gzip") => &mut self.codings[Coding::Gzip as usize],
            None if is("identity") => &mut self.identity,
            None if is("*") => &mut self.others,
            None => return,
        };
        *noted = Some(weight);
    }
}

/// `q=0.5`: a digit, and at most three after the point.
fn weight(parameter: &[u8]) -> Option<Weight> {
    let value = parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))?;
    let (whole, fraction) = match value {
        [whole] => (whole, &[][..]),
        [whole, b'.', fraction @ ..] => (whole, fraction),
        _ => return None,
    };
    if !matches!(whole, b'0' | b'1') || fraction.len() > 3 || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digit = |at: usize| fraction.get(at).map_or(0, |digit| Weight::from(digit - b'0'));
    let weight = Weight::from(whole - b'0') * 1000 + digit(0) * 100 + digit(1) * 10 + digit(2);
    (weight <= 1000).then_some(weight)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    fn chosen(values: &[&str], offered: &[Coding]) -> Option<Coding> {
        let mut request = HeaderMap::new();
        for value in values {
            request.append(header::ACCEPT_ENCODING, HeaderValue::from_str(value).unwrap());
        }
        best(&request, offered)
    }

    #[test]
    fn the_client_chooses_and_the_order_breaks_ties() {
        use Coding::{Brotli, Gzip, Zstd};
        for (values, coding) in [
            (&["gzip, deflate, br, zstd"][..], Some(Zstd)),
            (&["gzip", "br"], Some(Brotli)),
            (&["gzip;q=1.0, br;q=0.5"], Some(Gzip)),
            (&["GZIP ; q=0.001"], Some(Gzip)),
            (&["x-gzip"], Some(Gzip)),
            (&["*"], Some(Zstd)),
            (&["*;q=0.5, zstd;q=0"], Some(Brotli)),
            (&["*;q=0, gzip"], Some(Gzip)),
            (&["identity, gzip;q=0.5"], None),
            (&["identity;q=0.5, gzip;q=0.5"], Some(Gzip)),
            (&["identity;q=0"], None),
            (&["gzip;q=0"], None),
            (&["deflate"], None),
            (&[""], None),
            (&[], None),
            (&["gzip;q=2", "br;q=x", "zstd;q=0.1234", "br;level=1", "gzip;q=1;q=1"], None),
            (&["gzip;q=1.001"], None),
            (&["gzip;q=", ";q=1", "gzip;"], None),
        ] {
            assert_eq!(chosen(values, &Coding::ALL), coding, "{values:?}");
        }
        assert_eq!(chosen(&["gzip, br, zstd"], &[Gzip, Brotli]), Some(Gzip));
        assert_eq!(chosen(&["zstd"], &[Gzip, Brotli]), None);
    }

    proptest! {
        #[test]
        fn whatever_a_client_writes_nothing_is_chosen_that_is_not_offered(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&bytes) {
                let mut request = HeaderMap::new();
                request.append(header::ACCEPT_ENCODING, value);
                prop_assert!(best(&request, &[Coding::Gzip]).is_none_or(|coding| coding == Coding::Gzip));
            }
        }
    }
}
