//! What an explanation says.

use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::upstream;

/// What becomes of a request.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Explanation {
    pub(super) request: Request,
    pub(super) answer: Answer,
    pub(super) client: Client,
    /// Who has proved to be calling, where the route wants to know.
    pub(super) caller: Option<Caller>,
    /// Fields that are taken away before anything is decided.
    pub(super) dropped: Vec<Dropped>,
    /// The route that takes it.
    pub(super) route: Option<Route>,
    /// Routes that it may have been meant for, the most alike first.
    pub(super) near_misses: Vec<NearMiss>,
    /// How many more there are.
    pub(super) more_near_misses: usize,
    /// The limits of the route, in the order in which they are asked.
    pub(super) limits: Vec<Limit>,
    /// Where it is sent, if it is admitted.
    pub(super) upstream: Option<Upstream>,
    /// The head that the upstream receives.
    pub(super) sent: Option<Sent>,
}

/// The request, as the gateway reads it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExplainedRequest)]
pub(super) struct Request {
    pub(super) method: String,
    pub(super) scheme: &'static str,
    pub(super) host: String,
    pub(super) target: String,
    pub(super) from: String,
}

/// What its client gets.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExplainedAnswer)]
pub(super) struct Answer {
    /// `forwarded`: the upstream answers; `configured`: the route does; `refused`: the gateway does.
    pub(super) kind: &'static str,
    /// The status, unless the upstream answers.
    pub(super) status: Option<u16>,
    /// In words.
    pub(super) summary: String,
    /// The fields that are special to this answer.
    pub(super) fields: Vec<Field>,
}

/// A header field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ExplainedField)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) value: String,
}

/// Which client the request is attributed to.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExplainedClient)]
pub(super) struct Client {
    /// `None` if two fields name different clients.
    pub(super) identity: Option<String>,
    pub(super) peer_is_trusted: bool,
    /// How it was found, in words.
    pub(super) why: Vec<String>,
}

/// Who has proved to be calling.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExplainedCaller)]
pub(super) struct Caller {
    /// The name of the consumer; `None` if nobody has proved anything.
    pub(super) consumer: Option<String>,
    pub(super) plan: Option<String>,
    /// Why it is let in or not, in words.
    pub(super) why: Vec<String>,
}

/// A field that is taken away.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = DroppedField)]
pub(super) struct Dropped {
    pub(super) name: String,
    pub(super) why: &'static str,
}

/// A route.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExplainedRoute)]
pub(super) struct Route {
    pub(super) name: String,
    /// The included file that has it; missing if it is the configuration file itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    /// The line of its file where it begins.
    pub(super) line: usize,
    /// Empty is any.
    pub(super) hosts: Vec<String>,
    pub(super) path: String,
    /// Empty is any.
    pub(super) methods: Vec<String>,
    /// The header fields and parameters that it asks for.
    pub(super) requirements: Vec<String>,
    pub(super) timeout_seconds: Option<f64>,
    pub(super) max_body_size: u64,
    /// What is changed in its answers, how they are compressed, and whether the limits of all routes are not its own, in words.
    pub(super) changes: Vec<String>,
}

/// A route that the request may have been meant for.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(super) struct NearMiss {
    pub(super) route: String,
    /// The included file that has it; missing if it is the configuration file itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) file: Option<String>,
    pub(super) line: usize,
    pub(super) path: String,
    /// Why it does not take the request, in words.
    pub(super) why: Vec<String>,
}

/// What a limit makes of the request.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExplainedLimit)]
pub(super) struct Limit {
    pub(super) name: String,
    /// Whether it counts the request.
    pub(super) counts: bool,
    /// What it allows this client, in words.
    pub(super) terms: String,
    /// Whose bucket it is: the parts of its key.
    pub(super) key: Vec<String>,
    /// The value of each part in this request, as it may be shown.
    pub(super) value: Vec<String>,
    /// `enforce` or `dry_run`.
    pub(super) mode: &'static str,
    /// The status of a refusal.
    pub(super) status: u16,
    /// The tokens that the request takes.
    pub(super) cost: Option<u32>,
    /// Whether other gateways keep it together with this one.
    pub(super) shared: bool,
    /// What else is to be known, in words.
    pub(super) notes: Vec<String>,
    /// What the client has left: whole tokens, or requests at a time; `null` if only the store of a shared limit knows.
    pub(super) left: Option<u32>,
    /// The most that it can have left.
    pub(super) most: Option<u32>,
    /// Whether there is too little left for the request.
    pub(super) lacks: bool,
}

/// The upstream that the request goes to.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = ExplainedUpstream)]
pub(super) struct Upstream {
    pub(super) name: String,
    /// Where the route has several: what each gets, and how one is chosen, in words.
    pub(super) shares: Option<String>,
    pub(super) servers: Vec<String>,
    /// How one of them is chosen, in words.
    pub(super) choice: String,
    /// `HTTP/1.1` or `HTTP/2`.
    pub(super) protocol: &'static str,
    pub(super) tls: bool,
    pub(super) connect_timeout_seconds: f64,
    pub(super) response_timeout_seconds: f64,
    pub(super) read_timeout_seconds: Option<f64>,
    /// How often it is sent again if it fails, in words.
    pub(super) retries: String,
    /// Whether a server of it can be used, where a running gateway is asked.
    pub(super) usable: Option<bool>,
    /// How each of its servers does then, in words.
    pub(super) state: Option<String>,
}

impl Explanation {
    /// Tells how the upstream of the request does, which is one of these, at this time.
    pub fn note_state(&mut self, upstreams: &[Arc<upstream::Upstream>], now: Timestamp) {
        let Some(told) = &mut self.upstream else { return };
        if let Some(upstream) = upstreams.iter().find(|upstream| upstream.name() == told.name) {
            (told.usable, told.state) = (Some(upstream.is_usable(now)), Some(upstream.state_of_servers(now)));
        }
    }
}

/// A head as an upstream receives it.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = SentHead)]
pub(super) struct Sent {
    pub(super) method: String,
    pub(super) target: String,
    pub(super) version: &'static str,
    pub(super) fields: Vec<Field>,
}
