//! The lines of a stream, borrowed from one buffer.

use std::io::{self, Read};

use memchr::memchr;

/// How much is read at a time at least.
const BLOCK: usize = 128 << 10;

/// The longest line that is read.
pub(super) const LONGEST: usize = 1 << 20;

/// A line that is not empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line<'a> {
    /// The first of a file is 1. Empty lines count.
    pub(super) number: u64,
    /// Without its end; `None` if it is longer than [`LONGEST`].
    pub(super) text: Option<&'a [u8]>,
}

/// The lines of a stream.
pub(super) struct Lines<R> {
    stream: R,
    buffer: Vec<u8>,
    /// What of the buffer is filled and not taken yet.
    from: usize,
    to: usize,
    /// No newline is before this place.
    searched: usize,
    /// The lines that have been taken.
    count: u64,
    at_end: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(stream: R) -> Self {
        Self { stream, buffer: vec![0; BLOCK], from: 0, to: 0, searched: 0, count: 0, at_end: false }
    }

    /// The lines that have been taken, with those that are empty.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// The next line that is not empty. After an error there are no more.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        let mut is_too_long = false;
        loop {
            if let Some(length) = memchr(b'\n', &self.buffer[self.searched..self.to]) {
                let (from, end) = (self.from, self.searched + length);
                (self.from, self.searched) = (end + 1, end + 1);
                self.count += 1;
                let end = if end > from && self.buffer[end - 1] == b'\r' { end - 1 } else { end };
                if is_too_long || end - from > LONGEST {
                    return Ok(Some(Line { number: self.count, text: None }));
                }
                if end > from {
                    return Ok(Some(Line { number: self.count, text: Some(&self.buffer[from..end]) }));
                }
                continue;
            }
            self.searched = self.to;
            // One byte more may be the `\r` of a line that is as long as may be.
            if self.to - self.from > LONGEST + 1 {
                is_too_long = true;
            }
            if is_too_long {
                (self.from, self.to, self.searched) = (0, 0, 0);
            }
            if !self.fill()? {
                let (from, to) = (self.from, self.to);
                (self.from, self.to, self.searched) = (0, 0, 0);
                if from == to && !is_too_long {
                    return Ok(None);
                }
                self.count += 1;
                let text = (!is_too_long && to - from <= LONGEST).then(|| &self.buffer[from..to]);
                return Ok(Some(Line { number: self.count, text }));
            }
        }
    }

    /// Reads more into the buffer. Returns whether there was more.
    fn fill(&mut self) -> io::Result<bool> {
        if self.at_end {
            return Ok(false);
        }
        self.buffer.copy_within(self.from..self.to, 0);
        self.searched -= self.from;
        self.to -= self.from;
        self.from = 0;
        if self.buffer.len() - self.to < BLOCK / 2 {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        let read = loop {
            match self.stream.read(&mut self.buffer[self.to..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        self.at_end = !matches!(read, Ok(1..));
        self.to += read?;
        Ok(!self.at_end)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A stream that gives so many bytes at a time.
    struct Dripping<'a>(&'a [u8], usize);

    impl Read for Dripping<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(buffer.len());
            (&mut self.0).take(length as u64).read(buffer)
        }
    }

    fn lines(mut lines: Lines<impl Read>) -> Vec<(u64, Option<Vec<u8>>)> {
        let mut all = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            all.push((line.number, line.text.map(<[u8]>::to_vec)));
        }
        assert!(lines.buffer.len() <= 4 * LONGEST);
        all
    }

    #[test]
    fn empty_lines_are_skipped_and_counted_and_the_last_needs_no_end() {
        for (text, expected) in [
            ("", &[][..]),
            ("\n\r\n", &[]),
            ("a", &[(1, "a")]),
            ("a\r\n\n b \r\n\r", &[(1, "a"), (3, " b "), (4, "\r")]),
            ("\na\nb\n", &[(2, "a"), (3, "b")]),
        ] {
            for drop in [1, 2, 100] {
                let found = lines(Lines::new(Dripping(text.as_bytes(), drop)));
                let expected: Vec<_> =
                    expected.iter().map(|(number, text)| (*number, Some(text.as_bytes().to_vec()))).collect();
                assert_eq!(found, expected, "{text:?}");
            }
        }
    }

    #[test]
    fn a_line_of_a_mebibyte_is_read_and_a_longer_one_is_skipped() {
        let long = |length| vec![b'a'; length];
        for end in [&b"\n"[..], b"\r\n"] {
            let text = [&b"x"[..], end, &long(LONGEST), end, &long(LONGEST + 1), end, b"y"].concat();
            let found = lines(Lines::new(&*text));
            let lengths: Vec<_> =
                found.iter().map(|(number, text)| (*number, text.as_ref().map(Vec::len))).collect();
            assert_eq!(lengths, [(1, Some(1)), (2, Some(LONGEST)), (3, None), (4, Some(1))]);
        }
        let last = lines(Lines::new(io::repeat(b'a').take(LONGEST as u64 + 1)));
        assert_eq!(last, [(1, None)]);
    }

    #[test]
    fn a_line_of_a_hundred_megabytes_takes_no_more_memory_than_one_that_is_read() {
        let text = io::repeat(b'a').take(100_000_000).chain(&b"\nb\n"[..]);
        assert_eq!(lines(Lines::new(text)), [(1, None), (2, Some(b"b".to_vec()))]);
    }

    #[test]
    fn after_an_error_there_are_no_more_lines() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::InvalidData.into())
            }
        }
        let mut lines = Lines::new(b"a\nb".chain(Broken));
        assert_eq!(lines.next().unwrap().unwrap().text, Some(&b"a"[..]));
        lines.next().unwrap_err();
        lines.next().unwrap();
        assert_eq!(lines.next().unwrap(), None);
    }

    proptest! {
        #[test]
        fn lines_are_what_stands_between_newlines(
            text in prop::collection::vec(prop::sample::select(&b"ab\r\n\0"[..]), 0..200),
            drop in 1..20_usize,
        ) {
            let found: Vec<_> = lines(Lines::new(Dripping(&text, drop)));
            let mut split: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
            let last = split.pop().unwrap();
            let ended = split.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line));
            let all = ended.chain([last]);
            let expected: Vec<_> =
                (1..).zip(all).filter(|(_, line)| !line.is_empty()).map(|(number, line)| (number, Some(line.to_vec()))).collect();
            prop_assert_eq!(found, expected);
        }
    }
}
