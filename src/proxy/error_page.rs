//! Which page an answer of the gateway's own is given in.

use http::{HeaderValue, header};
use pingora::Result;
use pingora::http::{RequestHeader, ResponseHeader};

use super::grpc;
use crate::engine::Reply;
use crate::error_page::{Page, Pages, prefers_html};

/// The page of an answer, and whether `Accept` has a say in that.
#[derive(Clone, Copy, Default)]
pub(super) struct Choice<'a> {
    pub(super) page: Option<&'a Page>,
    by_accept: bool,
}

impl<'a> Choice<'a> {
    /// The page for this reply to a request with this head. Callers of gRPC have their own form of errors, and who would rather have
    /// JSON than HTML gets problem+json.
    pub(super) fn of(reply: &Reply, request: &RequestHeader, pages: &'a Pages) -> Self {
        match pages.find(reply.status()) {
            Some(page) if reply.is_problem() && !grpc::is_call(request) => {
                let by_accept = page.is_html();
                let page = Some(page).filter(|_| !by_accept || prefers_html(&request.headers));
                Self { page, by_accept }
            }
            _ => Self::default(),
        }
    }

    /// Tells caches that the answer to another `Accept` may be another one.
    pub(super) fn vary(self, answer: &mut ResponseHeader) -> Result<()> {
        if self.by_accept {
            answer.append_header(header::VARY, HeaderValue::from_static("Accept"))?;
        }
        Ok(())
    }
}
