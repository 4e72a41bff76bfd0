//! The reservation of a request of whose limits some are shared with other gateways.
//!
//! All limits admit the request, or nothing is taken from any. First come the limits of this process and the tokens that leases hold; the
//! store is asked only if a lease lacks tokens and nothing has refused yet. What was taken is held meanwhile, and put back if the store
//! refuses. The store grants all of what is asked in one call, or nothing.
//!
//! An attempt neither waits nor calls: [`Next`] says what its owner has to do.

use smallvec::{SmallVec, smallvec};
use std::time::Duration;

use super::asked::Asked;
use super::bucket::Wait;
use super::client_state::{ClientState, SharedRef};
use super::key::Fingerprint;
use super::lease::{Answer, Ask, KeptTokens, Leases, Lot, OnError, Share, Sharing, Taken as Leased};
use super::report::Hold;
use super::rule::Mode;
use super::window_ref::Taken;
use super::{Claim, Claims, Limiter, Outcome, Refusal, Remaining, Report, Reservation, USUAL};
use crate::clock::Timestamp;

/// When a request may be made again that was refused since the store does not answer.
const ANSWER_PAUSE: Duration = Duration::from_secs(1);

/// The reservation of a request, as far as it has come. Dropping it ends the calls that it has begun.
pub struct Attempt<'a, 'c> {
    limiter: &'a Limiter,
    claims: &'a Claims<'c>,
    gateways: u32,
    /// What has been done about each claim.
    marks: SmallVec<[Mark; USUAL]>,
    /// What each claim's limit has decided.
    reports: SmallVec<[Option<Report>; USUAL]>,
    /// The calls that have been begun, each with the index of its claim.
    calls: SmallVec<[(usize, Ask); 2]>,
    begun: bool,
}

/// What has been done about a claim.
#[derive(Clone, Copy)]
enum Mark {
    /// Nothing yet.
    Open,
    /// The lease lacks tokens. `waited` if a call of another request was waited for.
    Lacking { waited: bool },
    /// It is decided, and nothing has to be put back.
    Decided,
    /// Tokens were taken from a bucket of this process.
    Bucket(Taken),
    /// The share of this gateway was charged without the store.
    Alone { share: Share, is_late: bool },
    /// Tokens of a lease were spent.
    Lease(Lot),
}

/// Whether the store can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// It can.
    Up,
    /// It answers, but not in time for this request.
    Late,
    /// It does not answer.
    Down,
}

/// What has to be done next about an [`Attempt`].
pub enum Next<'a> {
    /// It is over.
    Decided(Result<(), Refusal>),
    /// It is over: the limit with this index refuses requests while the store does not answer.
    Unavailable(usize, Duration),
    /// The store has to be asked this: then comes [`Attempt::answered`] or [`Attempt::failed`].
    Ask(SmallVec<[Ask; 2]>),
    /// A call that another request has made has to be waited for: [`Leases::next_answer`] of this client. The attempt goes on then, or when
    /// the time for waiting is over.
    Await(&'a Leases, Fingerprint),
}

impl<'a, 'c> Attempt<'a, 'c> {
    /// An attempt to take these claims, which holds nothing yet. There are so many gateways, this one included.
    pub fn new(limiter: &'a Limiter, claims: &'a Claims<'c>, gateways: u32) -> Self {
        let count = claims.claims.len();
        Self {
            limiter,
            claims,
            gateways: gateways.max(1),
            marks: smallvec![Mark::Open; count],
            reports: smallvec![None; count],
            calls: SmallVec::new(),
            begun: false,
        }
    }

