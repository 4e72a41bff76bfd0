//! `/limits`: each limit, and how single clients stand with it.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::http::{StatusCode, Uri};
use percent_encoding::percent_decode_str;
use serde::Serialize;
use utoipa::ToSchema;

use super::failure::{Error, Failure};
use super::token::Authorized;
use crate::clock::Timestamp;
use crate::engine::{Engine, NamedClient};
use crate::gateway::Gateway;
use crate::limit::table::Table;
use crate::limit::{Charge, Limit, Measure, Mode, Rate, Remaining};

/// A limit.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Limit)]
pub(super) struct Description {
    name: String,
    #[serde(flatten)]
    rule: RuleDescription,
    /// How many clients it has something to remember of.
    clients: usize,
}

/// What a limit goes by.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LimitRule)]
pub(super) struct RuleDescription {
    key: Vec<String>,
    #[serde(flatten)]
    measure: MeasureDescription,
    methods: Vec<String>,
    exempt: Vec<String>,
    mode: &'static str,
    overrides: usize,
    /// Whether all gateways with the same store keep it together.
    shared: bool,
}

/// What it counts.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Measure)]
enum MeasureDescription {
    Rate {
        tokens_per_second: f64,
        burst: u32,
        cost: u32,
        charge: &'static str,
        max_clients: usize,
        overflowed: u64,
    },
    Quota {
        quota: u32,
        /// In which it is counted: `hour`, `day`, `week` or `month`.
        period: &'static str,
        /// How many minutes the clock by which it is counted anew is ahead of UTC.
        utc_offset_minutes: i16,
        cost: u32,
        charge: &'static str,
        max_clients: usize,
        overflowed: u64,
    },
    InFlight {
        max_in_flight: u32,
    },
}

/// How a client stands with a limit.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Client {
    limit: String,
    /// As it may be shown.
    key: Vec<String>,
    unlimited: bool,
    #[serde(flatten)]
    standing: Option<RemainingDescription>,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Standing)]
enum RemainingDescription {
    Bucket { burst: u32, tokens: u32, next_token_seconds: Option<f64>, full_in_seconds: f64 },
    Window { quota: u32, left: u32, resets_in_seconds: f64 },
    InFlight { max_in_flight: u32, running: u32 },
}

/// Each limit, and how many clients it remembers.
#[utoipa::path(get, path = "/limits", operation_id = "limits", tag = "limits", responses((status = 200, description = "The limits.", body = Vec<Description>)))]
pub(super) async fn all(State(gateway): State<Arc<Gateway>>) -> Json<Vec<Description>> {
    let now = gateway.clock.now();
    let describe = |limit: &Limit| Description {
        name: limit.rule().name.clone(),
        rule: RuleDescription::of(limit),
        clients: limit.clients(now),
    };
    Json(gateway.active().engine.limiter().limits().iter().map(describe).collect())
}

impl RuleDescription {
    /// What this limit goes by.
    pub(super) fn of(limit: &Limit) -> Self {
        let rule = limit.rule();
        Self {
            key: rule.key.parts.iter().map(ToString::to_string).collect(),
            measure: match &rule.measure {
                Measure::Rate(rate) => MeasureDescription::Rate {
                    tokens_per_second: rate.quota.tokens_per_second(),
                    burst: rate.quota.burst(),
                    cost: rate.cost,
                    charge: charge(rate),
                    max_clients: rate.max_clients,
                    overflowed: overflowed(limit),
                },
                Measure::Quota(rate, calendar) => MeasureDescription::Quota {
                    quota: rate.quota.burst(),
                    period: calendar.period.name(),
                    utc_offset_minutes: calendar.utc_offset_minutes,
                    cost: rate.cost,
                    charge: charge(rate),
                    max_clients: rate.max_clients,
                    overflowed: overflowed(limit),
                },
                Measure::InFlight(max_in_flight) => {
                    MeasureDescription::InFlight { max_in_flight: *max_in_flight }
                }
            },
            methods: rule.methods.iter().map(ToString::to_string).collect(),
            exempt: rule.exempt.iter().map(ToString::to_string).collect(),
            mode: match rule.mode {
                Mode::Enforce => "enforce",
                Mode::DryRun => "dry_run",
            },
            overrides: rule.overrides.len(),
            shared: rule.shared.is_some(),
        }
    }
}

fn charge(rate: &Rate) -> &'static str {
    match rate.charge {
        Charge::Always => "always",
        Charge::OnFailure(_) => "on_failure",
        Charge::Header { .. } => "cost_header",
    }
}

fn overflowed(limit: &Limit) -> u64 {
    limit.tables().map(Table::overflowed).sum()
}

