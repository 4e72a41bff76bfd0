//! Who may change something.

use axum::http::{HeaderMap, StatusCode, header};
use subtle::ConstantTimeEq as _;

use super::failure::Failure;
use crate::gateway::Gateway;

/// Checks that a call has the token: `Authorization: Bearer TOKEN` (RFC 6750). A page elsewhere cannot send that field
/// from a browser without being allowed to, which nobody is.
///
/// # Errors
/// What it is answered if it has not. How long that takes says nothing of the token but its length.
pub(super) fn check(gateway: &Gateway, headers: &HeaderMap) -> Result<(), Failure> {
    let live = gateway.live();
    let token = live.config.admin.as_ref().and_then(|admin| admin.token.as_deref());
    let Some(token) = token else {
        let why = "calls that change something are refused: no `token` is set in [admin]";
        return Err(Failure::new(StatusCode::FORBIDDEN, why));
    };
    let given = headers.get(header::AUTHORIZATION).and_then(|field| {
        let (scheme, given) = field.as_bytes().split_at_checked("Bearer ".len())?;
        scheme.eq_ignore_ascii_case(b"Bearer ").then_some(given)
    });
    match given.is_some_and(|given| given.ct_eq(token.as_bytes()).into()) {
        true => Ok(()),
        false => Err(Failure::new(StatusCode::UNAUTHORIZED, "it takes Authorization: Bearer and the token")),
    }
}
