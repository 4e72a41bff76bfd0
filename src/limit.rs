//! The limiter: all limits of a request, decided together.
//!
//! A request is admitted if every bucket that applies to it holds enough; then tokens are taken from each, and otherwise from none.
//! So all buckets are read first, and tokens are taken only if all hold enough. If another request has taken tokens in between, so that
//! one bucket holds too few after all, the tokens that were taken from the others are put back.

mod asked;
mod atomic_bucket;
mod attempt;
pub mod bucket;
mod bucket_ref;
pub mod calendar;
mod client_state;
mod consult;
mod demand;
pub mod fields;
pub mod key;
pub mod lease;
mod offenders;
mod override_bucket;
mod plans;
pub mod quota;
mod reading;
mod report;
mod rule;
mod saved;
pub mod snapshot;
mod state;
pub mod table;
#[cfg(test)]
mod tests;
mod tries;
mod window_ref;
mod windows;

use std::collections::HashMap;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use smallvec::SmallVec;
use tokio::sync::Notify;

use self::asked::Asked;
pub use self::attempt::{Attempt, Next, Reach};
use self::bucket::Wait;
use self::client_state::{ClientState, Held};
pub use self::consult::{OwnTerms, Standing};
pub use self::demand::Demand;
use self::key::{Fingerprint, Inputs, NoValue, Secret};
pub use self::offenders::Offender;
pub use self::reading::{Reading, Remaining, WindowReading};
use self::report::{Hold, Reserved};
pub use self::report::{Outcome, Report, Reservation};
pub use self::rule::{Charge, CostFault, Measure, Mode, Override, PlanTerms, Rate, Rule, Terms};
use self::saved::{SavedPlan, split_name};
use self::snapshot::{Moment, Snapshot};
use self::state::Around;
pub use self::state::Limit;
use self::table::{Answer, Table};
pub use self::tries::AUTH_FAILURES;
use self::window_ref::{Taken, WindowRef};
use crate::clock::{Timestamp, WallTime};

/// More limits than this on one request are unusual, and are kept on the heap.
const USUAL: usize = 4;

/// All limits of a configuration.
pub struct Limiter {
    limits: Vec<Limit>,
    secret: Secret,
    around: Around,
    /// The overflows that were counted of limits that no longer exist.
    overflowed_before: u64,
}

/// A limit had too little left; nothing was taken from any.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The index of the first limit that refused.
    pub limit: usize,
    /// How long until every bucket holds enough, if no other request takes from them.
    pub wait: Duration,
}

/// A request has no value of a limit's key, and the limit does not allow that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unkeyed {
    /// The limit's index.
    pub limit: usize,
    /// Why the request has no value.
    pub why: NoValue,
}

/// What the limits that apply to a request take for it.
pub struct Claims<'a> {
    inputs: &'a Inputs<'a>,
    claims: SmallVec<[Claim<'a>; USUAL]>,
    /// The limits that never count this client.
    exempt: SmallVec<[usize; USUAL]>,
    /// One of the limits is shared with other gateways.
    shared: bool,
    /// A client that is refused is noted among the offenders.
    noted: bool,
}

/// The client that a limit charges for a request.
#[derive(Clone, Copy, Debug)]
pub struct ClaimedBucket {
    /// The index of the limit.
    pub limit: usize,
    /// The client.
    pub client: Fingerprint,
    /// The tokens that the request takes, or that are reserved until its answer is known.
    pub cost: u32,
    /// The client has terms of its own, by an override or its plan.
    pub has_own_terms: bool,
}

/// What a limit takes for a request.
enum Claimed<'a> {
    /// Tokens or a permit of this client.
    Client(Claim<'a>),
    /// Nothing, since it does not count requests with this method.
    Uncounted,
    /// Nothing, since it never counts this client.
    Exempt,
}

