//! The request heads of an HTTP/2 connection that the h2 crate has read and not passed to the gateway.
//!
//! The h2 crate refuses some heads by itself: it resets the stream of one that HTTP/2 forbids or that the http crate cannot hold,
//! answers 431 to one that is too large, and ends the connection over a field name in upper case. It has no hook that tells of
//! them. So the frames of the connection are watched. A head is pending from its first frame on, until the gateway accepts its
//! request or a frame goes out that refuses it. Only the first bytes of each frame are kept, and the fields stay
//! compressed, so the method and the path of a refused head are not known.
//!
//! The h2 crate can also reset a stream, for its trailers or its body, while the request waits to be accepted. So a refusal
//! counts only when no request waits ([`PendingHeads::refused`]).

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::stream::{ClientStream, PREFACE};

/// The head of a frame (RFC 9113, section 4.1).
const FRAME_HEAD: usize = 9;

/// What is kept of a frame: of a GOAWAY, the debug data that says that a head is too large.
const KEPT: usize = FRAME_HEAD + 8 + TOO_LARGE[0].len();

/// What the h2 crate says of such a head when it ends the connection.
const TOO_LARGE: [&[u8]; 2] = [b"header_list_way_too_large", b"too_many_continuations"];

/// The pending heads that are remembered of a connection. There are more only when the h2 crate reads and ignores them, because
/// the client has been sent away.
const MAX_PENDING: usize = 1024;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// The reason of a reset that says that a client has too many streams (RFC 9113, section 7).
const REFUSED_STREAM: u32 = 7;

/// Why the request of a head was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RefusalReason {
    /// It is malformed.
    Malformed,
    /// It is too large.
    TooLarge,
    /// The client has more streams than it may have.
    TooMany,
    /// The client has broken the rules of the connection, in this head or elsewhere.
    Broken,
    /// The client has left.
    Left,
}

/// The pending heads of a connection.
#[derive(Debug)]
pub(super) struct PendingHeads {
    received: FrameParser,
    sent: FrameParser,
    /// Their streams, which have numbers that grow.
    pending: VecDeque<(u32, Option<RefusalReason>)>,
    /// How many of them are refused.
    refused: usize,
    /// The highest number of a stream so far.
    highest: u32,
    /// Whether the last head has not come to its end.
    arriving: bool,
    /// The last stream that is served, as far as the client has been told.
    last_served: u32,
    /// Why the h2 crate has ended the connection, if it has.
    broken: Option<RefusalReason>,
}

impl Default for PendingHeads {
    fn default() -> Self {
        Self {
            received: FrameParser::after(PREFACE.len()),
            sent: FrameParser::after(0),
            pending: VecDeque::new(),
            refused: 0,
            highest: 0,
            arriving: false,
            last_served: u32::MAX,
            broken: None,
        }
    }
}

impl PendingHeads {
    /// Looks at what the client has sent.
    fn receive(&mut self, mut bytes: &[u8]) {
        while let Some(event) = self.received.advance(&mut bytes) {
            let frame = &self.received;
            match (event, frame.kind()) {
                (FrameEvent::Beginning, HEADERS) if frame.stream() > self.highest => {
                    self.highest = frame.stream();
                    self.arriving = true;
                    if self.pending.len() < MAX_PENDING {
                        self.pending.push_back((self.highest, None));
                    }
                }
                (FrameEvent::End, HEADERS | CONTINUATION) if frame.flags() & END_HEADERS != 0 => {
                    self.arriving = false;
                }
                _ => {}
            }
        }
    }

    /// Looks at what the client is sent.
    fn send(&mut self, mut bytes: &[u8]) {
        while let Some(event) = self.sent.advance(&mut bytes) {
            let frame = &self.sent;
            let (stream, first) = (frame.stream(), number(frame.payload()));
            match (event, frame.kind()) {
                (FrameEvent::End, HEADERS) => self.refuse(stream, RefusalReason::TooLarge),
                (FrameEvent::End, RST_STREAM) => {
                    let reason = match first {
                        REFUSED_STREAM => RefusalReason::TooMany,
                        _ => RefusalReason::Malformed,
                    };
                    self.refuse(stream, reason);
                }
                (FrameEvent::End, GOAWAY) => {
                    let code = number(&frame.payload()[4..]);
                    let reason = match TOO_LARGE.iter().any(|text| frame.payload()[8..].starts_with(text)) {
                        true => RefusalReason::TooLarge,
                        false => RefusalReason::Broken,
                    };
                    self.last_served = first;
                    self.broken = (code != 0).then_some(reason).or(self.broken);
                }
                _ => {}
            }
        }
    }

    /// Notes that a head has been refused, if it is still pending.
    fn refuse(&mut self, stream: u32, reason: RefusalReason) {
        if let Ok(at) = self.find(stream)
            && let (_, refused @ None) = &mut self.pending[at]
        {
            *refused = Some(reason);
            self.refused += 1;
        }
    }

    fn find(&self, stream: u32) -> Result<usize, usize> {
        self.pending.binary_search_by_key(&stream, |&(stream, _)| stream)
    }

