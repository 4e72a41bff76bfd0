//! Origins that are allowed, by name or as all below a domain.
//!
//! Both kinds are kept in one set, as they are written. An origin is looked up by its own name and by each entry that could cover it:
//! `https://a.b.example` by `https://*.b.example` and `https://*.example`. So a lookup takes as many steps as the host has labels,
//! whatever the length of the list.

use std::collections::HashSet;

/// The longest name of a host.
const MAX_NAME: usize = 253;

/// The longest port, with its colon.
const MAX_PORT: usize = 6;

/// Origins, in the form in which browsers send them; `https://*.example.com` is all whose host lies below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Named {
    all: HashSet<String>,
    has_wildcards: bool,
}

impl FromIterator<String> for Named {
    fn from_iter<I: IntoIterator<Item = String>>(origins: I) -> Self {
        let all: HashSet<String> = origins.into_iter().collect();
        Self { has_wildcards: all.iter().any(|origin| origin.contains("://*.")), all }
    }
}

impl Named {
    /// Whether this origin is allowed.
    pub fn contains(&self, origin: &[u8]) -> bool {
        let Ok(origin) = str::from_utf8(origin) else { return false };
        match origin.split_once("://") {
            // A client may send the text of an entry, which is no host below the domain.
            Some((_, authority)) if authority.contains('*') => false,
            Some((scheme, authority)) => {
                self.all.contains(origin) || self.has_wildcards && self.covers(scheme, authority)
            }
            None => self.all.contains(origin),
        }
    }

    /// Whether an entry covers all origins below one of the domains of this authority.
    fn covers(&self, scheme: &str, authority: &str) -> bool {
        let host = authority.split(':').next().unwrap_or_default();
        let fits = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.');
        if authority.len() > MAX_NAME + MAX_PORT
            || !host.bytes().all(fits)
            || host.split('.').any(str::is_empty)
        {
            return false;
        }
        let dots = host.match_indices('.').map(|(at, _)| at);
        dots.into_iter().any(|at| self.all.contains(&format!("{scheme}://*{}", &authority[at..])))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_below_a_domain_are_let_in_and_nobody_else() {
        let named: Named = ["https://*.example.com", "http://*.dev.example:8080", "https://app.other"]
            .map(str::to_owned)
            .into_iter()
            .collect();
        for origin in [
            "https://a.example.com",
            "https://a.b.example.com",
            "https://x--_1.example.com",
            "http://a.dev.example:8080",
            "https://app.other",
        ] {
            assert!(named.contains(origin.as_bytes()), "{origin}");
        }
        for origin in [
            "https://example.com",
            "https://.example.com",
            "https://a..example.com",
            "https://evilexample.com",
            "https://a.example.com.evil",
            "https://a.example.com:8443",
            "http://a.example.com",
            "https://A.example.com",
            "https://evil/.example.com",
            "https://evil@a.example.com",
            "https://evil#.example.com",
            "https://evil:80.example.com",
            "https://*.example.com",
            "https://a.*.example.com",
            "xhttps://a.example.com",
            "https://https://a.example.com",
            "http://a.dev.example",
            "http://a.dev.example:80801",
            "https://a.app.other",
            "null",
            "",
            "*",
        ] {
            assert!(!named.contains(origin.as_bytes()), "{origin}");
        }
        let long = format!("https://{}example.com", "a.".repeat(200));
        assert!(!named.contains(long.as_bytes()), "no host has such a name");
        assert!(!named.contains(b"https://\xff.example.com"));
    }
}