/// A limit that applies to a request, and the client whose state it is charged to.
struct Claim<'a> {
    index: usize,
    limit: &'a Limit,
    client: Fingerprint,
    state: ClientState<'a>,
}

impl Limiter {
    /// The limits that follow `rules`, in their order, all buckets full.
    pub fn new(rules: Vec<Rule>, secret: Secret) -> Self {
        let around = Around::default();
        let limits = rules.into_iter().map(|rule| Limit::new(rule, &secret, &around)).collect();
        Self { limits, secret, around, overflowed_before: 0 }
    }

    /// The limits that follow `rules`, in their order, with the buckets that were saved.
    pub fn restored(rules: Vec<Rule>, saved: Snapshot, now: Timestamp) -> Self {
        let Snapshot { secret, limits, read_at } = saved;
        let (mut saved, mut plans) = (HashMap::new(), HashMap::<String, Vec<SavedPlan>>::new());
        for limit in limits {
            match split_name(&limit.name) {
                Some((name, plan)) => plans
                    .entry(name.to_owned())
                    .or_default()
                    .push(SavedPlan { plan: plan.to_owned(), table: limit.table }),
                None => drop(saved.insert(limit.name.clone(), limit)),
            }
        }
        let around = Around::default();
        if let Ok(wall) = jiff::Timestamp::from_nanosecond(read_at.wall.into()) {
            around.wall.set((read_at.clock, wall));
        }
        let limit = |rule: Rule| match saved.remove(&rule.name) {
            Some(saved) => {
                let plans = plans.remove(&rule.name).unwrap_or_default();
                Limit::restored(rule, &secret, &around, (&saved, &plans), now)
            }
            None => Limit::new(rule, &secret, &around),
        };
        let limits = rules.into_iter().map(limit).collect();
        Self { limits, secret, around, overflowed_before: 0 }
    }

    /// Writes all buckets that are in debt, for [`restored`](Self::restored). Requests may go on meanwhile.
    ///
    /// # Errors
    /// When `out` takes no more.
    pub fn save(&self, at: Moment, out: impl Write) -> io::Result<()> {
        snapshot::write(&self.limits, &self.secret, at, out)
    }

    /// The limits that follow `rules` from now on, in their order. Each takes over the clients of the limit that had its
    /// name, with the share of tokens that they have.
    pub fn succeeded_by(&self, rules: Vec<Rule>, now: Timestamp) -> Self {
        let before: HashMap<&str, &Limit> = self.limits.iter().map(|l| (l.rule().name.as_str(), l)).collect();
        let limit = |rule: Rule| match before.get(rule.name.as_str()) {
            Some(before) => before.succeeded_by(rule, &self.secret, &self.around, now),
            None => Limit::new(rule, &self.secret, &self.around),
        };
        let limits: Vec<_> = rules.into_iter().map(limit).collect();
        // The overflows of limits that no longer exist, or have begun anew, stay counted.
        Self {
            overflowed_before: self.overflowed().saturating_sub(overflowed(&limits)),
            limits,
            secret: self.secret.clone(),
            around: self.around.clone(),
        }
    }

    /// The limits, in the order of their rules.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// How many times a request had to share an overflow bucket, all limits together.
    pub fn overflowed(&self) -> u64 {
        self.overflowed_before + overflowed(&self.limits)
    }

    /// Notified when a lease of a shared limit needs a call without a request: see [`lease::Leases::urgent`].
    pub fn lease_work(&self) -> &Arc<Notify> {
        &self.around.lease_work
    }

    /// The wall clock's time, by which quotas by the calendar go. Until it is [set](WallTime::set), timestamps are taken for times
    /// since 1970. A limiter that takes the place of another one has the same.
    pub fn wall(&self) -> &WallTime {
        &self.around.wall
    }

    /// The secret under which keys are hashed, but those of shared limits.
    pub fn secret(&self) -> &Secret {
        &self.secret
    }

