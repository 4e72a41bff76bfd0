//! Who may change something.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use subtle::ConstantTimeEq as _;

use super::failure::Failure;
use super::token_attempts::{TokenAttempts, Verdict};
use crate::gateway::Gateway;

/// The address that a request comes from.
#[derive(Clone, Copy)]
pub(super) struct Peer(pub(super) IpAddr);

/// Proof that a call has the token: `Authorization: Bearer TOKEN` (RFC 6750). A page elsewhere cannot send that field
/// from a browser without being allowed to, which nobody is.
///
/// How long a verdict takes says nothing of the token but its length.
pub(super) struct Authorized;

impl FromRequestParts<Arc<Gateway>> for Authorized {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, gateway: &Arc<Gateway>) -> Result<Self, Failure> {
        let active = gateway.active();
        let token = active.config().admin.as_ref().and_then(|admin| admin.token.as_deref());
        let Some(token) = token else {
            let why = "calls that change something are refused: no `token` is set in [admin]";
            return Err(Failure::new(StatusCode::FORBIDDEN, why));
        };
        let refused =
            || Failure::new(StatusCode::UNAUTHORIZED, "it takes Authorization: Bearer and the token");
        let given = parts.headers.get(header::AUTHORIZATION).and_then(|field| {
            let (scheme, given) = field.as_bytes().split_at_checked("Bearer ".len())?;
            scheme.eq_ignore_ascii_case(b"Bearer ").then_some(given)
        });
        // Whoever shows none is not guessing.
        let given = given.ok_or_else(refused)?;
        let is_right = given.ct_eq(token.as_bytes()).into();
        let extensions = &parts.extensions;
        let (Some(Peer(peer)), Some(token_attempts)) =
            (extensions.get().copied(), extensions.get::<Arc<TokenAttempts>>())
        else {
            // Nothing fails open, and both are put there for every request.
            return Err(refused());
        };
        match token_attempts.judge(peer, is_right, gateway.clock.now()) {
            Verdict::Right => Ok(Self),
            Verdict::Wrong => Err(refused()),
            Verdict::Later(wait) => Err(Failure::later(wait, "too many wrong tokens: try again later")),
        }
    }
}
