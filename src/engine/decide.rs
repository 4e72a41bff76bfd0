//! The steps in their order, up to the point where a request is forwarded or answered.

use std::sync::Arc;

use super::{Course, Engine, Facts, KeyValues, Located, Reply, Told};
use crate::clock::Timestamp;
use crate::consumer::Consumer;
use crate::limit::Reservation;

/// What becomes of a request.
pub struct Decision {
    /// The index of the route that the request takes; `None` if it was refused before a route was found.
    pub route: Option<usize>,
    /// The consumer, if one has proved to be calling.
    pub consumer: Option<Arc<Consumer>>,
    /// What a service that was asked says of the caller, for the upstream.
    pub told: Option<Told>,
    /// What the limits made of the request, and what is held for it. A request that a limit refuses holds nothing; one that is answered
    /// later, as with 413, holds its permits until the reservation is closed.
    pub reservation: Reservation,
    /// The values by which the limits counted the request, for its record.
    pub keys: KeyValues,
    /// What the door is to do.
    pub course: Course,
}

impl Engine {
    /// Takes a request through the steps until it is forwarded or answered. `on_route` is told the index of its route as soon as that is
    /// known: the request may wait after that, and its client leave.
    pub async fn decide(&self, facts: &Facts<'_>, now: Timestamp, on_route: impl FnOnce(usize)) -> Decision {
        let mut decision = Decision {
            route: None,
            consumer: None,
            told: None,
            reservation: Reservation::default(),
            keys: KeyValues::new(),
            course: Course::Answer(Reply::internal()),
        };
        decision.course = match self.encrypted(facts).and_then(|()| self.locate(facts)) {
            Ok(located) => {
                decision.route = Some(located.route_index());
                on_route(located.route_index());
                let course = self.admit(&located, facts, now, &mut decision).await;
                course.unwrap_or_else(Course::Answer)
            }
            Err(reply) => Course::Answer(reply),
        };
        decision
    }

    /// The steps for a request whose route is known.
    async fn admit(
        &self,
        located: &Located<'_>,
        facts: &Facts<'_>,
        now: Timestamp,
        decision: &mut Decision,
    ) -> Result<Course, Reply> {
        if located.is_preflight() {
            // A browser asks for permission on behalf of a page, without the credentials by which limits count.
            return Err(Reply::permission());
        }
        let Decision { reservation, keys, consumer, told, .. } = decision;
        let mut principal = self.identify(located, facts, now, Some(reservation)).await?;
        *told = principal.told.take();
        consumer.clone_from(&principal.consumer);
        self.let_in(located, &principal)?;
        let inputs = located.inputs(facts, &principal);
        *keys = self.recorded.values(located.route_index(), &inputs, self.limiter.secret());
        let claims = self.claims(located, &inputs)?;
        let reserved = self.reserve(&claims, now, reservation).await?;
        self.conclude(located, facts, &inputs, reserved)
    }
}
