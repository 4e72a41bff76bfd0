//! The fields that the gateway itself gives an answer.
//!
//! They stay beside the answer's head until it is written. Pingora's heads keep the spelling of each name in a second map, so that
//! a field costs about a thousand instructions there; written as it is, it costs less than a hundred.

use http::{HeaderName, HeaderValue, header};
use pingora::http::ResponseHeader;
use smallvec::SmallVec;

/// Which field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnField {
    Allow,
    Location,
    RetryAfter,
    WwwAuthenticate,
    ContentType,
    ContentLength,
    Server,
    RequestId,
    RateLimitPolicy,
    RateLimit,
    XRateLimitLimit,
    XRateLimitRemaining,
    XRateLimitReset,
    Date,
    Connection,
    TransferEncoding,
}

impl OwnField {
    /// The field of a reply with this name.
    pub(super) fn of_reply(name: &str) -> Option<Self> {
        [Self::RetryAfter, Self::Allow, Self::Location, Self::WwwAuthenticate]
            .into_iter()
            .find(|field| field.title() == name)
    }

    /// Its name in HTTP/1.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Allow => "Allow",
            Self::Location => "Location",
            Self::RetryAfter => "Retry-After",
            Self::WwwAuthenticate => "WWW-Authenticate",
            Self::ContentType => "Content-Type",
            Self::ContentLength => "Content-Length",
            Self::Server => "Server",
            Self::RequestId => "X-Request-Id",
            Self::RateLimitPolicy => "RateLimit-Policy",
            Self::RateLimit => "RateLimit",
            Self::XRateLimitLimit => "X-RateLimit-Limit",
            Self::XRateLimitRemaining => "X-RateLimit-Remaining",
            Self::XRateLimitReset => "X-RateLimit-Reset",
            Self::Date => "Date",
            Self::Connection => "Connection",
            Self::TransferEncoding => "Transfer-Encoding",
        }
    }

    /// Its name in HTTP/2, and as names are compared.
    pub(crate) fn name(self) -> HeaderName {
        match self {
            Self::Allow => header::ALLOW,
            Self::Location => header::LOCATION,
            Self::RetryAfter => header::RETRY_AFTER,
            Self::WwwAuthenticate => header::WWW_AUTHENTICATE,
            Self::ContentType => header::CONTENT_TYPE,
            Self::ContentLength => header::CONTENT_LENGTH,
            Self::Server => header::SERVER,
            Self::RequestId => const { HeaderName::from_static("x-request-id") },
            Self::RateLimitPolicy => const { HeaderName::from_static("ratelimit-policy") },
            Self::RateLimit => const { HeaderName::from_static("ratelimit") },
            Self::XRateLimitLimit => const { HeaderName::from_static("x-ratelimit-limit") },
            Self::XRateLimitRemaining => const { HeaderName::from_static("x-ratelimit-remaining") },
            Self::XRateLimitReset => const { HeaderName::from_static("x-ratelimit-reset") },
            Self::Date => header::DATE,
            Self::Connection => header::CONNECTION,
            Self::TransferEncoding => header::TRANSFER_ENCODING,
        }
    }
}

/// The fields that the gateway itself gives an answer, each once.
#[derive(Clone, Debug, Default)]
pub(crate) struct OwnFields(SmallVec<[(OwnField, HeaderValue); 10]>);

impl OwnFields {
    /// Adds a field, which is not there yet.
    pub(crate) fn push(&mut self, field: OwnField, value: HeaderValue) {
        self.0.push((field, value));
    }

    /// The value of this field, if it is there.
    pub(crate) fn get(&self, field: OwnField) -> Option<&HeaderValue> {
        self.0.iter().find(|(own, _)| *own == field).map(|(_, value)| value)
    }

    /// Takes this field away, if it is there.
    pub(crate) fn remove(&mut self, field: OwnField) {
        self.0.retain(|(own, _)| *own != field);
    }

    /// The fields.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &(OwnField, HeaderValue)> {
        self.0.iter()
    }

    /// Takes away the fields of a head that have the same names.
    pub(crate) fn replace_in(&self, head: &mut ResponseHeader) {
        let is_own = |name: &HeaderName| {
            self.0.iter().any(|(field, _)| field.title().eq_ignore_ascii_case(name.as_str()))
        };
        let same: SmallVec<[HeaderName; 4]> =
            head.headers.keys().filter(|name| is_own(name)).cloned().collect();
        for name in &same {
            head.remove_header(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_same_in_both_protocols() {
        for field in [
            OwnField::Allow,
            OwnField::Location,
            OwnField::RetryAfter,
            OwnField::ContentType,
            OwnField::ContentLength,
            OwnField::Server,
            OwnField::RequestId,
            OwnField::RateLimitPolicy,
            OwnField::RateLimit,
            OwnField::XRateLimitLimit,
            OwnField::XRateLimitRemaining,
            OwnField::XRateLimitReset,
            OwnField::Date,
            OwnField::Connection,
            OwnField::TransferEncoding,
        ] {
            assert_eq!(field.title().to_ascii_lowercase(), field.name().as_str());
        }
    }

    #[test]
    fn a_field_of_the_upstream_with_the_same_name_goes() {
        let mut head = ResponseHeader::build(200, None).unwrap();
        head.append_header("Server", "nginx").unwrap();
        head.append_header("server", "again").unwrap();
        head.append_header("X-Other", "1").unwrap();
        let mut own = OwnFields::default();
        own.push(OwnField::Server, HeaderValue::from_static("gateway"));
        own.replace_in(&mut head);
        assert_eq!(head.headers.keys().map(HeaderName::as_str).collect::<Vec<_>>(), ["x-other"]);
    }
}
