//! Opens and reads a file that is one, without waiting for anything.
//!
//! What is opened is what is looked at and read: between a look at a path and its opening the path may come to lead to a pipe, which nobody
//! writes to. The length that a file tells is not gone by, since the files of `/proc` say that they are empty.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// Why a file is not read.
#[derive(Debug)]
pub enum Unread {
    /// It cannot be opened or read.
    Io(io::Error),
    /// It is a folder, a pipe, a device or the like.
    NotRegular,
    /// It has more bytes than it may.
    Large,
}

impl From<io::Error> for Unread {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Opens the regular file at `path` for reading.
///
/// # Errors
/// When it cannot be opened, or is no regular file.
pub fn open(path: &Path) -> Result<File, Unread> {
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(nonblocking).open(path)?;
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(Unread::NotRegular),
    }
}

/// The content of the regular file at `path`, which has at most so many bytes.
///
/// # Errors
/// When it cannot be read, is no regular file, or is longer.
pub fn read_at_most(path: &Path, bytes: u64) -> Result<Vec<u8>, Unread> {
    let mut content = Vec::new();
    let read = open(path)?.take(bytes.saturating_add(1)).read_to_end(&mut content)?;
    match read as u64 > bytes {
        true => Err(Unread::Large),
        false => Ok(content),
    }
}
