//! The steps in their order, up to the point where a request is forwarded or answered.

use super::{Course, Engine, Facts, KeyValues, Located, Reply};
use crate::clock::Timestamp;
use crate::limit::Reservation;

/// What becomes of a request.
pub struct Decision {
    /// The index of the route that the request takes; `None` if it was refused before a route was found.
    pub route: Option<usize>,
    /// What the limits made of the request, and what is held for it. A request that a limit refuses holds nothing; one that is answered
    /// later, as with 413, holds its permits until the reservation is closed.
    pub reservation: Reservation,
    /// The values by which the limits counted the request, for its record.
    pub keys: KeyValues,
    /// What the door is to do.
    pub course: Course,
}

impl Engine {
    /// Takes a request through the steps until it is forwarded or answered.
    pub async fn decide(&self, facts: &Facts<'_>, now: Timestamp) -> Decision {
        let (mut reservation, mut keys) = (Reservation::default(), KeyValues::new());
        let (route, course) = match self.locate(facts) {
            Ok(located) => {
                let course = match self.admit(&located, facts, now, &mut reservation, &mut keys).await {
                    Ok(course) => course,
                    Err(reply) => Course::Answer(reply),
                };
                (Some(located.route_index()), course)
            }
            Err(reply) => (None, Course::Answer(reply)),
        };
        Decision { route, reservation, keys, course }
    }

    /// The steps for a request whose route is known.
    async fn admit(
        &self,
        located: &Located<'_>,
        facts: &Facts<'_>,
        now: Timestamp,
        reservation: &mut Reservation,
        keys: &mut KeyValues,
    ) -> Result<Course, Reply> {
        if located.is_preflight() {
            // A browser asks for permission on behalf of a page, without the credentials by which limits count.
            return Err(Reply::permission());
        }
        let principal = self.identify(located, facts).await?;
        let inputs = located.inputs(facts, &principal);
        *keys = self.recorded.values(located.route_index(), &inputs, self.limiter.secret());
        let claims = self.claims(located, &inputs)?;
        let reserved = self.reserve(&claims, now, reservation).await?;
        self.conclude(located, facts, &inputs, reserved)
    }
}
