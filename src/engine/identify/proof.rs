//! What a way to prove who is calling finds in a request.
//!
//! A way is asked in two steps. First it finds the credentials, which costs nothing. Then, if the client may try, it verifies them.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

/// Credentials that a request has, as they were sent.
pub(in crate::engine) struct Credentials<'a>(pub(in crate::engine) Cow<'a, [u8]>);

/// Why credentials prove nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::engine) enum Unproven {
    /// They could be read in two ways, so it is not certain what the upstream would read.
    Ambiguous(&'static str),
    /// Nobody has them.
    Wrong(&'static str),
    /// It cannot be found out now whether they are right.
    Unverified(&'static str),
}

impl Unproven {
    /// What is wrong, without anything of the credentials.
    pub(in crate::engine) fn detail(self) -> &'static str {
        match self {
            Self::Ambiguous(detail) | Self::Wrong(detail) | Self::Unverified(detail) => detail,
        }
    }

    /// Whether the client has tried what it may try only so often.
    pub(in crate::engine) fn is_failed_try(self) -> bool {
        matches!(self, Self::Ambiguous(_) | Self::Wrong(_))
    }

    /// The status of the answer.
    pub(in crate::engine) fn status(self) -> StatusCode {
        match self {
            Self::Ambiguous(_) => StatusCode::BAD_REQUEST,
            Self::Wrong(_) => StatusCode::UNAUTHORIZED,
            Self::Unverified(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }
}

/// The only field of a name; `None` if there is none.
///
/// # Errors
/// When there are several, and each reader of the request might take another one. `several` says so.
pub(super) fn only_field<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
    several: &'static str,
) -> Result<Option<&'a HeaderValue>, Unproven> {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    match values.next() {
        Some(_) => Err(Unproven::Ambiguous(several)),
        None => Ok(first),
    }
}
