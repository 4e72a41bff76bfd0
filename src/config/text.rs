//! Reads the text of a file.

use std::path::Path;
use std::{fs, io};

use crate::regular_file::{self, Unread};

/// The text of the file at `path`.
///
/// # Errors
/// When it cannot be read, or is no text.
pub(super) fn read(path: &Path) -> io::Result<String> {
    text(fs::read(path)?)
}

fn text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().iter().take(error.utf8_error().valid_up_to());
        let line = valid.filter(|&&byte| byte == b'\n').count() + 1;
        io::Error::other(format!("it is not UTF-8 text (line {line})"))
    })
}

/// The text of the regular file at `path`, which has at most so many bytes.
///
/// # Errors
/// When it cannot be read, is no file, or is longer.
pub(super) fn read_at_most(path: &Path, bytes: u64) -> io::Result<String> {
    text(regular_file::read_at_most(path, bytes).map_err(|why| match why {
        Unread::Io(error) => error,
        Unread::NotRegular => io::Error::other("it is no file"),
        Unread::Large => io::Error::other(format!("it has more than {bytes} bytes")),
    })?)
}

/// A text without the invisible byte order mark with which some editors begin a file, and which columns do not count.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}

/// What helps with a file that cannot be read.
pub(super) fn unreadable(path: &Path, error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "let the user read it as whom the gateway runs",
        _ if path.is_relative() => "a path is relative to where the gateway is started",
        _ => "is the path right?",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_file_or_does_not_end_is_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, file) = (folder.path().join("pipe"), folder.path().join("file"));
        rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR, 0)
            .unwrap();
        fs::write(&file, "four").unwrap();
        let error = |path: &Path| read_at_most(path, 3).unwrap_err().to_string();
        assert_eq!(error(&pipe), "it is no file");
        assert_eq!(error(folder.path()), "it is no file");
        assert_eq!(error(Path::new("/dev/zero")), "it is no file");
        assert_eq!(error(&file), "it has more than 3 bytes");
        // It says that it is empty.
        assert_eq!(error(Path::new("/proc/self/status")), "it has more than 3 bytes");
        assert_eq!(read_at_most(&file, 4).unwrap(), "four");
    }
}
