//! `${file:/run/secrets/token}`: the content of a file, as containers and Kubernetes hand secrets over.
//!
//! One newline at the end is left out, because editors and `echo` write one. Nothing of the content is ever told.

use std::path::Path;

use super::problem::{Fault, quoted};
use super::text;
use crate::regular_file::{self, Unread};

/// The most bytes of a file.
const MAX: u64 = 64 * 1024;

/// The content of a file.
pub(super) fn read(path: &Path) -> Result<String, Fault> {
    let shown = quoted(&path.display().to_string());
    let fault = |why: &str, hint: &'static str| Fault::new(format!("the file {shown} {why}")).hint(hint);
    let content = regular_file::read_at_most(path, MAX).map_err(|why| match why {
        Unread::Io(error) => fault(&format!("cannot be read: {error}"), text::unreadable(path, &error)),
        Unread::NotRegular => {
            fault("is no regular file", "name a file that holds the value and nothing else")
        }
        Unread::Large => fault("has more than 64 KiB", "a value is shorter: is this the right file?"),
    })?;
    let Ok(mut text) = String::from_utf8(content) else {
        return Err(fault("is no UTF-8 text", "write the value as text, such as in base64"));
    };
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    match text.is_empty() {
        true => Err(fault("is empty", "write the value into it, or leave the reference out")),
        false => Ok(text),
    }
}
