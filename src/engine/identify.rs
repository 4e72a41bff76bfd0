//! The step that says who is asking. It may wait, for a service that knows callers.
//!
//! A route has a list of ways to prove who is calling. They are tried in their order, and the first whose credentials a request has
//! decides: a request with wrong credentials is refused, whatever else it has. Each way is a file here.

mod api_key;
mod basic;
mod client_certificate;
pub(super) mod forward;
mod jwt;
mod passwords;
mod proof;
mod tokens;
mod turns;
mod verified;

use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, StatusCode, header};

use self::forward::{Told, Verdict};
pub(super) use self::passwords::Passwords;
use self::proof::{Credentials, Unproven};
pub(super) use self::tokens::Tokens;
use self::turns::Turn;
pub(super) use self::verified::Verified;
use super::{Engine, Facts, Located, Reply};
use crate::client::ClientId;
use crate::clock::Timestamp;
use crate::config::{Auth, Basic, Route, Way};
use crate::consumer::Consumer;
use crate::limit::Reservation;
use crate::limit::key::{Caller, Inputs};

/// When a request may be made again whose credentials could not be verified.
const PAUSE: Duration = Duration::from_secs(1);

/// The caller, for limits and upstreams.
#[derive(Clone, Debug)]
pub struct Principal<'a> {
    /// The client that the request is attributed to.
    pub client: &'a ClientId,
    /// The consumer, if one has proved to be calling.
    pub consumer: Option<Arc<Consumer>>,
    /// What a service that was asked says of the caller, for the upstream.
    pub told: Option<Told>,
}

impl<'a> Principal<'a> {
    /// A client that has proved nothing.
    pub fn stranger(client: &'a ClientId) -> Self {
        Self { client, consumer: None, told: None }
    }

    /// The consumer, as keys of limits and upstreams know it.
    pub fn caller(&self) -> Option<Caller<'_>> {
        self.consumer.as_ref().map(|consumer| Caller { consumer: consumer.name(), plan: consumer.plan() })
    }
}

