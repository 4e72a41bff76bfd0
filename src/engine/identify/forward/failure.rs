//! Why the service has not said who is calling.

use std::fmt;

use http::StatusCode;

use crate::fetch::FetchError;

/// Why there is no answer that means anything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine::identify) enum Failure {
    /// There was none in time, or none at all.
    Unanswered(FetchError),
    /// It has a status that says neither yes nor no.
    Status(StatusCode),
    /// It has a field that cannot be taken as it is: why.
    Field(&'static str),
    /// It names a plan that the configuration does not have.
    UnknownPlan,
    /// As many questions run as may.
    Full,
    /// The question was given up, as at the end of the process.
    GivenUp,
    /// The service cannot be asked at all: TLS cannot be set up.
    NoClient(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unanswered(error) => error.fmt(f),
            Self::Status(status) => write!(f, "its status is {}", status.as_u16()),
            Self::Field(why) => f.write_str(why),
            Self::UnknownPlan => f.write_str("it names a plan that the configuration does not have"),
            Self::Full => f.write_str("as many questions run as may"),
            Self::GivenUp => f.write_str("the question was given up"),
            Self::NoClient(why) => f.write_str(why),
        }
    }
}
