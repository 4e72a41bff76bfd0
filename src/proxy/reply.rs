//! The engine's replies as Pingora sends them.

use bytes::Bytes;
use http::{HeaderValue, header};
use pingora::Result;
use pingora::http::ResponseHeader;

use super::own_fields::{OwnField, OwnFields};
use crate::config::{HeaderChanges, Route};
use crate::engine::Reply;
use crate::error_page::Page;

/// The head of a reply, and its body, in the words of a page if there is one. What the configuration may change is in the head; all else
/// is in `own`, where it costs less.
pub(crate) fn build(
    reply: &Reply,
    page: Option<&Page>,
    request_id: Option<&HeaderValue>,
    own: &mut OwnFields,
) -> Result<(ResponseHeader, Bytes)> {
    let mut head = ResponseHeader::build(reply.status(), Some(0))?;
    for (name, value) in reply.fields() {
        match OwnField::of_reply(name).filter(|_| !reply.is_configured()) {
            Some(field) => own.push(field, value.clone()),
            None => drop(head.append_header(*name, value.clone())?),
        }
    }
    let paged = page.and_then(|page| reply.body_of(page, request_id));
    let Some((content_type, body)) = paged.or_else(|| reply.body(request_id)) else {
        return Ok((head, Bytes::new()));
    };
    let length = HeaderValue::from(body.len());
    if reply.is_configured() {
        head.insert_header(header::CONTENT_TYPE, content_type)?;
        head.insert_header(header::CONTENT_LENGTH, length)?;
    } else {
        own.push(OwnField::ContentType, content_type);
        own.push(OwnField::ContentLength, length);
    }
    Ok((head, body))
}

/// Gives an answer of the gateway's own the fields that every answer gets: of the route, if it says another value, or nothing if the route
/// removes the field.
pub(crate) fn set_everywhere(
    everywhere: &HeaderChanges,
    route: Option<&Route>,
    response: &mut ResponseHeader,
) -> Result<()> {
    for (name, value) in &everywhere.set {
        let value = match route {
            None => Some(value),
            Some(route) => {
                let own = route.response_headers.set.iter().find(|(own, _)| own == name);
                own.map(|(_, value)| value)
            }
        };
        if let Some(value) = value.filter(|_| !response.headers.contains_key(name)) {
            response.insert_header(name.clone(), value.clone())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;

    #[test]
    fn a_reply_says_how_long_it_is() {
        let mut own = OwnFields::default();
        let (head, body) = build(&Reply::problem(StatusCode::NOT_FOUND, "x"), None, None, &mut own).unwrap();
        assert_eq!(head.status, StatusCode::NOT_FOUND);
        assert_eq!(own.get(OwnField::ContentType).unwrap(), "application/problem+json");
        assert_eq!(*own.get(OwnField::ContentLength).unwrap(), body.len().to_string());
        let plain = |status| Reply::plain(status, HeaderValue::from_static("text/plain"), "x".into());
        let (head, body) = build(&plain(StatusCode::OK), None, None, &mut OwnFields::default()).unwrap();
        assert_eq!(head.headers[header::CONTENT_TYPE], "text/plain");
        assert_eq!(head.headers[header::CONTENT_LENGTH], body.len().to_string());
        let (head, body) =
            build(&plain(StatusCode::NO_CONTENT), None, None, &mut OwnFields::default()).unwrap();
        assert!(body.is_empty() && !head.headers.contains_key(header::CONTENT_LENGTH));
    }
}
