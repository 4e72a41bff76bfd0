//! The framing of an HTTP/1 request's body, followed as its bytes are read.
//!
//! The proxy gets the data of a body without its framing and without any byte of the next request. Chunk extensions and trailers are
//! dropped. Chunked framing is parsed strictly (RFC 9112, section 7.1, without the whitespace that it calls bad): framing that another
//! parser might read differently ends the request.

/// How the body of a request is delimited, and how much of it is still to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Framing {
    /// This many bytes are still to come.
    Length(u64),
    /// Chunks are still to come.
    Chunked(Chunks),
    /// The connection has switched to another protocol: everything that comes belongs to it.
    Tunnel,
    /// The framing is malformed, so it is not known where the body ends.
    Malformed,
}

/// An error in chunked framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// A position in chunked framing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunks {
    state: State,
    /// Bytes of the chunk still to come, or its size as far as it has been read.
    left: u64,
    /// Hexadecimal digits of the size read so far, bytes of the chunk's extensions, or bytes of trailers.
    count: u32,
    /// Bytes of extensions that may still come.
    extensions_left: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Size,
    /// After the semicolon of an extension: its name has a character at least.
    ExtensionStart,
    ExtensionName,
    /// After the equals sign of an extension.
    ValueStart,
    Value,
    QuotedValue,
    /// After a backslash in a quoted value.
    QuotedCharacter,
    /// After the closing quotation mark.
    QuotedValueEnd,
    SizeLineFeed,
    Data,
    DataCarriageReturn,
    DataLineFeed,
    /// At the start of a trailer line, or of the empty line that ends the body.
    TrailerStart,
    TrailerName,
    TrailerValue,
    TrailerLineFeed,
    EndLineFeed,
    Done,
}

/// The most digits of a chunk's size.
const MAX_SIZE_DIGITS: u32 = 15;

/// The most bytes of a chunk's extensions. A signature of the chunk has a hundred bytes.
const MAX_EXTENSION_BYTES: u32 = 1024;

/// All extensions of a body together may have so many bytes more than its data, so that a client cannot make the gateway read megabytes
/// for a body of a few bytes (CVE-2023-39326).
const EXTENSION_ALLOWANCE: u64 = 16 * 1024;

/// The most bytes of trailers.
const MAX_TRAILER_BYTES: u32 = 8 * 1024;

impl Framing {
    /// A body of this many bytes.
    pub(super) fn length(bytes: u64) -> Self {
        Self::Length(bytes)
    }

    /// A chunked body.
    pub(super) fn chunked() -> Self {
        Self::Chunked(Chunks { state: State::Size, left: 0, count: 0, extensions_left: EXTENSION_ALLOWANCE })
    }

    /// Whether nothing more of the request is to come.
    pub(super) fn is_done(&self) -> bool {
        match self {
            Self::Length(left) => *left == 0,
            Self::Chunked(chunks) => chunks.state == State::Done,
            Self::Tunnel | Self::Malformed => false,
        }
    }

    /// Takes the body's next bytes. Returns how many at the beginning are framing, and how many after them are data. Bytes after these are
    /// still to be taken, or belong to the next request. After an error nothing more may be taken.
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
            (State::Size, b';') if self.count > 0 => {
                self.count = 0;
                Ok(State::ExtensionStart)
            }
            (State::Size, digit) => {
                let digit = char::from(digit).to_digit(16).ok_or(Malformed)?;
                self.count += 1;
                self.left = self.left * 16 + u64::from(digit);
                if self.count > MAX_SIZE_DIGITS { Err(Malformed) } else { Ok(State::Size) }
            }
            (
                State::ExtensionStart
                | State::ExtensionName
                | State::ValueStart
                | State::Value
                | State::QuotedValue
                | State::QuotedCharacter
                | State::QuotedValueEnd,
                byte,
            ) => self.step_extension(byte),
            (State::SizeLineFeed, b'\n') => {
                self.count = 0;
                self.extensions_left = self.extensions_left.saturating_add(self.left);
                Ok(if self.left == 0 { State::TrailerStart } else { State::Data })
            }
            (State::DataCarriageReturn, b'\r') => Ok(State::DataLineFeed),
            (State::DataLineFeed, b'\n') => Ok(State::Size),
            (State::TrailerStart, b'\r') => Ok(State::EndLineFeed),
            (State::TrailerStart | State::TrailerName | State::TrailerValue, byte) => self.step_trailer(byte),
            (State::TrailerLineFeed, b'\n') => Ok(State::TrailerStart),
            (State::EndLineFeed, b'\n') => Ok(State::Done),
            _ => Err(Malformed),
        }
    }

    /// The state after one byte of extensions.
    fn step_extension(&mut self, byte: u8) -> Result<State, Malformed> {
        self.count += 1;
        self.extensions_left = self.extensions_left.checked_sub(1).ok_or(Malformed)?;
        if self.count > MAX_EXTENSION_BYTES {
            return Err(Malformed);
        }
        match (self.state, byte) {
            (State::ExtensionName | State::Value | State::QuotedValueEnd, b'\r') => Ok(State::SizeLineFeed),
            (State::ExtensionName | State::Value | State::QuotedValueEnd, b';') => Ok(State::ExtensionStart),
            (State::ExtensionName, b'=') => Ok(State::ValueStart),
            (State::ExtensionStart | State::ExtensionName, byte) if is_token(byte) => {
                Ok(State::ExtensionName)
            }
            (State::ValueStart, b'"') | (State::QuotedCharacter, _) if is_text(byte) => {
                Ok(State::QuotedValue)
            }
            (State::ValueStart | State::Value, byte) if is_token(byte) => Ok(State::Value),
            (State::QuotedValue, b'"') => Ok(State::QuotedValueEnd),
            (State::QuotedValue, b'\\') => Ok(State::QuotedCharacter),
            (State::QuotedValue, byte) if is_text(byte) => Ok(State::QuotedValue),
            _ => Err(Malformed),
        }
    }

    /// The state after one byte of a trailer, which is a field like any other: a name, a colon and a value.
    fn step_trailer(&mut self, byte: u8) -> Result<State, Malformed> {
        self.count += 1;
        if self.count > MAX_TRAILER_BYTES {
            return Err(Malformed);
        }
        match (self.state, byte) {
            (State::TrailerName, b':') => Ok(State::TrailerValue),
            (State::TrailerStart | State::TrailerName, byte) if is_token(byte) => Ok(State::TrailerName),
            (State::TrailerValue, b'\r') => Ok(State::TrailerLineFeed),
            (State::TrailerValue, byte) if is_text(byte) => Ok(State::TrailerValue),
            _ => Err(Malformed),
        }
    }
}

