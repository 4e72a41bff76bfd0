//! A service that is asked about each caller, as nginx does by `auth_request`.
//!
//! ```text
//! telling         what the service is told about a request
//!   │ question    with a key by which the same question is known again
//!   │ service     remembers answers, asks each question once at a time, and bounds the questions that run
//!   │ answer      what the service says, read strictly
//! verdict         what that means here: a consumer, a refusal, or no answer
//! ```

mod answer;
mod cache_control;
mod failure;
mod numbers;
mod question;
mod service;
mod telling;

use std::sync::Arc;

use http::{HeaderName, header};

pub use self::answer::Told;
use self::answer::{Allowed, Answer, Refused};
use self::failure::Failure;
pub use self::numbers::{LATENCY_BOUNDS, Numbers};
pub use self::service::Service;
use super::proof::{Credentials, Unproven, only_field};
use crate::clock::Timestamp;
use crate::config::{Config, ForwardAuth, WithoutAnswer};
use crate::consumer::Consumer;
use crate::engine::{Facts, Located};

/// What the answer of the service means.
pub(super) enum Verdict {
    /// The caller may come in. It has no name if the service gives it none.
    Allowed(Option<Arc<Consumer>>, Told),
    /// The caller may not come in.
    Refused(Arc<Refused>),
    /// There is no answer, and then the caller may come in as a stranger.
    Stranger,
    /// There is no answer, and then nobody comes in.
    Unanswered,
}

/// Whether a request has any of the fields that the service gets.
///
/// # Errors
/// When a field is there twice, and each reader of the request might take another one. Several fields `Cookie` are read as one.
pub(super) fn find<'a>(
    settings: &ForwardAuth,
    facts: &'a Facts<'_>,
) -> Result<Option<Credentials<'a>>, Unproven> {
    let mut found = None;
    for name in &settings.request_headers {
        let first = match *name == header::COOKIE {
            true => facts.headers.get(name),
            false => only_field(facts.headers, name, "the request has two fields with a credential")?,
        };
        found = found.or(first.map(|value| Credentials(value.as_bytes().into())));
    }
    Ok(found)
}

/// What a client is told whom the service refuses without a word of what it wants (RFC 9110, section 11.6.1).
pub(super) fn challenge(settings: &ForwardAuth) -> String {
    let names: Vec<_> = settings.request_headers.iter().map(HeaderName::as_str).collect();
    format!("Forward realm=\"gateway\", headers=\"{}\"", names.join(" "))
}

/// Asks the service about a request.
///
/// # Errors
/// When the request has something that cannot be asked about.
pub(super) async fn ask(
    service: &Arc<Service>,
    config: &Config,
    located: &Located<'_>,
    facts: &Facts<'_>,
    now: Timestamp,
) -> Result<Verdict, Unproven> {
    let told = service.ask(&telling::of(service.settings(), located, facts), now).await?;
    let told = told.and_then(|answer| match answer {
        Answer::Allowed(allowed) => {
            let consumer = consumer(&allowed, config).inspect_err(|failure| service.note(failure, now))?;
            Ok(Verdict::Allowed(consumer, allowed.told.clone()))
        }
        Answer::Refused(refused) => Ok(Verdict::Refused(refused)),
    });
    Ok(told.unwrap_or(match service.settings().on_error {
        WithoutAnswer::Refuse => Verdict::Unanswered,
        WithoutAnswer::Allow => Verdict::Stranger,
    }))
}

/// The consumer that an answer names. One that the file does not name has no plan but that of the answer.
fn consumer(allowed: &Allowed, config: &Config) -> Result<Option<Arc<Consumer>>, Failure> {
    let Some(name) = &allowed.consumer else { return Ok(None) };
    let plan = allowed.plan.as_ref().map(|plan| config.plan(plan).ok_or(Failure::UnknownPlan)).transpose()?;
    Ok(Some(config.consumers.known_as(name, plan)))
}
