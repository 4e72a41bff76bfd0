//! HTTP/1 on the wire: a request's body as it comes, and an answer as it is written.
//!
//! The connection (`server/stream.rs`) is shared with the task that watches the client meanwhile.

pub(super) mod answer;

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, Version, header};
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::{Error, ErrorType, OrErr as _, Result};

use self::answer::Delimiting;
use super::exchange::{Exchange, Wire, own_fields};
use super::stream::{Shared, lock};
use crate::proxy::connection::Connection;
use crate::proxy::is_interim;
use crate::proxy::own_fields::OwnFields;

/// How many bytes of an unread body are read so that the connection can stay open. With more, it closes after the answer.
const MOST_UNREAD: u64 = 64 << 10;

/// The usual size of an answer's head.
const HEAD_SIZE: usize = 1024;

/// A request over HTTP/1, and its answer.
pub(super) struct Http1 {
    stream: Shared,
    connection: Arc<Connection>,
    /// How the rest of the answer is delimited, once its head is written.
    delimiting: Option<Delimiting>,
}

/// The exchange that begins with this request.
pub(super) fn begin(
    stream: &Shared,
    connection: &Arc<Connection>,
    request: RequestHeader,
) -> Exchange<Http1> {
    connection.begin_exchange(wants_keep_alive(&request));
    let wire = Http1 { stream: stream.clone(), connection: connection.clone(), delimiting: None };
    Exchange::new(wire, request)
}

/// Whether the client wants the connection to stay open (RFC 9112, section 9.3).
fn wants_keep_alive(request: &RequestHeader) -> bool {
    let mut keep_alive = request.version == Version::HTTP_11;
    let options = request.headers.get_all(header::CONNECTION);
    for option in options.iter().flat_map(|value| value.as_bytes().split(|&byte| byte == b',')) {
        let option = option.trim_ascii();
        if option.eq_ignore_ascii_case(b"close") {
            return false;
        }
        keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
    }
    keep_alive
}

fn failed_read(error: io::Error) -> Box<Error> {
    let kind = match error.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => ErrorType::ConnectionClosed,
        _ => ErrorType::ReadError,
    };
    Error::because(kind, "while reading a request", error)
}

impl Http1 {
    /// Writes all of `data`, or buffers it.
    async fn put(&mut self, mut data: &[u8]) -> Result<()> {
        while !data.is_empty() {
            let put = poll_fn(|cx| lock(&self.stream).poll_put(cx, data)).await;
            data = &data[put.or_err(ErrorType::WriteError, "while writing an answer")?..];
        }
        Ok(())
    }

    /// Whether the connection may stay open after this answer.
    fn keeps_alive(&self) -> bool {
        let stream = lock(&self.stream);
        let unread = stream.body_left().is_some_and(|left| left > MOST_UNREAD);
        let may_stay = self.connection.wants_keep_alive() && !self.connection.is_closing();
        may_stay && !unread && !stream.is_malformed()
    }

    async fn finish_exchange(&mut self) -> Result<()> {
        self.flush().await?;
        if self.connection.is_tunnel() {
            lock(&self.stream).stop_reading();
        }
        self.connection.note_answered();
        Ok(())
    }
}

impl Wire for Http1 {
    async fn read_body(&mut self) -> Result<Option<Bytes>> {
        poll_fn(|cx| lock(&self.stream).poll_body(cx)).await.map_err(failed_read)
    }

    async fn idle(&mut self) -> Box<Error> {
        failed_read(poll_fn(|cx| lock(&self.stream).poll_idle(cx)).await)
    }

    fn is_body_done(&self) -> bool {
        lock(&self.stream).is_body_done()
    }

    async fn write_head(
        &mut self,
        request: &RequestHeader,
        head: &mut ResponseHeader,
        _end: bool,
    ) -> Result<bool> {
        let switches = head.status == StatusCode::SWITCHING_PROTOCOLS;
        let interim = is_interim(head.status);
        if interim && request.version != Version::HTTP_11 {
            // An HTTP/1.0 client does not know interim answers (RFC 9110, section 15.2).
            return Ok(false);
        }
        let mut own = match interim {
            true => OwnFields::default(),
            false => own_fields(&self.connection, head),
        };
        let delimiting = answer::delimiting(request, head, &own);
        let keep_alive = delimiting != Delimiting::Close && self.keeps_alive();
        answer::set_framing(request, head, delimiting, keep_alive, &mut own);
        let mut text = BytesMut::with_capacity(HEAD_SIZE);
        answer::write_head(head, &own, &mut text);
        if !interim {
            self.delimiting = Some(delimiting);
            self.connection.begin_answer(keep_alive);
        }
        if switches {
            self.connection.become_tunnel();
            lock(&self.stream).become_tunnel();
        }
        self.put(&text).await?;
        if head.status.is_informational() {
            self.flush().await?;
        }
        Ok(true)
    }

    async fn write_piece(&mut self, data: Bytes, end: bool) -> Result<usize> {
        let written = match self.delimiting {
            None => 0,
            Some(_) if data.is_empty() => 0,
            Some(Delimiting::Length(left)) => {
                // The client would read bytes beyond the announced length as the next answer.
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(data.len());
                self.delimiting = Some(Delimiting::Length(left - taken as u64));
                self.put(&data[..taken]).await?;
                taken
            }
            Some(Delimiting::Chunked) => {
                let (line, used) = answer::chunk_head(data.len());
                self.put(&line[..used]).await?;
                self.put(&data).await?;
                self.put(b"\r\n").await?;
                data.len()
            }
            Some(Delimiting::Close) => {
                self.put(&data).await?;
                data.len()
            }
        };
        if end {
            self.end().await?;
        }
        Ok(written)
    }

    /// Trailers are sent to clients of HTTP/2 only.
    async fn write_trailers(&mut self, _trailers: HeaderMap) -> Result<()> {
        self.end().await
    }

    async fn end(&mut self) -> Result<()> {
        match self.delimiting {
            Some(Delimiting::Length(left)) if left > 0 => {
                Error::e_explain(ErrorType::WriteError, "the answer is shorter than was announced")
            }
            Some(Delimiting::Chunked) => {
                self.put(b"0\r\n\r\n").await?;
                self.delimiting = Some(Delimiting::Length(0));
                self.finish_exchange().await
            }
            Some(Delimiting::Length(_) | Delimiting::Close) => self.finish_exchange().await,
            None => Ok(()),
        }
    }

    async fn flush(&mut self) -> Result<()> {
        let flushed = poll_fn(|cx| lock(&self.stream).poll_flushed(cx)).await;
        flushed.or_err(ErrorType::WriteError, "while writing an answer")
    }

    fn is_answered(&self) -> bool {
        self.delimiting == Some(Delimiting::Length(0))
    }

    fn abandon(&mut self) {
        self.connection.forbid_keep_alive();
    }
}
