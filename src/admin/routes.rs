//! What a route takes, and where it leads, as the configuration says it.

use serde::Serialize;
use utoipa::ToSchema;

use crate::config::{Action, Config, Destination, Route};

/// What a route takes, and where it leads.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RouteRule)]
pub(super) struct RouteDescription {
    /// Empty is any.
    hosts: Vec<String>,
    path: String,
    /// Empty is any.
    methods: Vec<String>,
    /// The header fields and query parameters that it asks for, without their values.
    requirements: Vec<String>,
    /// `forward`, `redirect` or `respond`.
    action: &'static str,
    /// The upstreams that it forwards to; without any, the gateway answers.
    upstreams: Vec<UpstreamShare>,
    /// What the gateway answers.
    status: Option<u16>,
    /// The limits that hold for it, those of the server first.
    limits: Vec<String>,
    /// How long an exchange may take; `null` is no bound.
    timeout_seconds: Option<f64>,
    /// The line of the configuration file where it begins.
    line: usize,
}

/// An upstream of a route.
#[derive(Debug, Serialize, ToSchema)]
struct UpstreamShare {
    name: String,
    /// The part of the requests of the route that it gets, from 0 to 1.
    share: f64,
}

impl RouteDescription {
    /// What this route of the configuration takes, and where it leads.
    pub(super) fn of(route: &Route, config: &Config) -> Self {
        let (action, upstreams, status) = match &route.action {
            Action::Proxy { to, .. } => ("forward", shares(to, config), None),
            Action::Redirect { status, .. } => ("redirect", Vec::new(), Some(status.as_u16())),
            Action::Respond { status, .. } => ("respond", Vec::new(), Some(status.as_u16())),
        };
        Self {
            hosts: route.hosts.iter().map(ToString::to_string).collect(),
            path: route.path.to_string(),
            methods: route.methods.iter().map(ToString::to_string).collect(),
            requirements: route.requirements.iter().map(|asked| asked.source.to_string()).collect(),
            action,
            upstreams,
            status,
            limits: route.limits.iter().map(|&limit| config.limits[limit].name.clone()).collect(),
            timeout_seconds: route.timeout.map(|timeout| timeout.as_secs_f64()),
            line: route.line,
        }
    }
}

/// What each upstream gets.
fn shares(to: &Destination, config: &Config) -> Vec<UpstreamShare> {
    let part = |index: usize, share| UpstreamShare { name: config.upstreams[index].name.clone(), share };
    match to {
        Destination::One(upstream) => vec![part(*upstream, 1.0)],
        Destination::Split(split) => {
            let shares = split.shares.all().iter();
            shares.map(|share| part(share.target, split.shares.fraction(share))).collect()
        }
    }
}
