//! For how long an answer may be remembered (RFC 9111, section 5.2.2), read with caution: in doubt not at all.

use std::time::Duration;

use http::{HeaderMap, HeaderValue, header};

/// How long an answer with these fields stays fresh from now on. Zero if it does not say so, or forbids to keep it.
///
/// The gateway is a cache that many share, so `private` forbids it too. Of several ages the least counts.
pub(super) fn freshness(fields: &HeaderMap) -> Duration {
    let mut least: Option<u64> = None;
    for value in fields.get_all(header::CACHE_CONTROL) {
        let Ok(value) = value.to_str() else { return Duration::ZERO };
        for directive in value.split(',').map(str::trim) {
            let (name, argument) = directive.split_once('=').unwrap_or((directive, ""));
            match name.trim().to_ascii_lowercase().as_str() {
                "no-store" | "no-cache" | "private" => return Duration::ZERO,
                "max-age" | "s-maxage" => {
                    let Some(seconds) = seconds(argument) else { return Duration::ZERO };
                    least = Some(least.map_or(seconds, |least| least.min(seconds)));
                }
                _ => {}
            }
        }
    }
    let varies = fields.get_all(header::VARY).iter().any(|value| value.as_bytes().contains(&b'*'));
    match (least, age(fields)) {
        (Some(least), Some(age)) if !varies => Duration::from_secs(least.saturating_sub(age)),
        _ => Duration::ZERO,
    }
}

/// How old an answer was when it came: it may be that of a cache. `None` if that cannot be read.
fn age(fields: &HeaderMap) -> Option<u64> {
    let ages = fields.get_all(header::AGE).iter().map(HeaderValue::to_str);
    ages.map(|age| seconds(age.ok()?)).try_fold(0, |most, age| Some(most.max(age?)))
}

/// Whole seconds, in digits only.
fn seconds(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    #[test]
    fn an_answer_is_remembered_only_as_long_as_it_says() {
        for (fields, seconds) in [
            (&[][..], 0),
            (&[("cache-control", "max-age=5")][..], 5),
            (&[("cache-control", " public , Max-Age=5,must-revalidate")], 5),
            (&[("cache-control", "max-age=5"), ("age", "3")], 2),
            (&[("cache-control", "max-age=5"), ("age", "7")], 0),
            (&[("cache-control", "max-age=5"), ("age", "-1")], 0),
            (&[("cache-control", "max-age=5, max-age=3")], 3),
            (&[("cache-control", "max-age=5"), ("cache-control", "s-maxage=0")], 0),
            (&[("cache-control", "max-age=5"), ("cache-control", "no-store")], 0),
            (&[("cache-control", "max-age=5, private")], 0),
            (&[("cache-control", "no-cache=\"x-a, x-b\", max-age=5")], 0),
            (&[("cache-control", "max-age=5"), ("vary", "Cookie")], 5),
            (&[("cache-control", "max-age=5"), ("vary", "a, *")], 0),
            (&[("cache-control", "max-age=\"5\"")], 0),
            (&[("cache-control", "max-age=-5")], 0),
            (&[("cache-control", "max-age=+5")], 0),
            (&[("cache-control", "max-age")], 0),
            (&[("cache-control", "xmax-age=5")], 0),
            (&[("cache-control", "max-age=99999999999999999999")], u64::MAX),
            (&[("expires", "Thu, 01 Jan 2099 00:00:00 GMT")], 0),
        ] {
            let field = |(name, value): &(&'static str, &'static str)| {
                (HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            let headers: HeaderMap = fields.iter().map(field).collect();
            assert_eq!(freshness(&headers).as_secs(), seconds, "{fields:?}");
        }
    }
}