    /// What the limits with these indices take for a request.
    ///
    /// # Errors
    /// When the request has no value of a limit's key, and the limit rejects such requests.
    #[inline]
    pub fn claims<'a>(&'a self, limits: &[usize], inputs: &'a Inputs<'a>) -> Result<Claims<'a>, Unkeyed> {
        let mut claims = Claims::none(inputs);
        for &index in limits {
            match self.claim(index, inputs).map_err(|why| Unkeyed { limit: index, why })? {
                Claimed::Client(claim) => claims.push(claim),
                Claimed::Uncounted => {}
                Claimed::Exempt => claims.exempt.push(index),
            }
        }
        Ok(claims)
    }

    /// The same for a request that claimed these buckets of a limiter with the same rules and the same secret: the index of each limit, and
    /// the client. Of `inputs` only the client and the caller count. Who is refused is not noted among the
    /// [`offenders`](Limit::offenders).
    pub fn claims_again<'a>(
        &'a self,
        buckets: &[(usize, Fingerprint)],
        inputs: &'a Inputs<'a>,
    ) -> Claims<'a> {
        let mut claims = Claims { noted: false, ..Claims::none(inputs) };
        for &(index, client) in buckets {
            let limit = &self.limits[index];
            match limit.client_state(client, inputs.plan()) {
                Some(state) => claims.push(Claim { index, limit, client, state }),
                None => claims.exempt.push(index),
            }
        }
        claims
    }

    /// Prefetches the memory that a request changes which claims the bucket of this client, whose consumer has this plan, of the limit
    /// with this index.
    #[inline]
    pub fn touch(&self, limit: usize, client: Fingerprint, plan: Option<usize>) {
        if let Some(state) = self.limits[limit].client_state(client, plan) {
            state.touch(client);
        }
    }

    /// Takes all of the claims, or none, from the buckets of this process. The decision of each limit replaces the contents of `reservation`, also when the request
    /// is refused.
    ///
    /// # Errors
    /// When a limit has too little left.
    #[inline]
    pub fn reserve(
        &self,
        claims: &Claims<'_>,
        now: Timestamp,
        reservation: &mut Reservation,
    ) -> Result<(), Refusal> {
        reservation.reports.clear();
        reservation.release();
        claims.settle_plans(now);
        let Claims { inputs, claims, exempt, noted, .. } = claims;
        let shown_by = noted.then_some(*inputs);
        for &limit in exempt {
            reservation.reports.push(Report {
                limit,
                outcome: Outcome::Exempt,
                remaining: None,
                settled: None,
            });
        }
        match &**claims {
            [] => Ok(()),
            // A single limit has no other limit to agree with.
            [claim] => {
                claim.take(inputs, now, reservation);
                match reservation.reports.last() {
                    Some(Report { outcome: Outcome::Allowed, .. }) => Ok(()),
                    _ => self.conclude(claims, shown_by, now, &mut reservation.reports[exempt.len()..]),
                }
            }
            _ => self.reserve_all(claims, inputs, shown_by, now, reservation),
        }
    }

    fn reserve_all(
        &self,
        claims: &[Claim<'_>],
        inputs: &Inputs<'_>,
        shown_by: Option<&Inputs<'_>>,
        now: Timestamp,
        reservation: &mut Reservation,
    ) -> Result<(), Refusal> {
        // The cache lines of all buckets are fetched at the same time.
        claims.iter().for_each(|claim| claim.state.touch(claim.client));
        let exempt = reservation.reports.len();
        for claim in claims {
            reservation.reports.push(claim.report(claim.look(inputs, now)));
        }
        if !reservation.reports[exempt..].iter().any(Report::refuses) {
            reservation.reports.truncate(exempt);
            take_all(claims, inputs, now, reservation);
        }
        self.conclude(claims, shown_by, now, &mut reservation.reports[exempt..])
    }

    /// What a limit takes for a request.
    #[inline(always)]
    fn claim(&self, index: usize, inputs: &Inputs<'_>) -> Result<Claimed<'_>, NoValue> {
        let limit = &self.limits[index];
        if !limit.counts(inputs.method) {
            return Ok(Claimed::Uncounted);
        }
        if limit.exempts(inputs.client) {
            return Ok(Claimed::Exempt);
        }
        let client = limit.rule().key.fingerprint(inputs, limit.secret())?;
        Ok(match limit.client_state(client, inputs.plan()) {
            Some(state) => Claimed::Client(Claim { index, limit, client, state }),
            None => Claimed::Exempt,
        })
    }

    /// The decision of all limits together, from the reports of each. Notes which clients were refused, if there is something to show
    /// them by.
    #[inline(never)]
    fn conclude(
        &self,
        claims: &[Claim<'_>],
        shown_by: Option<&Inputs<'_>>,
        now: Timestamp,
        reports: &mut [Report],
    ) -> Result<(), Refusal> {
        let refusal = settle_refusal(reports);
        let Some(inputs) = shown_by else { return refusal };
        for (claim, report) in claims.iter().zip(reports) {
            if report.refuses() || report.outcome == Outcome::WouldRefuse {
                let (limit, rule) = (claim.limit, claim.limit.rule());
                let shown = || rule.key.shown(inputs, &self.secret, rule.show_keys);
                limit.note_offender(claim.client, now, shown);
            }
        }
        refusal
    }

    /// Settles what an admitted request costs where that depends on its answer, now that the answer is known. The bucket may
    /// come to owe it. `now` is called only if there is something to settle. Returns what is wrong with the costs that the
    /// answer names, with the index of the limit.
    pub fn settle(
        &self,
        reservation: &mut Reservation,
        status: StatusCode,
        answer: &HeaderMap,
        now: impl Fn() -> Timestamp,
    ) -> Vec<(usize, CostFault)> {
        self.settle_as(reservation, Some((status, answer)), now)
    }

    /// Ends the request: drops its permits, and settles reserved costs as those of a request without an answer.
    pub fn close(&self, reservation: &mut Reservation, now: impl Fn() -> Timestamp) {
        self.settle_as(reservation, None, now);
        reservation.release();
    }

    fn settle_as(
        &self,
        reservation: &mut Reservation,
        answer: Option<(StatusCode, &HeaderMap)>,
        now: impl Fn() -> Timestamp,
    ) -> Vec<(usize, CostFault)> {
        let mut faults = Vec::new();
        for Reserved { limit: index, client, plan, hold } in reservation.reserved.drain(..) {
            let limit = &self.limits[index];
            let (Some(rate), Some(state)) = (limit.rule().rate(), limit.client_state(client, plan)) else {
                continue;
            };
            let now = now();
            let (cost, fault) = rate.charge.settled(rate.cost, answer);
            faults.extend(fault.map(|fault| (index, fault)));
            match hold {
                Hold::Shared(kept) => kept.settle(cost, now),
                Hold::Bucket { origin, permit } => {
                    let ClientState::Held(Held::Reserved(bucket_ref, _)) = state.here() else { continue };
                    // The cost is charged before its reservation ends, so that it counts at every moment.
                    if cost > 0 {
                        bucket_ref.owe(client, cost, now, origin);
                    }
                    drop(permit);
                }
                Hold::Window { at, origin, permit } => {
                    let ClientState::Window(window) = state else { continue };
                    if cost > 0 {
                        window.settle(client, cost, at, origin);
                    }
                    drop(permit);
                }
            }
            if let Some(report) = reservation.reports.iter_mut().find(|report| report.limit == index) {
                report.remaining = Some(state.look(client, 0, now, || None).remaining);
                report.settled = Some(cost);
            }
        }
        faults
    }
}

/// How many times a request had to share an overflow bucket of these limits.
fn overflowed(limits: &[Limit]) -> u64 {
    limits.iter().flat_map(Limit::tables).map(Table::overflowed).sum()
}

/// Takes all of the claims, or none.
fn take_all(claims: &[Claim<'_>], inputs: &Inputs<'_>, now: Timestamp, reservation: &mut Reservation) {
    let exempt = reservation.reports.len();
    let mut all_taken = SmallVec::<[Option<Taken>; USUAL]>::new();
    for claim in claims {
        all_taken.push(claim.take(inputs, now, reservation));
        if reservation.reports.last().is_some_and(Report::refuses) {
            reservation.release();
            return refund(claims, inputs, &all_taken, &mut reservation.reports[exempt..], now);
        }
    }
}

/// Puts back what was taken for the claims before a refusal.
fn refund(
    claims: &[Claim<'_>],
    inputs: &Inputs<'_>,
    all_taken: &[Option<Taken>],
    reports: &mut [Report],
    now: Timestamp,
) {
    for ((claim, taken), report) in claims.iter().zip(all_taken).zip(reports) {
        if let Some(taken) = taken {
            claim.refund(*taken);
        }
        if report.outcome == Outcome::Allowed {
            report.remaining = Some(claim.look(inputs, now).remaining);
        }
    }
}

impl<'a> Claims<'a> {
    /// Those of a request that no limit counts.
    #[inline]
    fn none(inputs: &'a Inputs<'a>) -> Self {
        Self { inputs, claims: SmallVec::new(), exempt: SmallVec::new(), shared: false, noted: true }
    }

    #[inline]
    fn push(&mut self, claim: Claim<'a>) {
        self.shared |= matches!(claim.state, ClientState::Shared(_));
        self.claims.push(claim);
    }

    /// The indices of the limits that never count this client.
    pub fn exempt(&self) -> &[usize] {
        &self.exempt
    }

    /// Brings what each consumer lacks in the buckets of other plans into its own, before that is asked.
    #[inline]
    fn settle_plans(&self, now: Timestamp) {
        if self.inputs.caller.is_some() {
            for claim in &self.claims {
                claim.limit.settle_plans(claim.client, self.inputs, now);
            }
        }
    }

    /// Whether one of the limits is shared with other gateways: then an [`Attempt`] takes them.
    pub fn are_shared(&self) -> bool {
        self.shared
    }

    /// The buckets that are charged.
    pub fn buckets(&self) -> impl Iterator<Item = ClaimedBucket> {
        self.claims.iter().map(|claim| ClaimedBucket {
            limit: claim.index,
            client: claim.client,
            cost: claim.limit.cost(),
            has_own_terms: claim.state.has_own_terms() || claim.limit.has_terms_of(self.inputs.plan()),
        })
    }
}

impl Claim<'_> {
    /// The cost of the claim, which is reserved like this.
    fn reserved(&self, inputs: &Inputs<'_>, hold: Hold) -> Reserved {
        Reserved { limit: self.index, client: self.client, plan: inputs.plan(), hold }
    }

    fn look(&self, inputs: &Inputs<'_>, now: Timestamp) -> Asked {
        let limit = self.limit;
        self.state.look(self.client, limit.cost(), now, move || limit.origin(inputs.client))
    }

    /// Takes the claim, and reports the decision. Returns what was taken of a bucket.
    #[inline(always)]
    fn take(&self, inputs: &Inputs<'_>, now: Timestamp, reservation: &mut Reservation) -> Option<Taken> {
        let limit = self.limit;
        match self.state {
            ClientState::Bucket(bucket_ref) => {
                let (quota, answer) =
                    bucket_ref.take(self.client, limit.cost(), now, move || limit.origin(inputs.client));
                let Answer { verdict, bucket, place } = answer;
                reservation.reports.push(self.report(Asked::bucket(verdict, *quota, bucket, now)));
                verdict.is_ok().then_some(Taken { place, at: now })
            }
            ClientState::Held(held) => {
                self.hold(held, inputs, now, reservation);
                None
            }
            ClientState::Shared(shared) => {
                Claim { state: shared.here(), ..*self }.take_alone(inputs, now, reservation)
            }
            ClientState::Window(window) => self.take_in_window(window, inputs, now, reservation),
        }
    }

    /// Puts back what was taken of a bucket.
    fn refund(&self, taken: Taken) {
        let cost = self.limit.cost();
        match self.state.here() {
            ClientState::Bucket(home) => home.refund(self.client, cost, taken.at, taken.place),
            ClientState::Window(window) => window.refund(self.client, cost, taken),
            ClientState::Held(_) | ClientState::Shared(_) => {}
        }
    }

    /// Takes tokens of the present window, or the permit by which they are reserved, and reports the decision.
    #[inline(never)]
    fn take_in_window(
        &self,
        window: WindowRef<'_>,
        inputs: &Inputs<'_>,
        now: Timestamp,
        reservation: &mut Reservation,
    ) -> Option<Taken> {
        let (limit, cost) = (self.limit, self.limit.cost());
        let Some(running) = window.running else {
            let (asked, taken) = window.take(self.client, cost, now, || limit.origin(inputs.client));
            reservation.reports.push(self.report(asked));
            return taken;
        };
        let origin = limit.origin(inputs.client);
        let (asked, reserved) = window.reserve(running, self.client, cost, now, origin);
        reservation.reports.push(self.report(asked));
        if let Some((permit, at)) = reserved {
            reservation.reserved.push(self.reserved(inputs, Hold::Window { at, origin, permit }));
        }
        None
    }

    /// Takes the claim on a shared limit as if there were no other gateway.
    #[cold]
    #[inline(never)]
    fn take_alone(
        &self,
        inputs: &Inputs<'_>,
        now: Timestamp,
        reservation: &mut Reservation,
    ) -> Option<Taken> {
        self.take(inputs, now, reservation)
    }

    /// Takes the permit that the request holds as long as it runs, and reports the decision.
    #[inline(never)]
    fn hold(&self, held: Held<'_>, inputs: &Inputs<'_>, now: Timestamp, reservation: &mut Reservation) {
        let origin = self.limit.origin(inputs.client);
        let (asked, mut permit) = held.acquire(self.client, self.limit.cost(), now, origin);
        let report = self.report(asked);
        if report.outcome == Outcome::WouldRefuse {
            permit = held.acquire_anyway(self.client);
        }
        reservation.reports.push(report);
        match (held, permit) {
            (_, None) => {}
            (Held::InFlight(..), Some(permit)) => reservation.permits.push(permit),
            (Held::Reserved(..), Some(permit)) => {
                let hold = Hold::Bucket { origin, permit };
                reservation.reserved.push(self.reserved(inputs, hold));
            }
        }
    }

    #[inline]
    fn report(&self, Asked { verdict, remaining }: Asked) -> Report {
        let outcome = match (verdict, self.limit.rule().mode) {
            (Ok(()), _) => Outcome::Allowed,
            (Err(wait), Mode::Enforce) => Outcome::Refused(wait),
            (Err(_), Mode::DryRun) => Outcome::WouldRefuse,
        };
        Report { limit: self.index, outcome, remaining: Some(remaining), settled: None }
    }
}

/// The decision of all limits together. If one refused, the request is refused, and the other limits are reported as spared.
fn settle_refusal(reports: &mut [Report]) -> Result<(), Refusal> {
    let mut refusal: Option<Refusal> = None;
    for report in &*reports {
        if let Outcome::Refused(Wait(wait)) = report.outcome {
            let first = refusal.get_or_insert(Refusal { limit: report.limit, wait });
            first.wait = first.wait.max(wait);
        }
    }
    let Some(refusal) = refusal else { return Ok(()) };
    for report in reports {
        if matches!(report.outcome, Outcome::Allowed | Outcome::WouldRefuse) {
            report.outcome = Outcome::Spared;
        }
    }
    Err(refusal)
}
