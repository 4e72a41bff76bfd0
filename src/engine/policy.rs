//! What a configuration says of requests, in the form in which the steps use it.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::gate::Gate;
use super::identify::forward::Service;
use super::identify::{Passwords, Tokens, Verified};
use super::key_values::RecordedParts;
use super::ledger::Ledger;
use crate::client::TrustedProxies;
use crate::clock::Clock;
use crate::config::{Action, Auth, Balance, Config, Route};
use crate::consumer::Consumer;
use crate::field_names::FieldNames;
use crate::limit::Limiter;
use crate::limit::key::KeyPart;
use crate::route::{Source, Table};
use crate::shared_store::Store;

/// How many API keys are remembered that were right.
const VERIFIED_KEYS: usize = 100_000;

/// What a configuration says of requests, ready to decide about them.
pub struct Engine {
    pub(super) config: Config,
    pub(super) routes: Table,
    pub(super) limiter: Limiter,
    pub(super) trusted_proxies: TrustedProxies,
    pub(super) field_names: FieldNames,
    pub(super) recorded: RecordedParts,
    /// Where shared limits are kept; without it they are counted in this process.
    pub(super) ledger: Option<Ledger>,
    /// Whom each route lets in.
    pub(super) gates: Vec<Gate>,
    /// The API keys that were right before.
    pub(super) verified_keys: Verified<Arc<Consumer>>,
    pub(super) passwords: Arc<Passwords>,
    /// What verifies tokens, if some are believed.
    pub(super) tokens: Option<Tokens>,
    /// The service that is asked about callers; without it nobody is asked.
    pub(super) service: Option<Arc<Service>>,
    /// The names of the plans, as values of a field.
    plan_fields: Vec<HeaderValue>,
}

impl Engine {
    /// The engine of a configuration whose limits are these.
    pub fn new(config: Config, limiter: Limiter) -> Self {
        Self {
            routes: Table::new(config.routes.iter().map(Route::conditions)),
            trusted_proxies: TrustedProxies::new(&config.server.trusted_proxies)
                .naming_clients_in(config.server.client_ip_header.clone()),
            field_names: FieldNames::new(config.server.underscores_in_headers, counted_by(&config)),
            recorded: RecordedParts::new(&config),
            ledger: None,
            service: None,
            verified_keys: Verified::new(VERIFIED_KEYS),
            passwords: Arc::new(Passwords::new()),
            tokens: config.auth.as_ref().and_then(|auth| auth.jwt.as_ref()).map(Tokens::new),
            gates: config.routes.iter().map(|route| Gate::new(&route.access)).collect(),
            // The name of a plan has no character that a field value cannot have.
            plan_fields: config.plans.iter().filter_map(|name| HeaderValue::try_from(name).ok()).collect(),
            config,
            limiter,
        }
    }

    /// Goes on with what the engine before has found out about passwords, with the work on them, and with the keys of tokens that have been fetched.
    #[must_use]
    pub fn after(self, before: &Self) -> Self {
        let tokens = match (self.tokens, &before.tokens) {
            (Some(tokens), Some(before)) => Some(tokens.succeeding(before)),
            (tokens, _) => tokens,
        };
        Self { passwords: before.passwords.clone(), tokens, ..self }
    }

    /// Keeps the shared limits in this store, whose answers are timed by this clock.
    #[must_use]
    pub fn sharing(self, store: Arc<Store>, clock: Clock) -> Self {
        Self { ledger: Some(Ledger { store, clock }), ..self }
    }

    /// Asks this service about callers.
    #[must_use]
    pub fn asking(self, service: Option<Arc<Service>>) -> Self {
        Self { service, ..self }
    }

    /// The service that is asked about callers, if there is one.
    pub fn service(&self) -> Option<&Arc<Service>> {
        self.service.as_ref()
    }

    /// The store of the shared limits, if there is one.
    pub fn store(&self) -> Option<&Arc<Store>> {
        self.ledger.as_ref().map(|ledger| &ledger.store)
    }

    /// The configuration.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The limits, in the order of the configuration.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// The name of the plan with this index, as the value of a field.
    pub fn plan_field(&self, plan: usize) -> Option<&HeaderValue> {
        self.plan_fields.get(plan)
    }

    /// The part of a key whose values [`KeyValues`](super::KeyValues) tell under this index, as the configuration spells it.
    pub fn recorded_part(&self, index: usize) -> &str {
        self.recorded.name(index)
    }

    /// The route of this index. Indices come from the configuration itself, so there is one.
    pub fn route(&self, index: usize) -> &Route {
        &self.config.routes[index]
    }
}

/// The header fields by which limits count, routes are found, clients and callers are known, and upstreams and their
/// servers are chosen.
fn counted_by(config: &Config) -> impl Iterator<Item = &HeaderName> {
    let limits = config.limits.iter().map(|rule| &rule.key);
    let upstreams = config.upstreams.iter().filter_map(|upstream| match &upstream.balance {
        Balance::Hash(key) => Some(key),
        _ => None,
    });
    let splits = config.routes.iter().filter_map(|route| match &route.action {
        Action::Proxy { to, .. } => to.split()?.by.as_ref(),
        _ => None,
    });
    let required = config.routes.iter().flat_map(|route| &route.requirements);
    let required = required.filter_map(|requirement| match &requirement.source {
        Source::Header(name) => Some(name),
        Source::Query(_) => None,
    });
    let parts =
        limits.chain(upstreams).chain(splits).flat_map(|key| &key.parts).filter_map(|part| match part {
            KeyPart::Header(name) => Some(name),
            _ => None,
        });
    let of_clients = config.server.client_ip_header.iter();
    parts.chain(required).chain(of_clients).chain(config.auth.iter().flat_map(credential_fields))
}

/// The header fields that may have credentials.
fn credential_fields(auth: &Auth) -> impl Iterator<Item = &HeaderName> {
    let of_service = auth.forward.iter().flat_map(|forward| &forward.request_headers);
    auth.api_key.header.iter().chain(auth.jwt.iter().map(|jwt| &jwt.header)).chain(of_service)
}
