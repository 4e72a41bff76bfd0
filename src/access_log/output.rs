//! Where lines go: a file or stdout, and what becomes of lines that it does not take.
//!
//! A disk that is full may take half a line. The rest of that line is kept and written before anything else, so a
//! log that recovers has no line that is torn. A file that ends in half a line, because the process before this one could
//! not finish it, gets an end of line first.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Seek as _, SeekFrom, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _};
use std::path::Path;

use crate::config::LogTarget;

/// A new file may be read by its owner and its group, such as those who ship logs: addresses and paths are nobody else's
/// business.
const MODE: u32 = 0o640;

/// An open file, and how to open it again.
pub(super) struct Sink {
    target: LogTarget,
    file: File,
}

/// Lines on their way into something.
pub(super) struct Output<W> {
    to: W,
    /// The rest of a line whose beginning has been written.
    rest: Vec<u8>,
}

/// What became of some lines.
#[derive(Debug)]
pub(super) struct Written {
    /// How many will never be written.
    pub(super) lost: u64,
    /// Why not all of them were.
    pub(super) error: Option<io::Error>,
}

impl Sink {
    pub(super) fn open(target: LogTarget) -> io::Result<Self> {
        let file = open(&target)?;
        Ok(Self { target, file })
    }

    /// What has to be written first, so that the next line begins on a line of its own.
    fn missing(&self) -> &'static [u8] {
        match &self.target {
            LogTarget::File(path) if ends_in_half_a_line(path).unwrap_or(false) => b"\n",
            _ => b"",
        }
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn open(target: &LogTarget) -> io::Result<File> {
    match target {
        LogTarget::Stdout => Ok(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
        LogTarget::File(path) if is_fifo(path) => {
            // For writing alone, opening would wait until somebody reads.
            OpenOptions::new().read(true).write(true).open(path)
        }
        LogTarget::File(path) => OpenOptions::new().create(true).append(true).mode(MODE).open(path),
    }
}

fn ends_in_half_a_line(path: &Path) -> io::Result<bool> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() || metadata.len() == 0 {
        return Ok(false);
    }
    let mut file = File::open(path)?;
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last != *b"\n")
}

fn is_fifo(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

impl<W: Write> Output<W> {
    /// Writes whole lines, or as many of them as can be.
    pub(super) fn write(&mut self, lines: &[u8]) -> Written {
        let (written, result) = write_most(&mut self.to, &self.rest);
        self.rest.drain(..written);
        if let Err(error) = result {
            return Written { lost: count(lines), error: Some(error) };
        }
        let (written, result) = write_most(&mut self.to, lines);
        let Err(error) = result else { return Written { lost: 0, error: None } };
        let (done, left) = lines.split_at(written);
        let torn = done.last().is_some_and(|&last| last != b'\n');
        let rest = if torn { memchr::memchr(b'\n', left).map_or(left.len(), |end| end + 1) } else { 0 };
        self.rest.extend_from_slice(&left[..rest]);
        Written { lost: count(&left[rest..]), error: Some(error) }
    }

    /// Gives up on a line that was written in part: how many that are. One that lacks its end alone is not lost.
    pub(super) fn abandon(&mut self) -> u64 {
        let lost = self.rest.len() > 1;
        self.rest.clear();
        lost.into()
    }
}

impl Output<Sink> {
    pub(super) fn open(target: LogTarget) -> io::Result<Self> {
        let to = Sink::open(target)?;
        Ok(Self { rest: to.missing().to_vec(), to })
    }

    /// Opens the file by its name again, or keeps what is open. How many lines stay written in part in the old one.
    pub(super) fn reopen(&mut self) -> io::Result<u64> {
        self.to = Sink::open(self.to.target.clone())?;
        let lost = self.abandon();
        self.rest.extend_from_slice(self.to.missing());
        Ok(lost)
    }
}

fn count(lines: &[u8]) -> u64 {
    memchr::memchr_iter(b'\n', lines).count() as u64
}

/// Writes until everything is written or an error says that no more can be: how much, and which.
fn write_most(to: &mut impl Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < bytes.len() {
        match to.write(&bytes[written..]) {
            Ok(0) => return (written, Err(ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn output(room: usize) -> Output<Disk> {
        Output { to: Disk { content: Vec::new(), room }, rest: Vec::new() }
    }

    /// A disk with so much room.
    struct Disk {
        content: Vec<u8>,
        room: usize,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room).min(7);
            if taken == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.content.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_that_was_torn_is_finished_first() {
        let mut output = output(6);
        let written = output.write(b"one\ntwo\nthree\n");
        assert_eq!((written.lost, written.error.map(|e| e.kind())), (1, Some(ErrorKind::StorageFull)));
        assert_eq!(output.write(b"four\n").lost, 1);
        output.to.room = 100;
        assert_eq!(output.write(b"five\n").lost, 0);
        assert_eq!(output.to.content, b"one\ntwo\nfive\n");
    }

    #[test]
    fn a_torn_line_that_is_given_up_is_lost() {
        let mut output = output(1);
        assert_eq!(output.write(b"one\ntwo\n").lost, 1);
        assert_eq!(output.abandon(), 1);
        assert_eq!(output.abandon(), 0);
    }

    proptest! {
        #[test]
        fn every_line_is_whole_or_counted(batches in prop::collection::vec((0_usize..40, 0_usize..5), 1..20)) {
            let mut output = output(0);
            let (mut lost, mut sent) = (0, 0);
            for (room, lines) in batches {
                output.to.room = room;
                let batch: String = (sent..sent + lines).map(|number| format!("line {number}\n")).collect();
                sent += lines;
                lost += output.write(batch.as_bytes()).lost;
            }
            output.to.room = usize::MAX;
            lost += output.write(b"").lost;
            let text = String::from_utf8(output.to.content).unwrap();
            let numbers: Vec<usize> =
                text.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap()).collect();
            prop_assert!(numbers.is_sorted());
            prop_assert_eq!(numbers.len() as u64 + lost, sent as u64);
        }
    }
}