impl Engine {
    /// The principal of a request to this route. `tries` is where it is reported that a client has tried too often; without it, nothing is
    /// charged for a try that fails.
    ///
    /// # Errors
    /// The answer to a client whose address is not let in, and to a request that does not say who is asking where its route wants to know,
    /// or says it with wrong credentials, or from a client that has tried too often.
    pub async fn identify<'a>(
        &self,
        located: &Located<'_>,
        facts: &Facts<'a>,
        now: Timestamp,
        tries: Option<&mut Reservation>,
    ) -> Result<Principal<'a>, Reply> {
        self.gates[located.route_index()].admit_address(facts.client)?;
        let stranger = Principal::stranger(facts.client);
        let access = &located.route().access;
        let Some(auth) = self.config.auth.as_ref().filter(|_| !access.ways.is_empty()) else {
            return Ok(stranger);
        };
        for way in &access.ways {
            let found = way.find(auth, facts, located.query()).transpose();
            let Some(found) = found else { continue };
            if *way == Way::Forward {
                return self.ask_service(Some(found), located, facts, now, tries).await;
            }
            let proved = self.prove(*way, found, located, facts, now, tries).await?;
            return Ok(Principal { consumer: Some(proved), ..stranger });
        }
        match access.lets_strangers_in {
            true => Ok(stranger),
            // It may know the caller by something else.
            false if access.ways.contains(&Way::Forward) => {
                self.ask_service(None, located, facts, now, tries).await
            }
            false => Err(self.unauthorized(&access.ways, None, "this route wants to know who is asking")),
        }
    }

    /// Lets a caller in to a route, or not.
    ///
    /// # Errors
    /// The answer to a caller that is not let in.
    pub(super) fn let_in(&self, located: &Located<'_>, principal: &Principal<'_>) -> Result<(), Reply> {
        match self.gates[located.route_index()].admit(principal.client, principal.consumer.as_deref())? {
            true => Ok(()),
            false => {
                let ways = &located.route().access.ways;
                Err(self.unauthorized(ways, None, "this route lets in only callers that it knows"))
            }
        }
    }

    /// The principal of a request that a log tells of, which names its consumer and its plan. If the file gives the consumer a plan, that
    /// holds: the file may be another one than when the log was written.
    pub fn recorded_principal<'a>(
        &self,
        client: &'a ClientId,
        consumer: Option<&str>,
        plan: Option<&str>,
    ) -> Principal<'a> {
        let consumers = &self.config.consumers;
        let known = |name: &str| {
            let of_file = consumers.named(name).and_then(|known| known.plan());
            let of_log = || self.config.plan(plan?);
            consumers.known_as(name, of_file.or_else(of_log))
        };
        Principal { consumer: consumer.map(known), ..Principal::stranger(client) }
    }

    /// Who is calling by the word of the service, and what the upstream is told of the caller. `found` are the credentials that the request
    /// has. Without `tries` nobody is asked, and the caller is a stranger.
    async fn ask_service<'a>(
        &self,
        found: Option<Result<Credentials<'_>, Unproven>>,
        located: &Located<'_>,
        facts: &Facts<'a>,
        now: Timestamp,
        mut tries: Option<&mut Reservation>,
    ) -> Result<Principal<'a>, Reply> {
        let stranger = Principal::stranger(facts.client);
        let inputs = located.inputs(facts, &stranger);
        let has_tried = found.is_some();
        if has_tried {
            self.may_try(&inputs, now, tries.as_deref_mut())?;
        }
        if let Some(Err(unproven)) = found {
            return Err(self.unproven(Way::Forward, unproven, &inputs, now, tries.is_some()));
        }
        let (Some(service), Some(tries)) = (&self.service, tries) else { return Ok(stranger) };
        // In a box, so that requests which do not wait carry no room for it.
        let asking = Box::pin(forward::ask(service, &self.config, located, facts, now));
        let verdict = match has_tried {
            true => self.tried(asking, &inputs, now, Some(tries)).await?,
            false => asking.await,
        };
        let verdict =
            verdict.map_err(|unproven| self.unproven(Way::Forward, unproven, &inputs, now, has_tried))?;
        match verdict {
            Verdict::Allowed(consumer, told) => Ok(Principal { consumer, told: Some(told), ..stranger }),
            Verdict::Stranger => Ok(stranger),
            Verdict::Unanswered => Err(Reply::unavailable("nobody can say now who is asking", PAUSE)),
            Verdict::Refused(refused) if refused.status == StatusCode::UNAUTHORIZED => {
                if let Some(limit) = self.config.auth_failures.filter(|_| has_tried) {
                    self.limiter.failed_try(limit, &inputs, now);
                }
                let detail = "the service that is asked about callers does not know this one";
                let challenges = refused.challenges.iter().cloned();
                let ways = &located.route().access.ways;
                let is_told = |way: &Way| match way {
                    Way::Forward => refused.challenges.is_empty(),
                    _ => !has_tried,
                };
                let ways: Vec<_> = ways.iter().copied().filter(is_told).collect();
                let reply = self.unauthorized(&ways, None, detail);
                Err(challenges.fold(reply, |reply, challenge| reply.with("WWW-Authenticate", challenge)))
            }
            Verdict::Refused(refused) => {
                let detail = "the service that is asked about callers does not let this one in";
                Err(Reply::problem(refused.status, detail))
            }
        }
    }

    /// Whether upstreams of this route do not get the field `Authorization` of a request.
    pub fn takes_out_authorization(&self, route: &Route, headers: &HeaderMap) -> bool {
        self.passwords_of_users().is_some_and(|basic| !basic.keep)
            && route.access.ways.contains(&Way::Basic)
            && headers.get_all(header::AUTHORIZATION).iter().any(basic::is_of_scheme)
    }

    /// `[auth.basic]`
    fn passwords_of_users(&self) -> Option<&Basic> {
        self.config.auth.as_ref()?.basic.as_ref()
    }

    /// The consumer that has these credentials. Before they are looked at, the client is asked for how often it has failed.
    async fn prove(
        &self,
        way: Way,
        found: Result<Credentials<'_>, Unproven>,
        located: &Located<'_>,
        facts: &Facts<'_>,
        now: Timestamp,
        mut tries: Option<&mut Reservation>,
    ) -> Result<Arc<Consumer>, Reply> {
        let stranger = Principal::stranger(facts.client);
        let inputs = located.inputs(facts, &stranger);
        self.may_try(&inputs, now, tries.as_deref_mut())?;
        let is_charged = tries.is_some();
        let refuse = |unproven| self.unproven(way, unproven, &inputs, now, is_charged);
        let credentials = found.map_err(refuse)?;
        // One that takes long is charged before the next one's turn.
        let turn = match way.takes_long(self, &credentials, now) {
            true => {
                // In a box, so that requests which do not wait carry no room for it.
                let turn = Box::pin(self.passwords.turn(facts.client));
                Some(self.tried(turn, &inputs, now, tries.as_deref_mut()).await?.map_err(refuse)?)
            }
            false => None,
        };
        let verifying = way.verify(self, &credentials, now, is_charged, turn.clone());
        self.tried(verifying, &inputs, now, tries).await?.map_err(refuse)
    }

    /// What comes of a try that may have to wait. Others of the client's tries may fail meanwhile, so the client is asked again then for how
    /// often it has failed: however many it makes at once, those that are too many get no answer, whatever it is.
    async fn tried<T>(
        &self,
        trying: impl Future<Output = T>,
        inputs: &Inputs<'_>,
        now: Timestamp,
        tries: Option<&mut Reservation>,
    ) -> Result<T, Reply> {
        let mut trying = pin!(trying);
        if let Poll::Ready(outcome) = futures_util::poll!(trying.as_mut()) {
            return Ok(outcome);
        }
        let outcome = trying.await;
        self.may_try(inputs, now, tries)?;
        Ok(outcome)
    }

    /// The answer to a request whose credentials prove nothing. The client is charged, if it has tried something.
    fn unproven(
        &self,
        way: Way,
        unproven: Unproven,
        inputs: &Inputs<'_>,
        now: Timestamp,
        is_charged: bool,
    ) -> Reply {
        if let Some(limit) = self.config.auth_failures
            && is_charged
            && unproven.is_failed_try()
        {
            self.limiter.failed_try(limit, inputs, now);
        }
        match unproven.status() {
            StatusCode::UNAUTHORIZED => self.unauthorized(&[way], Some(unproven.detail()), unproven.detail()),
            StatusCode::SERVICE_UNAVAILABLE => Reply::unavailable(unproven.detail(), PAUSE),
            status => Reply::problem(status, unproven.detail()),
        }
    }

    /// Refuses a client that has failed too often.
    fn may_try(
        &self,
        inputs: &Inputs<'_>,
        now: Timestamp,
        tries: Option<&mut Reservation>,
    ) -> Result<(), Reply> {
        let Some(limit) = self.config.auth_failures else { return Ok(()) };
        match tries {
            Some(reservation) => self
                .limiter
                .before_try(limit, inputs, now, reservation)
                .map_err(|refusal| self.refused(refusal, reservation.reports())),
            None => match self.limiter.wait_before_try(limit, inputs, now) {
                Some(refusal) => Err(self.refused(refusal, &[])),
                None => Ok(()),
            },
        }
    }

    /// The answer to a request without credentials, or with wrong ones (RFC 9110, section 15.5.2). `wrong` says what is wrong with them.
    fn unauthorized(&self, ways: &[Way], wrong: Option<&str>, detail: &str) -> Reply {
        let mut reply = Reply::problem(StatusCode::UNAUTHORIZED, detail);
        for way in ways {
            let challenge = self.config.auth.as_ref().and_then(|auth| way.challenge(auth, wrong));
            if let Some(value) = challenge.and_then(|text| HeaderValue::try_from(text).ok()) {
                reply = reply.with("WWW-Authenticate", value);
            }
        }
        reply
    }
}

