//! Reads the text of a file.

use std::path::Path;
use std::{fs, io};

/// The text of the file at `path`.
///
/// # Errors
/// When it cannot be read, or is no text.
pub(super) fn read(path: &Path) -> io::Result<String> {
    String::from_utf8(fs::read(path)?).map_err(|error| {
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
    let metadata = path.metadata()?;
    if !metadata.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    if metadata.len() > bytes {
        return Err(io::Error::other(format!("it has more than {bytes} bytes")));
    }
    read(path)
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
