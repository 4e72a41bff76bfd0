//! The gateway's own questions to other services over HTTP: for the keys of an issuer of tokens, say.
//!
//! A service may be slow, broken or hostile. Each question has one deadline, from looking up the name to the last byte of the body. Heads
//! and bodies are bounded, redirects are not followed, and interim responses are skipped. An answer is whole, or it is an error.

mod connector;
mod error;

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use tokio::time::timeout;

use self::connector::Connector;
use crate::tls::Authorities;

pub use self::error::FetchError;

/// The largest head of an answer, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The most fields of an answer.
const MAX_FIELDS: usize = 64;

/// How many connections to a service stay open for further questions.
const MAX_IDLE: usize = 32;

/// How long a connection stays open for further questions. Servers often wait for a minute.
const IDLE: Duration = Duration::from_secs(30);

/// The longest body that is read to the end where nobody wants it, so that its connection can be used again, in bytes.
const MAX_UNWANTED: u64 = 16 * 1024;

/// How much a question may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time of the whole: until the last byte of the body.
    pub timeout: Duration,
    /// The largest body, in bytes.
    pub max_body: usize,
}

/// Asks other services over HTTP/1.1. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    client: legacy::Client<Connector, Empty<Bytes>>,
}

impl Client {
    /// A client that believes services over HTTPS whose certificates these authorities vouch for.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(authorities: &Authorities) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(authorities.iter().cloned());
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut builder = legacy::Client::builder(TokioExecutor::new());
        builder
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MAX_IDLE)
            .http1_max_buf_size(MAX_HEAD)
            .http1_max_headers(MAX_FIELDS);
        Ok(Self { client: builder.build(Connector::new(tls)) })
    }

    /// Asks a service. The request has the whole URL, and no body; `Host` is made of the URL.
    ///
    /// # Errors
    /// When there is no whole answer in time, or its head or body is too large. Statuses are no errors.
    pub async fn ask(&self, request: Request<()>, limits: Limits) -> Result<Response<Bytes>, FetchError> {
        let whole = async {
            let (head, body) = self.head(request).await?.into_parts();
            Ok(Response::from_parts(head, read(body, limits.max_body).await?))
        };
        timeout(limits.timeout, whole).await.unwrap_or(Err(FetchError::TimedOut))
    }

    /// Asks a service for the head of its answer alone. Nobody waits for the body, however long it is.
    ///
    /// # Errors
    /// When there is no head in this time, or it is too large.
    pub async fn ask_for_head(
        &self,
        request: Request<()>,
        patience: Duration,
    ) -> Result<Response<()>, FetchError> {
        let answer = timeout(patience, self.head(request)).await.unwrap_or(Err(FetchError::TimedOut))?;
        let (head, body) = answer.into_parts();
        if !body.is_end_stream() && body.size_hint().lower() <= MAX_UNWANTED {
            // What is dropped before its end closes its connection.
            tokio::spawn(timeout(patience, read_unwanted(body)));
        }
        Ok(Response::from_parts(head, ()))
    }

    async fn head(&self, request: Request<()>) -> Result<Response<Incoming>, FetchError> {
        self.client.request(request.map(|()| Empty::new())).await.map_err(|error| FetchError::of(&error))
    }
}

/// The whole of a body that has at most so many bytes.
async fn read(mut body: Incoming, most: usize) -> Result<Bytes, FetchError> {
    if body.size_hint().lower() > most as u64 {
        return Err(FetchError::TooLarge);
    }
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| FetchError::broken(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > most - whole.len() {
            return Err(FetchError::TooLarge);
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

/// Reads a body to its end, unless it is too long for that.
async fn read_unwanted(mut body: Incoming) {
    let mut left = MAX_UNWANTED;
    while let Some(Ok(frame)) = body.frame().await {
        let length = frame.data_ref().map_or(0, Bytes::len) as u64;
        if length > left {
            return;
        }
        left -= length;
    }
}

#[cfg(test)]
mod tests;
