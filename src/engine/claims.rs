//! The step that says what each limit of a route wants of a request, and from which client's bucket.

use super::{Engine, Located, Reply};
use crate::limit::key::{Inputs, NoValue};
use crate::limit::{Claims, Unkeyed};

impl Engine {
    /// What the limits of the route want.
    ///
    /// # Errors
    /// The answer to a request that lacks the key of a limit, where the limit insists on one.
    pub fn claims<'a>(&'a self, located: &Located<'a>, inputs: &'a Inputs<'a>) -> Result<Claims<'a>, Reply> {
        self.limiter.claims(&located.route().limits, inputs).map_err(|Unkeyed { limit, why }| {
            let key = &self.limiter.limits()[limit].rule().key;
            Reply::bad_request(&match why {
                NoValue::Missing => format!("the request must carry {key}, by which its limit is kept"),
                NoValue::Ambiguous => format!(
                    "the request must carry {key}, by which its limit is kept, and not two that differ"
                ),
            })
        })
    }
}
