//! What the service says, read strictly: what could be read in two ways is no answer.

use std::sync::Arc;
use std::time::Duration;

use http::response::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};

use super::cache_control::freshness;
use super::failure::Failure;
use crate::config::ForwardAuth;

/// The longest name of a consumer or a plan, in bytes.
const MAX_NAME: usize = 256;

/// The most challenges that a client is told.
const MAX_CHALLENGES: usize = 8;

/// An answer of which more than so many bytes would have to be kept is not remembered.
const MAX_REMEMBERED: usize = 4096;

/// Fields of the service's answer, for the upstream.
pub type Told = Arc<[(HeaderName, HeaderValue)]>;

/// What the service says of a caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It may come in.
    Allowed(Arc<Allowed>),
    /// It may not.
    Refused(Arc<Refused>),
}

/// What the service says of a caller that may come in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Allowed {
    /// The name of the consumer.
    pub(super) consumer: Option<String>,
    /// The name of its plan; none without a consumer.
    pub(super) plan: Option<String>,
    /// What the upstream is told.
    pub(super) told: Told,
}

/// What the service says of a caller that may not come in.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::engine::identify) struct Refused {
    /// 401 or 403.
    pub(in crate::engine::identify) status: StatusCode,
    /// What the service wants, with 401.
    pub(in crate::engine::identify) challenges: Vec<HeaderValue>,
}

impl Answer {
    /// The answer with this head, and for how long it may be remembered.
    ///
    /// # Errors
    /// When it says neither yes nor no.
    pub(super) fn read(head: &Parts, settings: &ForwardAuth) -> Result<(Self, Duration), Failure> {
        let fields = &head.headers;
        let (answer, size) = match head.status {
            status if status.is_success() => allowed(fields, settings)?,
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => {
                let all = fields.get_all(header::WWW_AUTHENTICATE).iter();
                let is_told = status == StatusCode::UNAUTHORIZED;
                let challenges: Vec<_> = all.filter(|_| is_told).take(MAX_CHALLENGES).cloned().collect();
                let size = challenges.iter().map(HeaderValue::len).sum();
                (Self::Refused(Arc::new(Refused { status, challenges })), size)
            }
            status => return Err(Failure::Status(status)),
        };
        let fresh = if size <= MAX_REMEMBERED { freshness(fields) } else { Duration::ZERO };
        Ok((answer, fresh.min(settings.max_cache)))
    }
}

/// What a 2xx says, and how many bytes that has.
fn allowed(fields: &HeaderMap, settings: &ForwardAuth) -> Result<(Answer, usize), Failure> {
    let consumer = name(fields, &settings.consumer_header)?;
    let plan = name(fields, &settings.plan_header)?;
    if plan.is_some() && consumer.is_none() {
        return Err(Failure::Field("it names a plan and no consumer"));
    }
    let told = settings.response_headers.iter().filter_map(|name| {
        let values: Vec<_> = fields.get_all(name).iter().map(HeaderValue::as_bytes).collect();
        // Several fields of a name are one list (RFC 9110, section 5.3).
        let value = HeaderValue::from_bytes(&values.join(&b", "[..])).ok()?;
        (!values.is_empty()).then(|| (name.clone(), value))
    });
    let told: Told = told.collect();
    let names = [&consumer, &plan].into_iter().flatten().map(String::len);
    let size = names.chain(told.iter().map(|(_, value)| value.len())).sum();
    Ok((Answer::Allowed(Arc::new(Allowed { consumer, plan, told })), size))
}

/// The name in a field. An empty field has none.
fn name(fields: &HeaderMap, field: &HeaderName) -> Result<Option<String>, Failure> {
    let mut values = fields.get_all(field).iter();
    let Some(first) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(Failure::Field("it has two fields with a consumer or a plan"));
    }
    let is_visible = |byte: &u8| byte.is_ascii_graphic() || *byte == b' ';
    match first.as_bytes().trim_ascii() {
        b"" => Ok(None),
        name if name.len() <= MAX_NAME && name.iter().all(is_visible) => {
            Ok(Some(String::from_utf8_lossy(name).into_owned()))
        }
        _ => Err(Failure::Field("its field of the consumer or the plan has no name")),
    }
}

