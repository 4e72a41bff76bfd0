//! Why a service has not answered.

use std::error::Error;
use std::fmt;

use hyper_util::client::legacy;

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// There is no connection: the name is not known, nobody listens, or the certificate is not believed.
    Unreachable(String),
    /// There was no whole answer in time.
    TimedOut,
    /// The head or the body has more bytes than it may.
    TooLarge,
    /// The connection ended before the answer was whole, or the answer is no HTTP.
    Broken(String),
}

/// The longest text of a reason, in characters. A service may choose a part of it.
const LONGEST: usize = 200;

impl FetchError {
    /// What the client says of an answer without a head.
    pub(super) fn of(error: &legacy::Error) -> Self {
        match error.is_connect() {
            true => Self::Unreachable(reason(error)),
            false => Self::broken(error),
        }
    }

    /// What the client says of an answer that is not whole.
    pub(super) fn broken(error: &AnyError) -> Self {
        let is_too_large = chain(error)
            .filter_map(|error| error.downcast_ref::<hyper::Error>())
            .any(hyper::Error::is_parse_too_large);
        if is_too_large { Self::TooLarge } else { Self::Broken(reason(error)) }
    }
}

type AnyError = dyn Error + 'static;

fn chain(error: &AnyError) -> impl Iterator<Item = &AnyError> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// The innermost reason, which says most, on one line.
fn reason(error: &AnyError) -> String {
    let text = chain(error).last().map(ToString::to_string).unwrap_or_default();
    text.chars().take(LONGEST).flat_map(char::escape_debug).collect()
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) => write!(f, "no connection: {why}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::TooLarge => f.write_str("the answer is too large"),
            Self::Broken(why) => write!(f, "no whole answer: {why}"),
        }
    }
}

impl Error for FetchError {}
