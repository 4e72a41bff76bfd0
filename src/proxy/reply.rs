//! The engine's replies as Pingora sends them.

use bytes::Bytes;
use http::{HeaderValue, header};
use pingora::Result;
use pingora::http::ResponseHeader;

use crate::engine::Reply;

/// Room for the fields that every answer gets.
const OWN_FIELDS: usize = 8;

/// The head of a reply, and its body.
pub(crate) fn build(reply: &Reply, request_id: Option<&HeaderValue>) -> Result<(ResponseHeader, Bytes)> {
    let mut head = ResponseHeader::build(reply.status(), Some(reply.fields().len() + OWN_FIELDS))?;
    for (name, value) in reply.fields() {
        head.append_header(*name, value.clone())?;
    }
    let Some((content_type, body)) = reply.body(request_id) else { return Ok((head, Bytes::new())) };
    head.insert_header(header::CONTENT_TYPE, content_type)?;
    head.insert_header(header::CONTENT_LENGTH, HeaderValue::from(body.len()))?;
    Ok((head, body))
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn a_reply_says_how_long_it_is() {
        let (head, body) = build(&Reply::problem(StatusCode::NOT_FOUND, "x"), None).unwrap();
        assert_eq!(head.status, StatusCode::NOT_FOUND);
        assert_eq!(head.headers[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(head.headers[header::CONTENT_LENGTH], body.len().to_string());
        let empty = Reply::plain(StatusCode::NO_CONTENT, HeaderValue::from_static("text/plain"), "x".into());
        let (head, body) = build(&empty, None).unwrap();
        assert!(body.is_empty() && !head.headers.contains_key(header::CONTENT_LENGTH));
    }
}