/// Whether a name may have this character (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether a value may have this character: no control character but the tab (RFC 9110, section 5.5).
fn is_text(byte: u8) -> bool {
    byte == b'\t' || (byte >= b' ' && byte != 0x7f)
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
            ";a\r\n",
            "4;\r\n",
            "4;;a\r\n",
            "4;a=\r\n",
            "4;=b\r\n",
            "4;a=b=c\r\n",
            "4 ;a\r\n",
            "4; a\r\n",
            "4;a =b\r\n",
            "4;a= b\r\n",
            "4;a \r\n",
            "4;a\n",
            "4;a=b\n",
            "4;a\rb",
            "4;a\0\r\n",
            "4;a=\x7f\r\n",
            "4;a(\r\n",
            "4;a=\"b\r\n\"\r\n",
            "4;a=\"b\n\"\r\n",
            "4;a=\"\\\r\n",
            "4;a=\"b\"c\r\n",
            "4;a=b\"c\"\r\n",
            "4 \r\n",
            " 4\r\n",
            "+4\r\n",
            "0x4\r\n",
            "4\n",
            "4\r4",
            "1\r\nab",
            "1\r\na\n",
            "0\r\nX: 1\n",
            "0\r\nno colon\r\n",
            "0\r\nX\r\n",
            "0\r\nX : 1\r\n",
            "0\r\n X: 1\r\n",
            "0\r\nX: 1\r\n 2\r\n",
            "0\r\n: 1\r\n",
            "0\r\nX(: 1\r\n",
            "0\r\nX: \0\r\n",
            "0\r\nX: \rY: 1\r\n",
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

    #[test]
    fn extensions_are_read_over() {
        for extensions in [
            ";a",
            ";a=b",
            ";a=b;c;d=\"e\"",
            ";a=\"\"",
            ";a=\"\\\"; \t=;\\\\\"",
            ";a=\"\u{e9}\"",
            ";chunk-signature=ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        ] {
            let text = format!("4{extensions}\r\nWiki\r\n0{extensions}\r\nX-Sum:\r\nY: \t1\r\n\r\n");
            for cut in 0..text.len() {
                let mut framing = Framing::chunked();
                let (first, data) = read(&mut framing, &text.as_bytes()[..cut]).unwrap();
                let (second, rest) = read(&mut framing, &text.as_bytes()[first..]).unwrap();
                assert_eq!((first + second, framing.is_done()), (text.len(), true), "{text:?}");
                assert_eq!([data, rest].concat(), b"Wiki");
            }
        }
    }

    #[test]
    fn there_is_no_endless_reading_over_extensions() {
        let with = |length: usize| format!("1;{}\r\na\r\n", "e".repeat(length));
        let longest = MAX_EXTENSION_BYTES as usize - 1;
        assert!(read(&mut Framing::chunked(), with(longest).as_bytes()).is_ok());
        assert_eq!(read(&mut Framing::chunked(), with(longest + 1).as_bytes()), Err(Malformed));
        assert!(read(&mut Framing::chunked(), with(80).repeat(150).as_bytes()).is_ok());
        assert_eq!(read(&mut Framing::chunked(), with(80).repeat(300).as_bytes()), Err(Malformed));
        // A large body may have many of them.
        let large = format!("1000;{}\r\n{}\r\n", "e".repeat(80), "a".repeat(0x1000)).repeat(1000);
        assert!(read(&mut Framing::chunked(), large.as_bytes()).is_ok());
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