impl Way {
    /// The credentials that a request has for this way. It may take no time.
    fn find<'a>(
        self,
        auth: &'a Auth,
        facts: &'a Facts<'_>,
        query: Option<&'a [u8]>,
    ) -> Result<Option<Credentials<'a>>, Unproven> {
        match self {
            Self::ApiKey => api_key::find(&auth.api_key, facts, query),
            Self::Basic => basic::find(facts.headers),
            Self::Jwt => auth.jwt.as_ref().map_or(Ok(None), |jwt| jwt::find(jwt, facts)),
            Self::Forward => auth.forward.as_ref().map_or(Ok(None), |forward| forward::find(forward, facts)),
            Self::ClientCertificate => client_certificate::find(facts),
        }
    }

    /// Whether verifying these credentials takes long.
    fn takes_long(self, engine: &Engine, found: &Credentials<'_>, now: Timestamp) -> bool {
        match self {
            // A signature takes less than a millisecond.
            Self::ApiKey | Self::Jwt | Self::Forward | Self::ClientCertificate => false,
            Self::Basic => engine
                .passwords_of_users()
                .is_some_and(|basic| basic::takes_long(basic, &engine.passwords, found, now)),
        }
    }

    /// The consumer that has these credentials. `may_wait` says whether the request is there to wait, or only asked about. If it takes long,
    /// it is the `turn` of the client.
    async fn verify(
        self,
        engine: &Engine,
        found: &Credentials<'_>,
        now: Timestamp,
        may_wait: bool,
        turn: Option<Arc<Turn>>,
    ) -> Result<Arc<Consumer>, Unproven> {
        match self {
            Self::ApiKey => api_key::verify(&engine.config.consumers, &engine.verified_keys, found, now),
            Self::ClientCertificate => {
                let settings = engine.config.auth.as_ref().map(|auth| auth.client_certificate);
                client_certificate::verify(settings.unwrap_or_default(), &engine.config.consumers, found)
            }
            Self::Basic => {
                let basic = engine.passwords_of_users().ok_or(basic::WRONG)?;
                let consumers = &engine.config.consumers;
                Box::pin(basic::verify(basic, &engine.passwords, consumers, found, now, turn)).await
            }
            Self::Jwt => jwt::verify(engine, found, now, may_wait).await,
            Self::Forward => Err(Unproven::Wrong("only a service can say who is asking")),
        }
    }

    /// What a client is told that has no credentials for this way, or wrong ones.
    fn challenge(self, auth: &Auth, wrong: Option<&str>) -> Option<String> {
        match self {
            Self::ApiKey => Some(api_key::challenge(&auth.api_key)),
            Self::Basic => auth.basic.as_ref().map(basic::challenge),
            Self::Jwt => auth.jwt.as_ref().map(|jwt| jwt::challenge(jwt, wrong)),
            Self::Forward => auth.forward.as_ref().map(forward::challenge),
            // There is no scheme for what happens in the handshake.
            Self::ClientCertificate => None,
        }
    }
}
