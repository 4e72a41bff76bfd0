//! A file of a log as a stream of its bytes: read as it is, or decompressed if it begins as gzip or zstd does.

use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;

/// How much is read from a file at a time.
const BLOCK: usize = 64 << 10;

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// Fifteen other numbers follow it: frames that are skipped, which some tools write first.
const ZSTD_SKIPPABLE: [u8; 3] = [0x2a, 0x4d, 0x18];

/// An open file, and how much there is of it.
pub(super) struct Source {
    /// What is in it, decompressed.
    pub(super) content: Box<dyn Read + Send>,
    /// The bytes that it has on disk; `None` if nobody knows.
    pub(super) size: Option<u64>,
}

/// Opens a file, or standard input for `-`. What is read of it, before it is decompressed, is added to `read`.
pub(super) fn open(path: &Path, read: &Arc<AtomicU64>) -> io::Result<Source> {
    if path.as_os_str() == "-" {
        return Ok(Source { content: content(io::stdin(), read)?, size: None });
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::ErrorKind::IsADirectory.into());
    }
    let size = metadata.is_file().then_some(metadata.len());
    Ok(Source { content: content(file, read)?, size })
}

fn content(file: impl Read + Send + 'static, read: &Arc<AtomicU64>) -> io::Result<Box<dyn Read + Send>> {
    let mut file = Counted { file, read: read.clone() };
    let mut start = Vec::with_capacity(ZSTD.len());
    (&mut file).take(ZSTD.len() as u64).read_to_end(&mut start)?;
    let is_gzip = start.starts_with(&GZIP);
    let is_zstd = start == ZSTD || start.get(1..) == Some(&ZSTD_SKIPPABLE) && start[0] & 0xf0 == 0x50;
    let whole = Cursor::new(start).chain(file);
    Ok(if is_gzip {
        Box::new(MultiGzDecoder::new(buffered(whole)))
    } else if is_zstd {
        Box::new(zstd::Decoder::with_buffer(buffered(whole))?)
    } else {
        Box::new(whole)
    })
}

fn buffered<R: Read>(whole: Chain<Cursor<Vec<u8>>, R>) -> BufReader<Chain<Cursor<Vec<u8>>, R>> {
    BufReader::with_capacity(BLOCK, whole)
}

/// A file that counts what is read of it.
struct Counted<R> {
    file: R,
    read: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.file.read(buffer)?;
        // Relaxed: it is a number to show.
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> io::Result<(String, u64)> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, bytes).unwrap();
        let count = Arc::default();
        let mut source = open(&path, &count)?;
        assert_eq!(source.size, Some(bytes.len() as u64));
        let mut text = String::new();
        source.content.read_to_string(&mut text)?;
        Ok((text, count.load(Ordering::Relaxed)))
    }

    #[test]
    fn a_file_is_read_as_what_its_first_bytes_say() {
        let zstd = |text: &[u8]| zstd::encode_all(text, 1).unwrap();
        let skippable = [b"\x5e\x2a\x4d\x18\x02\0\0\0xx".as_slice(), &zstd(b"one")].concat();
        for (bytes, text) in [
            (b"".to_vec(), ""),
            (b"a".to_vec(), "a"),
            (b"plain\n".to_vec(), "plain\n"),
            (gzip(b"one"), "one"),
            ([gzip(b"one"), gzip(b"two")].concat(), "onetwo"),
            (zstd(b"one"), "one"),
            ([zstd(b"one"), zstd(b"two")].concat(), "onetwo"),
            (skippable, "one"),
        ] {
            let size = bytes.len() as u64;
            assert_eq!(read(&bytes).unwrap(), (text.to_owned(), size));
        }
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let text: Vec<u8> =
            (0..200_000_u32).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        for bytes in [gzip(&text), zstd::encode_all(&*text, 1).unwrap()] {
            read(&bytes[..bytes.len() / 2]).unwrap_err();
        }
    }

    #[test]
    fn a_folder_and_a_file_that_is_not_there_are_errors() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path(), &folder.path().join("no")] {
            assert!(open(path, &Arc::default()).is_err());
        }
    }
}
