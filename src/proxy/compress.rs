//! Compression on the way back: the head says so, and pieces of the body go through an encoder.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, Result};

use crate::compression::{
    Coding, Encoder, OF_THE_BYTES, Plan, may_stand_for_compressed, plan, validator_of_kept, weak,
};

/// Changes the head of an answer that is to be compressed. The encoder is for its body, if it has one.
pub(super) fn head(
    offered: &[Coding],
    request: &RequestHeader,
    response: &mut ResponseHeader,
) -> Result<Option<Encoder>> {
    if response.status == StatusCode::NOT_MODIFIED && may_stand_for_compressed(&response.headers) {
        response.append_header(header::VARY, HeaderValue::from_static("Accept-Encoding"))?;
        if let Some(etag) = response.headers.get(header::ETAG) {
            let etag = validator_of_kept(etag, &request.headers);
            response.insert_header(header::ETAG, etag)?;
        }
        return Ok(None);
    }
    let coding = match plan(offered, &request.headers, response.status, &response.headers) {
        Plan::Keep => return Ok(None),
        Plan::Compress(coding) if can_be_streamed_to(request) => Some(coding),
        Plan::Compress(_) | Plan::KeepForThis => None,
    };
    response.append_header(header::VARY, HeaderValue::from_static("Accept-Encoding"))?;
    let Some(coding) = coding else { return Ok(None) };
    let length = response.headers.get(header::CONTENT_LENGTH);
    let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
    for name in &OF_THE_BYTES {
        response.remove_header(name);
    }
    if let Some(etag) = response.remove_header(&header::ETAG).as_ref().and_then(weak) {
        response.insert_header(header::ETAG, etag)?;
    }
    response.insert_header(header::CONTENT_ENCODING, HeaderValue::from_static(coding.name()))?;
    if request.version == Version::HTTP_11 {
        response.insert_header(header::TRANSFER_ENCODING, HeaderValue::from_static("chunked"))?;
    }
    if request.method == Method::HEAD {
        return Ok(None);
    }
    Encoder::new(coding, length).map(Some).map_err(failed)
}

/// Puts a piece of the body through the encoder.
pub(super) fn body(encoder: &mut Encoder, body: &mut Option<Bytes>, is_last: bool) -> Result<()> {
    let piece = body.take().unwrap_or_default();
    let compressed = match (is_last, piece.is_empty()) {
        (true, _) => encoder.finish(&piece),
        (false, true) => return Ok(()),
        (false, false) => encoder.encode(&piece),
    };
    *body = Some(compressed.map_err(failed)?).filter(|piece| !piece.is_empty());
    Ok(())
}

/// How long a compressed body is shows when it ends, which an HTTP/1.0 client cannot be told.
fn can_be_streamed_to(request: &RequestHeader) -> bool {
    request.version != Version::HTTP_10
}

#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` gives")]
fn failed(error: std::io::Error) -> Box<Error> {
    Error::explain(ErrorType::InternalError, format!("an answer cannot be compressed: {error}"))
}
