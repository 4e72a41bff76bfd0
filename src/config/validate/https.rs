//! `https_redirect` and `https_port` of `[server]`.

use http::StatusCode;

use super::super::item::Item;
use super::super::problem::{Checked, Fault};
use super::super::section::Section;
use super::super::table::Kind;
use super::super::{HttpsRedirect, Listener};
use super::shared::redirect_status;

/// The port of HTTPS that no URL names.
const HTTPS: u16 = 443;

pub(super) const REDIRECT: Kind = Kind::Either(&[Kind::Boolean, Kind::Integer(301, 308)]);

/// Reads `https_redirect` and `https_port`. `listeners` are those that could be read, all of them if `complete`, and `has_proxies` says whether
/// somebody is trusted who may say that a request came by HTTPS.
pub(super) fn redirect(
    section: &Section<'_>,
    listeners: &[&Listener],
    complete: Checked<()>,
    has_proxies: &Checked<bool>,
) -> Checked<Option<HttpsRedirect>> {
    let status = section.optional("https_redirect", |item| status(&item));
    let port = section.optional("https_port", |item| {
        let port = item.integer(1..=65535)?;
        u16::try_from(port).map_err(|_| item.expected("a port"))
    });
    let Some(status) = status?.flatten() else {
        section.useless(&["https_port"], "without `https_redirect`", "write https_redirect = true")?;
        return Ok(None);
    };
    complete?;
    let encrypted: Vec<_> = listeners.iter().filter(|listener| listener.tls).collect();
    let fault = match (*has_proxies.as_ref().map_err(|reported| *reported)?, encrypted.len()) {
        (false, 0) => Some(
            Fault::new("every request would be redirected for ever: no listener speaks TLS, and no proxy is trusted to say that it does")
                .hint("write listen = [\"0.0.0.0:80\", { address = \"0.0.0.0:443\", tls = true }], or name the proxies in `trusted_proxies`"),
        ),
        (false, all) if all == listeners.len() => Some(
            Fault::new("`https_redirect` does nothing, since every listener speaks TLS")
                .hint("write listen = [\"0.0.0.0:80\", { address = \"0.0.0.0:443\", tls = true }], or leave it out"),
        ),
        _ => None,
    };
    if let (Some(fault), Some(item)) = (fault, section.get("https_redirect")) {
        return Err(item.report(fault));
    }
    let mut ports =
        encrypted.iter().filter_map(|listener| listener.address.ip()).map(|address| address.port());
    let of_listeners = match ports.next() {
        Some(first) if first != HTTPS && first != 0 && !ports.any(|port| port == HTTPS) => first,
        _ => HTTPS,
    };
    let port = Some(port?.unwrap_or(of_listeners)).filter(|&port| port != HTTPS);
    Ok(Some(HttpsRedirect { status, port }))
}

/// A switch, or the status.
fn status(item: &Item<'_>) -> Checked<Option<StatusCode>> {
    if item.is_number() {
        return redirect_status(item).map(Some);
    }
    let switch = item.boolean_or(", or one of the statuses 301, 302, 303, 307 and 308")?;
    Ok(switch.then_some(StatusCode::PERMANENT_REDIRECT))
}
