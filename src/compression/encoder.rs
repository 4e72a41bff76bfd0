//! A body that is compressed piece by piece.
//!
//! Whatever has come in goes out with the same call: the upstream decides when something is worth sending, and an event must
//! not wait for the next one. That costs a few bytes a piece.

use std::io::{self, Write as _};
use std::mem;

use brotli::CompressorWriter;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::Coding;

/// From here on the time spent grows faster than what is saved.
const GZIP_LEVEL: u32 = 5;
const BROTLI_QUALITY: u32 = 4;
const ZSTD_LEVEL: i32 = 3;

/// How far back repetitions are looked for, as a power of two: what bounds the memory of an answer that is running.
const WINDOW: u32 = 18;

/// What brotli gathers before it looks at it.
const BROTLI_BUFFER: usize = 4096;

/// Compresses one body.
pub struct Encoder(Stream);

enum Stream {
    Zstd(Box<zstd::Encoder<'static, Vec<u8>>>),
    Brotli(Box<CompressorWriter<Vec<u8>>>),
    Gzip(Box<GzEncoder<Vec<u8>>>),
    /// There is nothing more to come.
    Done,
}

impl Encoder {
    /// An encoder for a body, of this length if that is known.
    ///
    /// # Errors
    /// When the library has no memory.
    pub fn new(coding: Coding, length: Option<u64>) -> io::Result<Self> {
        let out = Vec::new();
        Ok(Self(match coding {
            Coding::Zstd => {
                let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
                encoder.window_log(WINDOW)?;
                encoder.set_pledged_src_size(length)?;
                Stream::Zstd(Box::new(encoder))
            }
            Coding::Brotli => {
                Stream::Brotli(Box::new(CompressorWriter::new(out, BROTLI_BUFFER, BROTLI_QUALITY, WINDOW)))
            }
            Coding::Gzip => Stream::Gzip(Box::new(GzEncoder::new(out, Compression::new(GZIP_LEVEL)))),
        }))
    }

    /// Compresses a piece of the body, and everything that was before it.
    ///
    /// # Errors
    /// When the library fails.
    pub fn encode(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        Ok(Bytes::from(match &mut self.0 {
            Stream::Zstd(encoder) => {
                encoder.write_all(piece)?;
                encoder.flush()?;
                mem::take(encoder.get_mut())
            }
            Stream::Brotli(encoder) => {
                encoder.write_all(piece)?;
                encoder.flush()?;
                mem::take(encoder.get_mut())
            }
            Stream::Gzip(encoder) => {
                encoder.write_all(piece)?;
                encoder.flush()?;
                mem::take(encoder.get_mut())
            }
            Stream::Done => Vec::new(),
        }))
    }

    /// Compresses the last piece, and ends the body; nothing if that has been done.
    ///
    /// # Errors
    /// When the library fails.
    pub fn finish(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        Ok(Bytes::from(match mem::replace(&mut self.0, Stream::Done) {
            Stream::Zstd(mut encoder) => {
                encoder.write_all(piece)?;
                encoder.finish()?
            }
            Stream::Brotli(mut encoder) => {
                encoder.write_all(piece)?;
                encoder.into_inner()
            }
            Stream::Gzip(mut encoder) => {
                encoder.write_all(piece)?;
                encoder.finish()?
            }
            Stream::Done => Vec::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    /// As much of `compressed` as can be read: its end may be missing.
    fn decoded(coding: Coding, compressed: &[u8]) -> Vec<u8> {
        let mut decoder: Box<dyn io::Read> = match coding {
            Coding::Zstd => Box::new(zstd::Decoder::new(compressed).unwrap()),
            Coding::Brotli => Box::new(brotli::Decompressor::new(compressed, 4096)),
            Coding::Gzip => Box::new(flate2::read::GzDecoder::new(compressed)),
        };
        let mut out = Vec::new();
        let mut space = [0; 4096];
        while let Ok(count @ 1..) = decoder.read(&mut space) {
            out.extend_from_slice(&space[..count]);
        }
        out
    }

    #[test]
    fn each_piece_can_be_read_as_soon_as_it_is_written() {
        for coding in Coding::ALL {
            let mut encoder = Encoder::new(coding, None).unwrap();
            let (mut sent, mut compressed) = (Vec::new(), Vec::new());
            for piece in [&b"data: 1\n\n"[..], b"data: 2\n\n", &[b'x'; 100_000], b""] {
                sent.extend_from_slice(piece);
                compressed.extend(encoder.encode(piece).unwrap());
                assert_eq!(decoded(coding, &compressed), sent, "{coding:?}");
            }
            compressed.extend(encoder.finish(b"end").unwrap());
            sent.extend_from_slice(b"end");
            assert_eq!(decoded(coding, &compressed), sent, "{coding:?}");
            assert!(compressed.len() < 1000, "{coding:?}: {}", compressed.len());
            assert!(encoder.encode(b"more").unwrap().is_empty());
            assert!(encoder.finish(b"more").unwrap().is_empty());
        }
    }

    #[test]
    fn a_length_that_is_known_is_kept_to() {
        for coding in Coding::ALL {
            let compressed = Encoder::new(coding, Some(4)).unwrap().finish(b"four").unwrap();
            assert_eq!(decoded(coding, &compressed), b"four");
        }
        let mut encoder = Encoder::new(Coding::Zstd, Some(4)).unwrap();
        assert!(encoder.finish(b"three").is_err());
    }
}
