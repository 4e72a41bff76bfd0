//! CORS on the way back: the fields by which a browser lets a script read an answer.

use http::{HeaderName, HeaderValue, header};
use pingora::Result;
use pingora::http::ResponseHeader;

use crate::cors::Cors;

/// What the fields of the protocol begin with.
const PREFIX: &str = "access-control-";

/// Takes away what the upstream says to browsers: on this route it is for the gateway to say.
pub(super) fn silence(response: &mut ResponseHeader) {
    let said: Vec<HeaderName> =
        response.headers.keys().filter(|name| name.as_str().starts_with(PREFIX)).cloned().collect();
    for name in &said {
        response.remove_header(name);
    }
}

/// Lets a script read an answer, if its origin may.
pub(super) fn disclose(
    cors: &Cors,
    origin: Option<&HeaderValue>,
    response: &mut ResponseHeader,
) -> Result<()> {
    for (name, value) in cors.disclosure(origin) {
        response.insert_header(name, value)?;
    }
    vary(cors, response)
}

/// Gives a browser the permission that it asks for, if its origin may have it.
pub(super) fn permit(cors: &Cors, origin: Option<&HeaderValue>, response: &mut ResponseHeader) -> Result<()> {
    for (name, value) in cors.permission(origin) {
        response.insert_header(name, value)?;
    }
    vary(cors, response)
}

/// Tells caches that the answer to another origin would be another one.
fn vary(cors: &Cors, response: &mut ResponseHeader) -> Result<()> {
    if !cors.varies() {
        return Ok(());
    }
    response.append_header(header::VARY, HeaderValue::from_static("Origin")).map(drop)
}
