//! Who is trusted, and who is let in: `trusted_proxies` and `[admin]`.

use std::net::IpAddr;

use ipnet::IpNet;

use super::super::document::Node;
use super::super::problem::Span;
use super::super::{Config, JwtKeys, Lint};
use super::findings::{Findings, value};
use super::sharing::is_of_this_machine;

/// Looks at `[server]`, `[auth.jwt]` and `[admin]`.
pub(super) fn look(config: &Config, findings: &mut Findings<'_>) {
    let trusted = &config.server.trusted_proxies;
    if let Some(place) =
        findings.section("server").and_then(|server| everyone(trusted, server, "trusted_proxies"))
    {
        let message = "this network is everybody, or nearly: whoever sends `X-Forwarded-For` is then counted and logged \
                       as the address in it; name only the networks of your own proxies, such as \"10.0.0.0/8\"";
        findings.add(Lint::TrustedEveryone, Some(place), message.to_owned());
    }
    if shows_keys_openly(config) {
        let place = findings.section("auth").and_then(|auth| value(&auth.entry("jwt")?.node, "jwks"));
        let message = "whoever is on the way to this server can put keys of its own in the place of these, and be any consumer; \
                       write https://";
        findings.add(Lint::OpenKeys, place, message.to_owned());
    }
    let Some(admin) = &config.admin else { return };
    if admin.token.is_none() && !is_near(admin.listen.ip()) {
        let place = findings.section("admin").and_then(|admin| value(admin, "listen"));
        let message = "whoever reaches this address may read metrics, clients and this configuration, and there is no `token`; \
                       listen on \"127.0.0.1:8001\" or a private address, or let only your own network come here, and set a `token`";
        findings.add(Lint::OpenSidePort, place, message.to_owned());
    }
}

/// Whether the keys of tokens come from another machine without TLS.
fn shows_keys_openly(config: &Config) -> bool {
    let jwt = config.auth.as_ref().and_then(|auth| auth.jwt.as_ref());
    match jwt.map(|jwt| &jwt.keys) {
        Some(JwtKeys::Shown(jwks)) if jwks.url.scheme_str() == Some("http") => {
            !jwks.url.host().is_some_and(is_of_this_machine)
        }
        _ => false,
    }
}

/// The place of the first of the `networks` under a key that is wider than any that one organisation uses inside: of IPv4
/// `10.0.0.0/8`, of IPv6 `fc00::/7`.
pub(super) fn everyone<'a>(networks: &[IpNet], table: &'a Node, key: &str) -> Option<&'a Span> {
    let is_wide = |network: &IpNet| match network {
        IpNet::V4(network) => network.prefix_len() < 8,
        IpNet::V6(network) => network.prefix_len() < 7,
    };
    let index = networks.iter().position(is_wide)?;
    Some(&table.entry(key)?.node.list().get(index)?.span)
}

/// Whether only this machine or a private network reaches an address.
fn is_near(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => address.is_loopback() || address.is_private() || address.is_link_local(),
        IpAddr::V6(address) => {
            address.is_loopback() || address.is_unique_local() || address.is_unicast_link_local()
        }
    }
}
