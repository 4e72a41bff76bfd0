//! The `Date` of answers, formatted once a second.

use std::cell::RefCell;

use http::HeaderValue;

use crate::clock::wall_clock;

/// This moment as a field value (RFC 9110, section 5.6.7).
pub(super) fn now() -> HeaderValue {
    thread_local!(static LAST: RefCell<Option<(i64, HeaderValue)>> = const { RefCell::new(None) });
    let now = wall_clock();
    let second = now.as_second();
    LAST.with_borrow_mut(|last| match last {
        Some((formatted, value)) if *formatted == second => value.clone(),
        last => {
            let text = jiff::fmt::rfc2822::DateTimePrinter::new().timestamp_to_rfc9110_string(&now);
            // Every second until the year 9999 has a date, and a date is always a valid value.
            let value = text.ok().and_then(|text| HeaderValue::from_str(&text).ok());
            let value = value.unwrap_or_else(|| HeaderValue::from_static(""));
            last.insert((second, value)).1.clone()
        }
    })
}
