//! Where the body of an HTTP/1 request ends, followed as its bytes go by.
//!
//! The proxy gets the data of a body, without its framing and without a byte of the next request.
//! Chunked framing is taken strictly (RFC 9112, section 7.1, without extensions): what another parser might
//! read differently ends the request.

/// How the body of a request is delimited, and how much of it is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes are still to come.
    Length(u64),
    /// Chunks are still to come.
    Chunked(Chunks),
    /// The connection belongs to another protocol: everything is to come.
    Tunnel,
    /// Nobody knows where the body ends.
    Malformed,
}

/// What goes wrong in chunked framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A position in chunked framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    state: State,
    /// Bytes of the chunk still to come, or its size as far as it has been read.
    left: u64,
    /// Hexadecimal digits of the size read so far, or bytes of trailers.
    count: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    SizeLineFeed,
    Data,
    DataCarriageReturn,
    DataLineFeed,
    /// At the start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    Trailer,
    TrailerLineFeed,
    EndLineFeed,
    Done,
}

/// A chunk size of more digits is none that anybody sends.
const MAX_SIZE_DIGITS: u32 = 15;

/// More trailers than this are refused.
const MAX_TRAILER_BYTES: u32 = 8 * 1024;

impl Framing {
    /// A body of this many bytes.
    pub(super) fn length(bytes: u64) -> Self {
        Self::Length(bytes)
    }

    /// A chunked body.
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks { state: State::Size, left: 0, count: 0 })
    }

    /// Whether nothing more of the request is to come.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.state == State::Done,
            Self::Tunnel | Self::Malformed => false,
        }
    }

    /// Takes the body's next bytes: how many at the beginning only frame it, and how many after them are data. What follows
    /// is still to be taken, or belongs to the next request. After an error there is no taking any more.
    pub(super) fn take(&mut self, bytes: &[u8]) -> Result<(usize, usize), Malformed> {
        let taken = match self {
            Self::Tunnel => Ok((0, bytes.len())),
            Self::Length(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                *left -= taken as u64;
                Ok((0, taken))
            }
            Self::Chunked(chunks) => chunks.take(bytes),
            Self::Malformed => Err(Malformed),
        };
        if taken.is_err() {
            *self = Self::Malformed;
        }
        taken
    }
}

impl Chunks {
    fn take(&mut self, bytes: &[u8]) -> Result<(usize, usize), Malformed> {
        let mut at = 0;
        while at < bytes.len() && self.state != State::Done {
            if self.state == State::Data {
                let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len() - at);
                self.left -= taken as u64;
                if self.left == 0 {
                    self.state = State::DataCarriageReturn;
                }
                return Ok((at, taken));
            }
            self.state = self.step(bytes[at])?;
            at += 1;
        }
        Ok((at, 0))
    }

    /// The state after one byte that is not chunk data.
    fn step(&mut self, byte: u8) -> Result<State, Malformed> {
        match (self.state, byte) {
            (State::Size, b'\r') if self.count > 0 => Ok(State::SizeLineFeed),
            (State::Size, digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(Malformed)?;
                self.count += 1;
                self.left = self.left * 16 + u64::from(digit);
                if self.count > MAX_SIZE_DIGITS { Err(Malformed) } else { Ok(State::Size) }
            }
            (State::SizeLineFeed, b'\n') => {
                self.count = 0;
                Ok(if self.left == 0 { State::TrailerStart } else { State::Data })
            }
            (State::DataCarriageReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size),
            (State::TrailerStart, b'\r') => Ok(State::EndLineFeed),
            (State::Trailer, b'\r') => Ok(State::TrailerLineFeed),
            (State::TrailerStart | State::Trailer, byte) if byte != b'\n' => {
                self.count += 1;
                if self.count > MAX_TRAILER_BYTES { Err(Malformed) } else { Ok(State::Trailer) }
            }
            (State::TrailerLineFeed, b'\n') => Ok(State::TrailerStart),
            (State::EndLineFeed, b'\n') => Ok(State::Done),
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Takes the body from `bytes` to its end or theirs: how many belong to it, and its data.
    fn read(framing: &mut Framing, bytes: &[u8]) -> Result<(usize, Vec<u8>), Malformed> {
        let (mut at, mut body) = (0, Vec::new());
        loop {
            let (skipped, data) = framing.take(&bytes[at..])?;
            body.extend_from_slice(&bytes[at + skipped..at + skipped + data]);
            at += skipped + data;
            if data == 0 {
                return Ok((at, body));
            }
        }
    }

    #[test]
    fn a_length_ends_after_that_many_bytes() {
        let mut framing = Framing::length(5);
        assert_eq!(framing.take(b"abc"), Ok((0, 3)));
        assert!(!framing.is_done());
        assert_eq!(framing.take(b"defg"), Ok((0, 2)));
        assert!(framing.is_done());
        assert_eq!(framing.take(b"x"), Ok((0, 0)));
    }

    #[test]
    fn a_tunnel_has_no_end() {
        let mut framing = Framing::Tunnel;
        assert_eq!(framing.take(b"abc"), Ok((0, 3)));
        assert!(!framing.is_done());
    }

    #[test]
    fn chunks_end_after_the_last_wherever_the_reads_are_cut() {
        let body = b"4\r\nWiki\r\nA\r\n0123456789\r\n0\r\nX-Sum: 1\r\n\r\n";
        let text = [&body[..], b"GET / HTTP/1.1\r\n"].concat();
        for cut in 0..text.len() {
            let mut framing = Framing::chunked();
            let (first, data) = read(&mut framing, &text[..cut]).unwrap();
            let (second, rest) = read(&mut framing, &text[first..]).unwrap();
            assert_eq!(first + second, body.len());
            assert_eq!([data, rest].concat(), b"Wiki0123456789");
            assert!(framing.is_done());
        }
    }

    #[test]
    fn chunked_framing_is_taken_strictly() {
        for text in [
            "\r\n",
            "4;ext=1\r\n",
            "4 \r\n",
            " 4\r\n",
            "+4\r\n",
            "0x4\r\n",
            "4\n",
            "4\r4",
            "1\r\nab",
            "1\r\na\n",
            "0\r\nX: 1\n",
            "0\r\n\r\r",
            "1000000000000000\r\n",
        ] {
            assert_eq!(read(&mut Framing::chunked(), text.as_bytes()), Err(Malformed), "{text:?}");
        }
        let mut framing = Framing::chunked();
        assert_eq!(framing.take(b"x"), Err(Malformed));
        assert_eq!((framing.take(b"1\r\na\r\n"), framing.is_done()), (Err(Malformed), false));
        let endless = format!("0\r\n{}", "X: 1\r\n".repeat(4000));
        assert_eq!(read(&mut Framing::chunked(), endless.as_bytes()), Err(Malformed));
    }

    proptest! {
        #[test]
        fn no_bytes_panic_and_no_more_is_taken_than_given(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok((taken, _)) = read(&mut Framing::chunked(), &bytes) {
                prop_assert!(taken <= bytes.len());
            }
        }
    }
}
