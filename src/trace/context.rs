//! What requests say of the trace that they belong to: W3C Trace Context.

use http::{HeaderMap, HeaderName, HeaderValue};

/// The field that names a request's trace (W3C Trace Context, section 3.2).
pub const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// The field that carries what the systems on a trace's way add to it. It means nothing without the other.
pub const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// A request's place in its trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    /// Names the trace.
    pub id: u128,
    /// Whether spans of it are recorded.
    pub sampled: bool,
    /// The span that the request was sent in; zero if it starts the trace.
    pub(super) parent: u64,
    /// The span of answering it.
    pub(super) span: u64,
    /// The span of having the upstream answer it.
    pub(super) upstream: u64,
}

/// What `traceparent` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// Names the trace; never zero.
    pub trace_id: u128,
    /// Names the span that the request was sent in; never zero.
    pub parent_id: u64,
    /// Whether whoever sent the request may record it.
    pub sampled: bool,
}

impl Trace {
    /// Whether the request has named the trace itself.
    pub fn is_continued(&self) -> bool {
        self.parent != 0
    }

    /// `traceparent`, as the upstream receives it.
    pub fn for_upstream(&self) -> HeaderValue {
        TraceContext { trace_id: self.id, parent_id: self.upstream, sampled: self.sampled }.to_value()
    }
}

impl TraceContext {
    /// What a request says of itself; `None` if that is nothing, or nothing valid.
    pub fn of(headers: &HeaderMap) -> Option<Self> {
        let mut fields = headers.get_all(TRACEPARENT).iter();
        let (field, None) = (fields.next()?, fields.next()) else { return None };
        Self::parse(field.as_bytes())
    }

    /// The value of `traceparent`.
    pub fn to_value(self) -> HeaderValue {
        let Self { trace_id, parent_id, sampled } = self;
        let text = format!("00-{trace_id:032x}-{parent_id:016x}-{:02x}", u8::from(sampled));
        // Digits and dashes are always a valid value.
        HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
    }

    fn parse(field: &[u8]) -> Option<Self> {
        /// `00-`, 32 digits, `-`, 16 digits, `-`, 2 digits.
        const LENGTH: usize = 55;
        let (known, more) = field.split_at_checked(LENGTH)?;
        let version = hex(&known[..2])?;
        let as_known = match version {
            0 => more.is_empty(),
            // A later version may have more to say, behind another dash.
            1..0xff => more.first().is_none_or(|&byte| byte == b'-'),
            _ => false,
        };
        let dashed = [2, 35, 52].iter().all(|&at| known[at] == b'-');
        let trace_id = hex(&known[3..35])?;
        let parent_id = u64::try_from(hex(&known[36..52])?).ok()?;
        let flags = hex(&known[53..])?;
        (as_known && dashed && trace_id != 0 && parent_id != 0).then_some(Self {
            trace_id,
            parent_id,
            sampled: flags & 1 == 1,
        })
    }
}

/// Digits in lower case, at most 32 of them.
fn hex(digits: &[u8]) -> Option<u128> {
    digits.iter().try_fold(0, |number, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(value))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use proptest::prelude::*;

    const VALID: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_valid_field_is_understood() {
        let context = TraceContext {
            trace_id: 0x0af7_6519_16cd_43dd_8448_eb21_1c80_319c,
            parent_id: 0xb7ad_6b71_6920_3331,
            sampled: true,
        };
        assert_eq!(TraceContext::parse(VALID.as_bytes()), Some(context));
        assert_eq!(context.to_value(), VALID);
        let unsampled = VALID.replace("-01", "-02");
        assert_eq!(
            TraceContext::parse(unsampled.as_bytes()),
            Some(TraceContext { sampled: false, ..context })
        );
        let later = VALID.replace("00-", "cc-") + "-what-it-will-be";
        assert_eq!(TraceContext::parse(later.as_bytes()), Some(context));
    }

    #[test]
    fn what_the_standard_calls_invalid_is_nothing() {
        for field in [
            "",
            "00",
            &VALID.replace("00-", "ff-"),
            &VALID.to_uppercase(),
            &VALID.replace("-01", "-0"),
            &VALID.replace("-01", "_01"),
            &VALID.replace("-01", "-0g"),
            &format!("{VALID}-"),
            &VALID.replace("00-", "01-").replace("-01", "-01x"),
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        ] {
            assert_eq!(TraceContext::parse(field.as_bytes()), None, "{field}");
        }
    }

    #[test]
    fn two_fields_are_as_good_as_none() {
        let mut headers = HeaderMap::new();
        assert_eq!(TraceContext::of(&headers), None);
        headers.insert(TRACEPARENT, HeaderValue::from_static(VALID));
        assert!(TraceContext::of(&headers).is_some());
        headers.append(TRACEPARENT, HeaderValue::from_static(VALID));
        assert_eq!(TraceContext::of(&headers), None);
    }

    proptest! {
        #[test]
        fn no_field_does_harm(field in prop::collection::vec(any::<u8>(), 0..70)) {
            let _ = TraceContext::parse(&field);
        }
    }
}
