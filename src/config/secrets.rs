//! What is secret in a configuration: values whose keys have telling names, and credentials in texts.

use std::borrow::Cow;

/// The text that is shown instead of a secret.
pub(super) const MASK: &str = "***";

/// A name that contains one of these has a secret value.
const TELLING: [&str; 18] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "authorization",
    "x-auth",
    "cookie",
    "api-key",
    "api_key",
    "apikey",
    "access-key",
    "access_key",
    "accesskey",
    "private-key",
    "private_key",
    "credential",
    "signature",
    "jwt",
];

/// A text without the user and password of a URL in it, and without the values of parameters that have telling names.
pub(super) fn without_credentials(text: &str) -> Cow<'_, str> {
    let ends = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '<' | '>');
    let mut shown = Cow::Borrowed(text);
    if let Some((scheme, rest)) = text.split_once("://") {
        // Everything before the last `@`, in case a slash in the password was not escaped.
        let (url, after) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
        let after = without_credentials(after);
        match url.rsplit_once('@') {
            Some((_, host)) => shown = format!("{scheme}://{MASK}@{host}{after}").into(),
            None if matches!(after, Cow::Owned(_)) => shown = format!("{scheme}://{url}{after}").into(),
            None => {}
        }
    }
    let Some((before, query)) = shown.split_once('?') else { return shown };
    let mask = |pair: &str| match pair.split_once('=') {
        Some((name, _)) if is_telling(name) => format!("{name}={MASK}"),
        _ => pair.to_owned(),
    };
    let masked = query.split('&').map(mask).collect::<Vec<_>>().join("&");
    match masked == query {
        true => shown,
        false => format!("{before}?{masked}").into(),
    }
}

/// Whether a name says that its value is secret. `keys` are the hashes of a consumer's API keys.
pub(super) fn is_telling(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    // The password in the URL of a store's socket is called `pass`. What is called `htpasswd` is where a file is.
    ["keys", "pass"].contains(&&*name)
        || name != "htpasswd" && TELLING.iter().any(|telling| name.contains(telling))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_in_a_text_are_masked() {
        for (text, shown) in [
            ("https://user:pass@host/a", "https://***@host/a"),
            ("https://user:pa/ss@host/a?b", "https://***@host/a?b"),
            ("http://a/ http://user:pass@host", "http://a/ http://***@host"),
            ("/a?token=x&b=c", "/a?token=***&b=c"),
            ("/a?b=c", "/a?b=c"),
            ("redis+unix:///run/redis.sock?db=1&pass=hunter2", "redis+unix:///run/redis.sock?db=1&pass=***"),
            ("mail@example.com", "mail@example.com"),
        ] {
            assert_eq!(without_credentials(text), shown);
        }
    }
}