    /// Notes that the gateway has accepted a request, whatever has become of its stream since.
    pub(super) fn accept(&mut self, stream: u32) {
        if let Ok(at) = self.find(stream)
            && let Some((_, reason)) = self.pending.remove(at)
        {
            self.refused -= usize::from(reason.is_some());
        }
    }

    /// Why a head was refused; each is returned once. To be called only when no request waits to be accepted.
    pub(super) fn refused(&mut self) -> Option<RefusalReason> {
        if self.refused == 0 {
            return None;
        }
        let at = self.pending.iter().position(|(_, reason)| reason.is_some())?;
        self.refused -= 1;
        self.pending.remove(at)?.1
    }

    /// Why the other heads were not accepted, now that the connection has ended.
    ///
    /// A client that was told which of its streams is the last to be served can make its later requests elsewhere, so these
    /// are left out. When the h2 crate has ended the connection over an error, it does not say which heads it has read, and
    /// drops the resets that it has not sent: so all are returned.
    pub(super) fn rest(&mut self, sent_away: bool) -> Vec<RefusalReason> {
        let Self { arriving, highest, last_served, broken, .. } = *self;
        self.refused = 0;
        // The head over which the connection was ended has not been served.
        let mut first = broken;
        std::mem::take(&mut self.pending)
            .into_iter()
            .filter_map(|(stream, reason)| match (reason, broken) {
                (Some(reason), _) => Some(reason),
                (None, None) if arriving && stream == highest => None,
                (None, None) => (stream <= last_served).then_some(RefusalReason::Left),
                (None, Some(_)) if stream <= last_served => Some(RefusalReason::Broken),
                (None, Some(_)) if sent_away => None,
                (None, Some(_)) => first.take().or(Some(RefusalReason::Broken)),
            })
            .collect()
    }
}

/// How far a frame has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FrameEvent {
    /// Its head is there.
    Beginning,
    /// All of it has gone by.
    End,
}

/// Finds the frames in a stream of bytes, however these are cut.
#[derive(Debug)]
struct FrameParser {
    /// The first bytes of the frame; what has not come is zero.
    kept: [u8; KEPT],
    /// How many bytes of the frame have gone by. What comes before the first frame counts as a frame of no kind.
    passed: usize,
    /// How many bytes are still to come of it, or of its head.
    left: usize,
    /// Whether its end has been reached.
    ended: bool,
}

impl FrameParser {
    /// Frames that begin after so many other bytes.
    fn after(other: usize) -> Self {
        let mut kept = [0; KEPT];
        kept[3] = u8::MAX;
        Self { kept, passed: FRAME_HEAD, left: other, ended: other == 0 }
    }

    /// Takes bytes until the head or the end of a frame. `None` when they are used up.
    fn advance(&mut self, bytes: &mut &[u8]) -> Option<FrameEvent> {
        if self.ended {
            *self = Self { kept: [0; KEPT], passed: 0, left: FRAME_HEAD, ended: false };
        }
        let in_head = self.passed < FRAME_HEAD;
        let taken = bytes.split_off(..bytes.len().min(self.left))?;
        if let Some(room) = self.kept.get_mut(self.passed..) {
            let kept = taken.len().min(room.len());
            room[..kept].copy_from_slice(&taken[..kept]);
        }
        self.passed += taken.len();
        self.left -= taken.len();
        if self.left > 0 {
            return None;
        }
        if in_head {
            let [high, middle, low, ..] = self.kept;
            self.left = u32::from_be_bytes([0, high, middle, low]) as usize;
            return Some(FrameEvent::Beginning);
        }
        self.ended = true;
        Some(FrameEvent::End)
    }

    fn kind(&self) -> u8 {
        self.kept[3]
    }

    fn flags(&self) -> u8 {
        self.kept[4]
    }

    fn stream(&self) -> u32 {
        number(&self.kept[5..]) & !(1 << 31)
    }

    fn payload(&self) -> &[u8] {
        &self.kept[FRAME_HEAD..]
    }
}

/// The number in the first four bytes.
fn number(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |bytes| u32::from_be_bytes(*bytes))
}

/// The pending heads, shared by the connection and the task that serves it. The connection is polled in that task only, so
/// nobody ever waits for the lock.
pub(super) type Shared = Arc<Mutex<PendingHeads>>;

/// Locks them. There is nothing that a panic under the lock could leave behind.
pub(super) fn lock(heads: &Shared) -> MutexGuard<'_, PendingHeads> {
    heads.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection whose heads are watched.
pub(super) struct MonitoredStream {
    stream: ClientStream,
    heads: Shared,
}

impl MonitoredStream {
    /// Watches a connection from its preface on.
    pub(super) fn new(stream: ClientStream, heads: Shared) -> Self {
        Self { stream, heads }
    }
}