    /// Goes on as far as possible. If the store cannot be asked, each shared limit does what it is to do then. The decision of each limit
    /// replaces the contents of `reservation` when the attempt is over.
    pub fn go_on(&mut self, reach: Reach, now: Timestamp, reservation: &mut Reservation) -> Next<'c> {
        if !self.begun {
            self.begun = true;
            reservation.reports.clear();
            reservation.release();
            self.claims.settle_plans(now);
            if reach == Reach::Up {
                self.forget_guesses();
            }
            if self.is_refused_already(now) {
                return self.refuse(now, reservation);
            }
            for index in 0..self.marks.len() {
                if matches!(self.claim(index).state, ClientState::Shared(_)) {
                    self.marks[index] = Mark::Lacking { waited: false };
                } else if self.take_here(index, now, reservation) {
                    return self.refuse(now, reservation);
                }
            }
        }
        let mut lacking = SmallVec::<[usize; 2]>::new();
        for index in 0..self.marks.len() {
            let Mark::Lacking { waited } = self.marks[index] else { continue };
            let ClientState::Shared(shared) = self.claim(index).state else { continue };
            match self.take_leased(index, shared, !waited, now, reservation) {
                Some(Outcome::Refused(_)) => return self.refuse(now, reservation),
                Some(_) => {}
                None if reach == Reach::Up => lacking.push(index),
                None => match self.go_alone(index, shared, reach == Reach::Late, now, reservation) {
                    Alone::Admitted => {}
                    Alone::Refused => return self.refuse(now, reservation),
                    Alone::Unavailable => {
                        let limit = self.claim(index).index;
                        drop(self.refuse(now, reservation));
                        return Next::Unavailable(limit, ANSWER_PAUSE);
                    }
                },
            }
        }
        match lacking.is_empty() {
            true => self.conclude(now, reservation),
            false => self.begin_call(&lacking, now),
        }
    }

    /// Takes in what the store answered to the asks, in their order. They were sent at `sent`.
    pub fn answered(
        &mut self,
        answers: &[Answer],
        sent: Timestamp,
        now: Timestamp,
        reservation: &mut Reservation,
    ) {
        let calls = std::mem::take(&mut self.calls);
        let are_granted = answers.len() == calls.len() && answers.iter().all(|answer| answer.verdict.is_ok());
        for ((index, ask), answer) in calls.iter().zip(answers) {
            let claim = self.claim(*index);
            let ClientState::Shared(shared) = claim.state else { continue };
            let lot = shared.leases.answered(ask, answer, shared.terms.lease_time, sent, now);
            if are_granted {
                if ask.kept {
                    let kept = KeptTokens::held(shared.leases, claim.client, ask.need, lot);
                    let hold = Hold::Shared(kept);
                    reservation.reserved.push(claim.reserved(self.claims.inputs, hold));
                }
                let (_, left) = shared.leases.look(claim.client, &ask.quota, 0, now);
                self.marks[*index] = Mark::Decided;
                self.reports[*index] =
                    Some(claim.report(Asked { verdict: Ok(()), remaining: Remaining::Bucket(left) }));
            }
        }
        // A call without an answer cannot be told from one that failed.
        for (_, ask) in calls.iter().skip(answers.len()) {
            self.leases_of(ask).iter().for_each(|leases| leases.unanswered(ask.client));
        }
    }

    /// The call has failed. `sent` is false if it was not made at all.
    pub fn failed(&mut self, sent: bool) {
        for (_, ask) in std::mem::take(&mut self.calls) {
            let Some(leases) = self.leases_of(&ask) else { continue };
            match sent {
                true => leases.unanswered(ask.client),
                false => leases.withdrawn(&ask),
            }
        }
    }

    /// Forgets what was guessed of these clients while the store was down.
    fn forget_guesses(&self) {
        for claim in &self.claims.claims {
            if let ClientState::Shared(shared) = claim.state {
                shared.leases.forget_guess(claim.client);
            }
        }
    }

    /// Whether a limit is known to have too little. Nothing is taken.
    fn is_refused_already(&mut self, now: Timestamp) -> bool {
        let claims = self.claims;
        claims.claims.iter().for_each(|claim| claim.state.touch(claim.client));
        for (report, claim) in self.reports.iter_mut().zip(&claims.claims) {
            *report = Some(claim.report(claim.look(claims.inputs, now)));
        }
        self.reports.iter().flatten().any(Report::refuses)
    }

    /// Takes tokens or a permit from the state that this process has of a claim. Returns whether the limit refuses.
    fn take_here(&mut self, index: usize, now: Timestamp, reservation: &mut Reservation) -> bool {
        let claim = self.claim(index);
        let taken = claim.take(self.claims.inputs, now, reservation);
        self.reports[index] = reservation.reports.pop();
        self.marks[index] = taken.map_or(Mark::Decided, Mark::Bucket);
        self.reports[index].as_ref().is_some_and(Report::refuses)
    }

    /// Takes tokens that the lease of a claim holds; `None` if the store has to be asked.
    fn take_leased(
        &mut self,
        index: usize,
        shared: SharedRef<'c>,
        first: bool,
        now: Timestamp,
        reservation: &mut Reservation,
    ) -> Option<Outcome> {
        let claim = self.claim(index);
        let (cost, keep) = (claim.limit.cost(), shared.running.is_some());
        let asked = match shared.leases.take(claim.client, shared.home.quota(), cost, keep, now, first) {
            Leased::Spent { left, lot, .. } => {
                if keep {
                    let hold = Hold::Shared(KeptTokens::held(shared.leases, claim.client, cost, lot));
                    reservation.reserved.push(claim.reserved(self.claims.inputs, hold));
                    self.marks[index] = Mark::Decided;
                } else {
                    self.marks[index] = Mark::Lease(lot);
                }
                Asked { verdict: Ok(()), remaining: Remaining::Bucket(left) }
            }
            Leased::Refused(wait, left) => {
                self.marks[index] = Mark::Decided;
                Asked { verdict: Err(wait), remaining: Remaining::Bucket(left) }
            }
            Leased::Lacking | Leased::Busy => {
                self.marks[index] = Mark::Lacking { waited: true };
                return None;
            }
        };
        let report = claim.report(asked);
        self.reports[index] = Some(report);
        Some(report.outcome)
    }

    /// Decides about a claim while the store does not answer.
    fn go_alone(
        &mut self,
        index: usize,
        shared: SharedRef<'c>,
        is_late: bool,
        now: Timestamp,
        reservation: &mut Reservation,
    ) -> Alone {
        let claim = self.claim(index);
        let uncounted =
            Report { limit: claim.index, outcome: Outcome::Allowed, remaining: None, settled: None };
        match (shared.terms.on_error, claim.limit.rule().mode) {
            (OnError::Allow, _) | (OnError::Refuse, Mode::DryRun) => {
                shared.leases.note_alone();
                (self.marks[index], self.reports[index]) = (Mark::Decided, Some(uncounted));
                Alone::Admitted
            }
            (OnError::Refuse, Mode::Enforce) => {
                shared.leases.note_alone();
                let refused = Report { outcome: Outcome::Refused(Wait(ANSWER_PAUSE)), ..uncounted };
                (self.marks[index], self.reports[index]) = (Mark::Decided, Some(refused));
                Alone::Unavailable
            }
            (OnError::Local, _) => match self.take_share(index, shared, is_late, now, reservation) {
                true => Alone::Refused,
                false => Alone::Admitted,
            },
        }
    }

    /// Takes the share of this gateway. Returns whether the limit refuses.
    fn take_share(
        &mut self,
        index: usize,
        shared: SharedRef<'c>,
        is_late: bool,
        now: Timestamp,
        reservation: &mut Reservation,
    ) -> bool {
        let claim = self.claim(index);
        let (quota, keep) = (shared.home.quota(), shared.running.is_some());
        // A store that is only slow is told of the cost, so the others know of it.
        let gateways = if is_late { 1 } else { self.gateways };
        let share = Share::of(claim.limit.cost(), quota, gateways);
        let Some((verdict, left)) = shared.leases.take_alone(claim.client, quota, share, keep, is_late, now)
        else {
            // There is no room to remember this client beside all the others: it goes by the whole limit.
            return self.take_here(index, now, reservation);
        };
        self.marks[index] = match verdict {
            Ok(()) if keep => {
                let kept = KeptTokens::alone(shared.leases, claim.client, share, is_late);
                let hold = Hold::Shared(kept);
                reservation.reserved.push(claim.reserved(self.claims.inputs, hold));
                Mark::Decided
            }
            Ok(()) => Mark::Alone { share, is_late },
            Err(_) => Mark::Decided,
        };
        let report = claim.report(Asked { verdict, remaining: Remaining::Bucket(share.reading(left)) });
        self.reports[index] = Some(report);
        report.refuses()
    }

    /// Begins the call that asks for what the leases of these claims lack. If another request has begun one about one of the clients, that
    /// is waited for first.
    fn begin_call(&mut self, lacking: &[usize], now: Timestamp) -> Next<'c> {
        for &index in lacking {
            let claim = self.claim(index);
            let ClientState::Shared(shared) = claim.state else { continue };
            let sharing = Sharing { terms: shared.terms, gateways: self.gateways };
            let (quota, cost, keep) = (shared.home.quota(), claim.limit.cost(), shared.running.is_some());
            match shared.leases.ask(sharing, claim.client, quota, cost, keep, now) {
                Some(ask) => self.calls.push((index, ask)),
                None => {
                    self.failed(false);
                    return Next::Await(shared.leases, claim.client);
                }
            }
        }
        Next::Ask(self.calls.iter().map(|(_, ask)| ask.clone()).collect())
    }

    /// A limit has refused the request: what was taken for the others is put back.
    fn refuse(&mut self, now: Timestamp, reservation: &mut Reservation) -> Next<'c> {
        reservation.release();
        for (index, mark) in self.marks.iter().enumerate() {
            let claim = &self.claims.claims[index];
            match (mark, claim.state) {
                (Mark::Bucket(taken), _) => claim.refund(*taken),
                (Mark::Lease(lot), ClientState::Shared(shared)) => {
                    shared.leases.put_back(claim.client, claim.limit.cost(), *lot);
                }
                (Mark::Alone { share, is_late }, ClientState::Shared(shared)) => {
                    shared.leases.put_back_alone(claim.client, *share, false, *is_late);
                }
                _ => continue,
            }
            if let Some(report) = &mut self.reports[index]
                && report.remaining.is_some()
            {
                report.remaining = Some(claim.look(self.claims.inputs, now).remaining);
            }
        }
        self.conclude(now, reservation)
    }

    fn conclude(&mut self, now: Timestamp, reservation: &mut Reservation) -> Next<'c> {
        for &limit in &self.claims.exempt {
            reservation.reports.push(Report {
                limit,
                outcome: Outcome::Exempt,
                remaining: None,
                settled: None,
            });
        }
        let exempt = reservation.reports.len();
        reservation.reports.extend(self.reports.iter().flatten());
        let reports = &mut reservation.reports[exempt..];
        Next::Decided(self.limiter.conclude(
            &self.claims.claims,
            self.claims.noted.then_some(self.claims.inputs),
            now,
            reports,
        ))
    }

    fn claim(&self, index: usize) -> &'a Claim<'c> {
        &self.claims.claims[index]
    }

    fn leases_of(&self, ask: &Ask) -> Option<&'c Leases> {
        let mut claims = self.claims.claims.iter();
        claims.find_map(|claim| match claim.state {
            ClientState::Shared(shared)
                if claim.client == ask.client && **shared.leases.limit() == *ask.limit =>
            {
                Some(&**shared.leases)
            }
            _ => None,
        })
    }
}

impl Drop for Attempt<'_, '_> {
    fn drop(&mut self) {
        self.failed(true);
    }
}

/// What a shared limit decides while the store does not answer.
enum Alone {
    Admitted,
    Refused,
    Unavailable,
}
