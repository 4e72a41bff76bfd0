//! Fetches the keys by which tokens are verified, where a server shows them: when the gateway starts, then now and then, and when a token
//! is signed with a key that is not known.
//!
//! While the server does not answer, the keys that it has shown before are used, for as long as that takes: an issuer that is down for a
//! day does not lock everybody out. A key that the issuer has withdrawn meanwhile is believed until then, which the log and
//! `gateway_jwks_fetched_timestamp_seconds` tell.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, StatusCode, Uri, header};
use log::{info, warn};
use tokio::time::sleep;

use crate::clock::{Timestamp, wall_clock};
use crate::config::Jwks;
use crate::fetch::{Client, FetchError, Limits};
use crate::gateway::Gateway;
use crate::jwt::{Fetched, KeySet, MAX_KEYS, NoKeys, Remote, Trust};

/// How often it is looked whether a reload has changed where the keys are.
const LOOK: Duration = Duration::from_secs(1);

/// How long after a failure the next try follows. It doubles with each.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The most that it is.
const LAST_RETRY: Duration = Duration::from_secs(30);

/// How long nothing is said of further failures.
const SILENCE: Duration = Duration::from_secs(60);

const ACCEPT: HeaderValue = HeaderValue::from_static("application/jwk-set+json, application/json");

/// Runs for as long as the gateway serves.
pub(super) async fn run(gateway: Arc<Gateway>) {
    let mut task: Option<Task> = None;
    loop {
        let active = gateway.active();
        let Some((remote, jwks)) = active.engine.shown_keys() else {
            task = None;
            sleep(LOOK).await;
            continue;
        };
        let now = gateway.clock.now();
        let current = match task.take().filter(|task| Arc::ptr_eq(&task.remote, remote)) {
            Some(task) if task.jwks == *jwks => task,
            other => Task::new(remote.clone(), jwks.clone(), other.map_or(now, |task| task.due)),
        };
        let current = task.insert(current);
        tokio::select! {
            () = sleep(current.due.since(now).min(LOOK)) => {}
            () = remote.wanted() => current.due = gateway.clock.now(),
        }
        if gateway.clock.now() >= current.due {
            current.fetch(&gateway).await;
        }
    }
}

/// The keys that are fetched, and when.
struct Task {
    remote: Arc<Remote>,
    jwks: Jwks,
    client: Result<Client, rustls::Error>,
    due: Timestamp,
    failures: u32,
    told: Option<Timestamp>,
}

/// Why no keys came.
enum Failure {
    Tls(rustls::Error),
    Request(http::Error),
    Answer(FetchError),
    Status(StatusCode),
    Content(NoKeys),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Request(error) => error.fmt(f),
            Self::Answer(error) => error.fmt(f),
            Self::Status(status) => write!(f, "the answer is {status}"),
            Self::Content(none) => f.write_str(none.what()),
        }
    }
}

impl Task {
    fn new(remote: Arc<Remote>, jwks: Jwks, due: Timestamp) -> Self {
        let client = Client::new(&jwks.authorities);
        Self { remote, jwks, client, due, failures: 0, told: None }
    }

    /// Fetches the keys, and says when to do so again.
    async fn fetch(&mut self, gateway: &Gateway) {
        self.remote.begins(gateway.clock.now());
        let outcome = self.keys().await;
        let now = gateway.clock.now();
        match outcome {
            Ok(keys) => {
                let (count, left_out) = (keys.count(), keys.left_out());
                let fetched = self.remote.is_over(Some(keys), wall_clock().as_second());
                let url = place(&self.jwks.url);
                if fetched == Some(Fetched::New) {
                    info!("{count} keys for tokens from {url}");
                    if left_out > 0 {
                        warn!("{left_out} other keys from {url} cannot be used for tokens, or stand twice");
                    }
                } else if self.failures > 0 {
                    info!("the keys for tokens from {url} can be fetched again");
                }
                (self.failures, self.told) = (0, None);
                self.due = now.after(self.jwks.refresh);
            }
            Err(failure) => {
                self.remote.is_over(None, wall_clock().as_second());
                self.tell(&failure, now);
                let retry = FIRST_RETRY * 2_u32.saturating_pow(self.failures.min(10));
                self.failures = self.failures.saturating_add(1);
                self.due = now.after(retry.min(LAST_RETRY).min(self.jwks.refresh));
            }
        }
    }

    async fn keys(&self) -> Result<KeySet, Failure> {
        let client = self.client.as_ref().map_err(|error| Failure::Tls(error.clone()))?;
        let request = Request::get(self.jwks.url.clone()).header(header::ACCEPT, ACCEPT);
        let request = request.body(()).map_err(Failure::Request)?;
        let limits = Limits { timeout: self.jwks.timeout, max_body: MAX_KEYS };
        let answer = client.ask(request, limits).await.map_err(Failure::Answer)?;
        match answer.status() {
            StatusCode::OK => KeySet::from_json(answer.body(), Trust::Server).map_err(Failure::Content),
            status => Err(Failure::Status(status)),
        }
    }

    /// Warns of a failure, at most once a minute.
    fn tell(&mut self, failure: &Failure, now: Timestamp) {
        if self.told.is_some_and(|told| now.since(told) < SILENCE) {
            return;
        }
        self.told = Some(now);
        let url = place(&self.jwks.url);
        let meanwhile = match self.remote.keys() {
            Some(_) => "those that it has shown before are used",
            None => "requests with tokens get 503 until there are some",
        };
        warn!("no keys for tokens from {url}: {failure}; {meanwhile}");
    }
}

/// A URL without its query, which may have a secret.
fn place(url: &Uri) -> String {
    let authority = url.authority().map_or("", |authority| authority.as_str());
    format!("{}://{authority}{}", url.scheme_str().unwrap_or_default(), url.path())
}