impl AsyncRead for MonitoredStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        lock(&this.heads).receive(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for MonitoredStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let taken = ready!(Pin::new(&mut this.stream).poll_write(cx, data))?;
        lock(&this.heads).send(&data[..taken]);
        Poll::Ready(Ok(taken))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
    }

    fn head(stream: u32) -> Vec<u8> {
        frame(HEADERS, END_HEADERS, stream, b"fields")
    }

    fn reset(stream: u32, reason: u32) -> Vec<u8> {
        frame(RST_STREAM, 0, stream, &reason.to_be_bytes())
    }

    fn go_away(last: u32, reason: u32, text: &[u8]) -> Vec<u8> {
        frame(GOAWAY, 0, 0, &[&last.to_be_bytes(), &reason.to_be_bytes(), text].concat())
    }

    /// PendingHeads of these streams.
    fn heads(streams: impl IntoIterator<Item = u32>) -> PendingHeads {
        let mut heads = PendingHeads::default();
        heads.receive(PREFACE);
        streams.into_iter().for_each(|stream| heads.receive(&head(stream)));
        heads
    }

    #[test]
    fn each_refused_head_is_told_of_once() {
        let mut heads = heads([1, 3, 5, 7]);
        assert_eq!(heads.refused(), None);
        for stream in [3, 7, 3] {
            heads.send(&reset(stream, 1));
        }
        heads.send(&frame(HEADERS, END_HEADERS, 1, b"431"));
        heads.send(&reset(1, 1));
        heads.accept(5);
        heads.send(&reset(5, 1));
        let refused: Vec<_> = std::iter::from_fn(|| heads.refused()).collect();
        assert_eq!(refused, [RefusalReason::TooLarge, RefusalReason::Malformed, RefusalReason::Malformed]);
        // Nothing that comes for these streams makes them pending again.
        heads.receive(&head(3));
        heads.send(&reset(3, 1));
        assert_eq!((heads.refused(), heads.rest(false)), (None, Vec::new()));
    }

    #[test]
    fn a_request_that_is_accepted_after_its_stream_was_reset() {
        let mut heads = heads([1, 3]);
        heads.send(&reset(1, 1));
        heads.accept(1);
        heads.send(&reset(3, REFUSED_STREAM));
        assert_eq!(heads.refused(), Some(RefusalReason::TooMany));
        assert_eq!(heads.refused(), None);
    }

    #[test]
    fn it_does_not_matter_how_the_bytes_are_cut() {
        let received = [
            PREFACE,
            &frame(4, 0, 0, &[]),
            &frame(HEADERS, 0, 1, b"begun"),
            &frame(CONTINUATION, END_HEADERS, 1, &[]),
            &frame(0, 0, 1, &head(9)),
            &head(3 | 1 << 31),
            &frame(HEADERS, 0, 5, &[]),
        ]
        .concat();
        let sent =
            [frame(4, 1, 0, &[]), frame(0, 0, 1, &reset(3, 1)), reset(1, 1), go_away(3, 0, &[])].concat();
        for size in 1..received.len() {
            let mut heads = PendingHeads::default();
            received.chunks(size).for_each(|bytes| heads.receive(bytes));
            sent.chunks(size).for_each(|bytes| heads.send(bytes));
            assert_eq!(heads.refused(), Some(RefusalReason::Malformed), "{size}");
            assert_eq!((heads.refused(), heads.rest(false)), (None, vec![RefusalReason::Left]), "{size}");
        }
    }

    #[test]
    fn what_is_left_at_the_end() {
        let (broken, large) = (RefusalReason::Broken, RefusalReason::TooLarge);
        for (sent, sent_away, expected) in [
            (Vec::new(), false, &[RefusalReason::Left; 3][..]),
            (go_away(3, 0, &[]), false, &[RefusalReason::Left; 2]),
            (go_away(1, 1, &[]), false, &[broken; 3]),
            (go_away(1, 11, TOO_LARGE[0]), false, &[broken, large, broken]),
            (go_away(1, 11, TOO_LARGE[1]), false, &[broken, large, broken]),
            (go_away(1, 11, b"too_many_resets"), false, &[broken; 3]),
            (go_away(1, 11, &[]), true, &[broken]),
        ] {
            let mut heads = heads([1, 3, 5]);
            heads.send(&sent);
            assert_eq!(heads.rest(sent_away), expected, "{sent:?}");
        }
        // Of half a head nothing is known, unless the connection ends over it.
        let mut half = heads([]);
        half.receive(&frame(HEADERS, 0, 1, b"half"));
        assert_eq!(half.rest(false), []);
        let mut half = heads([]);
        half.receive(&frame(HEADERS, 0, 1, b"half"));
        half.send(&go_away(0, 9, &[]));
        assert_eq!(half.rest(false), [broken]);
    }

    #[test]
    fn no_more_is_remembered_than_so_much() {
        let mut heads = heads((1..100_000).step_by(2));
        assert_eq!(heads.rest(false).len(), MAX_PENDING);
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_panic(received: Vec<u8>, sent: Vec<u8>) {
            let mut heads = heads([1]);
            heads.receive(&received);
            heads.send(&sent);
            let _ = heads.refused();
            heads.accept(1);
            heads.rest(false);
        }
    }
}
