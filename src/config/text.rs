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
/// Why it cannot be read, in words.
pub(super) fn read_at_most(path: &Path, bytes: u64) -> Result<String, String> {
    let metadata = path.metadata().map_err(|error| error.to_string())?;
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    if metadata.len() > bytes {
        return Err(format!("it has more than {bytes} bytes"));
    }
    read(path).map_err(|error| error.to_string())
}

/// A text without the invisible byte order mark with which some editors begin a file, and which columns do not count.
pub(super) fn without_mark(text: &str) -> &str {
    text.strip_prefix('\u{feff}').unwrap_or(text)
}