/// How a client stands with a limit.
#[utoipa::path(get, path = "/limits/{limit}/clients/{*key}", tag = "limits",
    params(
        ("limit" = String, Path, description = "Its name."),
        ("key" = String, Path, description = "The value of the limit's key; of a list, a segment for each, percent-encoded."),
        ("missing" = Option<bool>, Query, description = "The client of this address without the header, cookie or parameter that the limit goes by."),
    ),
    responses(
        (status = 200, description = "How it stands.", body = Client),
        (status = 400, description = "No client of this limit is called so.", body = Error),
        (status = 404, description = "There is no such limit.", body = Error),
    ),
)]
pub(super) async fn client(
    State(gateway): State<Arc<Gateway>>,
    Path((limit, _)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    uri: Uri,
) -> Result<Json<Client>, Failure> {
    let active = gateway.active();
    let named = find(&active.engine, &limit, &uri, query.as_deref())?;
    Ok(Json(describe(&active.engine, &named, gateway.clock.now()).await))
}

/// Fills a client's bucket, or counts it anew.
#[utoipa::path(delete, path = "/limits/{limit}/clients/{*key}", tag = "limits", security(("token" = [])),
    params(
        ("limit" = String, Path, description = "Its name."),
        ("key" = String, Path, description = "The value of the limit's key; of a list, a segment for each, percent-encoded."),
        ("missing" = Option<bool>, Query, description = "The client of this address without the header, cookie or parameter that the limit goes by."),
    ),
    responses(
        (status = 200, description = "How it stands now.", body = Client),
        (status = 400, description = "No client of this limit is called so.", body = Error),
        (status = 401, description = "The token is missing or wrong.", body = Error),
        (status = 403, description = "No token is configured.", body = Error),
        (status = 404, description = "There is no such limit.", body = Error),
        (status = 429, description = "Too many wrong tokens were shown: try again after `Retry-After`.", body = Error),
        (status = 409, description = "There is nothing to fill.", body = Error),
        (status = 503, description = "The bucket is in the store of shared limits, which does not answer.", body = Error),
    ),
)]
pub(super) async fn reset(
    _: Authorized,
    State(gateway): State<Arc<Gateway>>,
    Path((limit, _)): Path<(String, String)>,
    RawQuery(query): RawQuery,
    uri: Uri,
) -> Result<Json<Client>, Failure> {
    let active = gateway.active();
    let named = find(&active.engine, &limit, &uri, query.as_deref())?;
    let was_reset = active.engine.reset(&named, gateway.clock.now()).await.map_err(|error| {
        let what = format!("the bucket is in the store of shared limits, which cannot be asked: {error}");
        Failure::new(StatusCode::SERVICE_UNAVAILABLE, what)
    })?;
    if was_reset {
        return Ok(Json(describe(&active.engine, &named, gateway.clock.now()).await));
    }
    let what = match named.limit().rule().measure {
        Measure::InFlight(_) => "it counts the requests that are running: there is nothing to reset",
        Measure::Rate(_) | Measure::Quota(..) => "this client is never limited: there is nothing to reset",
    };
    Err(Failure::new(StatusCode::CONFLICT, what))
}

/// The client that the path names: one segment for each part of the limit's key, percent-encoded. With `?missing` it is
/// the client of this address without the header, cookie or parameter that the limit goes by.
fn find<'a>(
    engine: &'a Engine,
    limit: &str,
    uri: &Uri,
    query: Option<&str>,
) -> Result<NamedClient<'a>, Failure> {
    let unknown = || Failure::new(StatusCode::NOT_FOUND, format!("there is no limit {limit:?}"));
    let limit = engine.limit(limit).ok_or_else(unknown)?;
    // The path as it was sent: once it is decoded, an encoded slash in a value is gone.
    let (_, key) = uri.path().split_once("/clients/").unwrap_or_default();
    let values: Vec<String> =
        key.split('/').map(|part| percent_decode_str(part).decode_utf8_lossy().into_owned()).collect();
    let named = match (query, &*values) {
        (Some("missing" | "missing=true"), [address]) => engine.client_without_key(limit, address),
        (None | Some(""), values) => engine.client_of(limit, values),
        _ => return Err(Failure::new(StatusCode::BAD_REQUEST, "the query is \"missing\", or there is none")),
    };
    named.map_err(|error| Failure::new(StatusCode::BAD_REQUEST, error.to_string()))
}

async fn describe(engine: &Engine, named: &NamedClient<'_>, now: Timestamp) -> Client {
    let remaining = engine.peek(named, now).await;
    Client {
        limit: named.limit().rule().name.clone(),
        key: named.shown().to_vec(),
        unlimited: remaining.is_none(),
        standing: remaining.map(|remaining| match remaining {
            Remaining::Bucket(bucket) => {
                let level = bucket.level();
                RemainingDescription::Bucket {
                    burst: bucket.quota.burst(),
                    tokens: level.tokens,
                    next_token_seconds: level.next_token.map(|next| next.as_secs_f64()),
                    full_in_seconds: level.full_in.as_secs_f64(),
                }
            }
            Remaining::Window(window) => RemainingDescription::Window {
                quota: window.quota,
                left: window.left,
                resets_in_seconds: window.ends_in.as_secs_f64(),
            },
            Remaining::InFlight { running, max } => {
                RemainingDescription::InFlight { max_in_flight: max, running }
            }
        }),
    }
}
