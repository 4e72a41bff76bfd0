//! The step that says what each limit of a route wants of a request, and from which client's bucket.

use super::{Engine, Facts, Located, Principal, Reply};
use crate::limit::key::{Inputs, NoValue};
use crate::limit::{Claims, Rule, Unkeyed};

impl Located<'_> {
    /// What keys of limits and upstreams are made of.
    pub fn inputs<'b>(&'b self, facts: &Facts<'b>, principal: &'b Principal<'b>) -> Inputs<'b> {
        Inputs {
            client: principal.client,
            caller: principal.caller(),
            method: facts.method,
            host: self.host(),
            path: self.path(),
            query: self.query().and_then(|query| std::str::from_utf8(query).ok()),
            route: &self.route().name,
            headers: facts.headers,
        }
    }
}

impl Engine {
    /// What the limits of the route want.
    ///
    /// # Errors
    /// The answer to a request that lacks the key of a limit, where the limit insists on one.
    pub fn claims<'a>(&'a self, located: &Located<'a>, inputs: &'a Inputs<'a>) -> Result<Claims<'a>, Reply> {
        self.limiter.claims(&located.route().limits, inputs).map_err(|Unkeyed { limit, why }| {
            let Rule { key, name, .. } = self.limiter.limits()[limit].rule();
            Reply::bad_request(&match why {
                NoValue::Missing => format!("the request must carry {key}, by which the limit {name:?} counts"),
                NoValue::Ambiguous => format!(
                    "the request must carry {key}, by which the limit {name:?} counts, and not two that differ"
                ),
            })
        })
    }
}
