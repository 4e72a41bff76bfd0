//! The formats of logs.

use clap::ValueEnum;

/// A format of logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, ValueEnum)]
pub enum Format {
    /// The gateway's own JSON.
    Gateway,
    /// The combined format of Apache and nginx.
    Combined,
    /// The combined format after a virtual host and its port, which Apache calls vhost_combined.
    VhostCombined,
    /// The common log format of Apache.
    Common,
    /// Caddy's JSON.
    Caddy,
    /// Traefik's JSON.
    Traefik,
}

/// The short names of fields.
const SHORT: [&str; 4] = ["client", "user", "referer", "user_agent"];

impl Format {
    /// All formats, in the order in which a line is tried: a line of one is never one of those before it.
    pub const ALL: [Self; 6] =
        [Self::Gateway, Self::Caddy, Self::Traefik, Self::VhostCombined, Self::Combined, Self::Common];

    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gateway => "gateway",
            Self::Combined => "combined",
            Self::VhostCombined => "vhost-combined",
            Self::Common => "common",
            Self::Caddy => "caddy",
            Self::Traefik => "traefik",
        }
    }

    /// Whether its stamps are whole seconds.
    pub fn has_whole_seconds(self) -> bool {
        matches!(self, Self::Combined | Self::VhostCombined | Self::Common)
    }

    /// Whether its lines name the host that was asked for.
    pub(super) fn names_hosts(self) -> bool {
        !matches!(self, Self::Combined | Self::Common)
    }

    /// Whether its lines may have a field that a mapping names.
    pub(super) fn may_have(self, field: &str) -> bool {
        match self {
            Self::Gateway | Self::Caddy | Self::Traefik => true,
            Self::Combined | Self::VhostCombined => SHORT.contains(&field),
            Self::Common => SHORT[..2].contains(&field),
        }
    }
}