#[cfg(test)]
mod tests {
    use http::{Response, Uri};

    use super::*;
    use crate::config::WithoutAnswer;
    use crate::tls::Authorities;

    fn settings() -> ForwardAuth {
        ForwardAuth {
            url: Uri::from_static("http://127.0.0.1/"),
            authorities: Authorities::from([]),
            request_headers: vec![header::AUTHORIZATION],
            response_headers: vec![
                HeaderName::from_static("x-user-role"),
                HeaderName::from_static("x-tenant"),
            ],
            consumer_header: HeaderName::from_static("x-consumer"),
            plan_header: HeaderName::from_static("x-plan"),
            timeout: Duration::from_millis(500),
            on_error: WithoutAnswer::Refuse,
            max_cache: Duration::from_secs(60),
            keep: false,
        }
    }

    fn read(status: u16, fields: &[(&str, &str)]) -> Result<(Answer, Duration), Failure> {
        let head = fields.iter().fold(Response::builder().status(status), |head, (name, value)| {
            head.header(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap())
        });
        Answer::read(&head.body(()).unwrap().into_parts().0, &settings())
    }

    #[test]
    fn a_yes_names_the_caller_and_what_the_upstream_is_told() {
        let fields = [
            ("x-consumer", " alice "),
            ("x-plan", "pro"),
            ("x-user-role", "admin"),
            ("x-user-role", "owner"),
            ("x-other", "1"),
            ("cache-control", "max-age=100"),
        ];
        let (answer, fresh) = read(204, &fields).unwrap();
        let told = (HeaderName::from_static("x-user-role"), HeaderValue::from_static("admin, owner"));
        let (consumer, plan) = (Some("alice".to_owned()), Some("pro".to_owned()));
        assert_eq!(answer, Answer::Allowed(Arc::new(Allowed { consumer, plan, told: [told].into() })));
        assert_eq!(fresh, Duration::from_secs(60), "at most max_cache");
        let (answer, fresh) = read(200, &[("x-consumer", "")]).unwrap();
        assert_eq!(
            answer,
            Answer::Allowed(Arc::new(Allowed { consumer: None, plan: None, told: [].into() }))
        );
        assert_eq!(fresh, Duration::ZERO);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_no_answer() {
        for fields in [
            &[("x-consumer", "alice"), ("x-consumer", "bob")][..],
            &[("x-consumer", "alice"), ("x-plan", "a"), ("x-plan", "b")],
            &[("x-plan", "pro")],
            &[("x-consumer", "é")],
            &[("x-consumer", "a\tb")],
            &[("x-consumer", &"a".repeat(257))],
        ] {
            assert!(matches!(read(200, fields), Err(Failure::Field(_))), "{fields:?}");
        }
        for status in [100, 300, 302, 304, 400, 404, 407, 429, 500, 503, 999] {
            assert_eq!(read(status, &[]), Err(Failure::Status(StatusCode::from_u16(status).unwrap())));
        }
    }

    #[test]
    fn a_no_has_the_challenges_of_the_service() {
        let challenge = ("www-authenticate", "Bearer realm=\"a\"");
        for (status, count) in [(401, 2), (403, 0)] {
            let Ok((Answer::Refused(refused), _)) = read(status, &[challenge, challenge]) else { panic!() };
            assert_eq!((refused.status.as_u16(), refused.challenges.len()), (status, count));
        }
        let Ok((Answer::Refused(refused), _)) = read(401, &[challenge; 30]) else { panic!() };
        assert_eq!(refused.challenges.len(), MAX_CHALLENGES);
    }

    #[test]
    fn a_large_answer_is_not_remembered() {
        let fresh = |length| {
            let role = "x".repeat(length);
            read(200, &[("x-user-role", &role), ("cache-control", "max-age=5")]).unwrap().1.as_secs()
        };
        assert_eq!((fresh(MAX_REMEMBERED), fresh(MAX_REMEMBERED + 1)), (5, 0));
    }
}
