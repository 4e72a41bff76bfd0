//! `Accept` (RFC 9110, section 12.5.1), as far as it says who would rather read HTML and who JSON.

use http::{HeaderMap, header};

/// How much a client wants a type: the weight in thousandths of the range that names it most precisely, and how precisely that is.
type Wish = (u16, u8);

/// Whether a client would rather have HTML than JSON (or problem+json), and takes it. A client that says nothing takes anything.
///
/// Of equal weights the more precise range decides: a script that sends `application/json, */*` would rather have JSON, and a browser,
/// which names `text/html`, a page. Who names neither gets HTML.
pub fn prefers_html(request: &HeaderMap) -> bool {
    let ranges = request.get_all(header::ACCEPT);
    if ranges.iter().next().is_none() {
        return true;
    }
    let wish = |kind: &str, names: &[&str]| {
        let mut best = (0, 0);
        for entry in ranges.iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b',')) {
            let (range, weight) = read(entry);
            let precision = match range {
                b"*/*" => 1,
                _ if names.iter().any(|name| range.eq_ignore_ascii_case(name.as_bytes())) => 3,
                _ if range
                    .strip_suffix(b"/*")
                    .is_some_and(|range| range.eq_ignore_ascii_case(kind.as_bytes())) =>
                {
                    2
                }
                _ => continue,
            };
            best = more_precise(best, (weight, precision));
        }
        best
    };
    let html = wish("text", &["text/html"]);
    let json = wish("application", &["application/problem+json", "application/json"]);
    html.0 > 0 && html >= json
}

/// The wish of the more precise range, or of two that are as precise the larger one.
fn more_precise(a: Wish, b: Wish) -> Wish {
    if (b.1, b.0) > (a.1, a.0) { b } else { a }
}

/// `text/html;q=0.5`: the range and its weight. A weight that is malformed counts in full.
fn read(entry: &[u8]) -> (&[u8], u16) {
    let mut parts = entry.split(|&byte| byte == b';').map(<[u8]>::trim_ascii);
    let range = parts.next().unwrap_or_default();
    let weight = parts.find_map(|part| part.strip_prefix(b"q=").or_else(|| part.strip_prefix(b"Q=")));
    let weight = weight.and_then(|weight| std::str::from_utf8(weight).ok()?.parse::<f32>().ok());
    let weight = weight.filter(|weight| (0.0..=1.0).contains(weight)).unwrap_or(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is from 0 to 1000")]
    let thousandths = (weight * 1000.0).round() as u16;
    (range, thousandths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn prefers(fields: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for field in fields {
            headers.append(header::ACCEPT, HeaderValue::from_static(field));
        }
        prefers_html(&headers)
    }

    #[test]
    fn browsers_get_pages_and_programs_json() {
        for html in [
            &[][..],
            &["*/*"],
            &["text/html"],
            &["TEXT/html ; q=0.1"],
            &["text/*, application/*"],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8"],
            &["image/avif,image/webp,*/*;q=0.8"],
            &["application/json;q=0.5", "text/html"],
            &["text/html, application/json"],
            &["text/html;q=nonsense"],
        ] {
            assert!(prefers(html), "{html:?}");
        }
        for json in [
            &["application/json"][..],
            &["application/problem+json"],
            &["application/json, text/plain, */*"],
            &["text/html;q=0, */*"],
            &["*/*;q=0"],
            &["image/png"],
            &[""],
            &["text/html;q=0.4, application/*;q=0.5"],
            &["text/html;q=0.5", "application/problem+json"],
        ] {
            assert!(!prefers(json), "{json:?}");
        }
    }
}
