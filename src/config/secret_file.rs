//! `${file:/run/secrets/token}`: the content of a file, as containers and Kubernetes hand secrets over.
//!
//! One newline at the end is left out, because editors and `echo` write one. Nothing of the content is ever told.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use super::problem::{Fault, quoted};
use super::text;

/// The most bytes of a file.
const MAX: u64 = 64 * 1024;

/// The content of a file.
pub(super) fn read(path: &Path) -> Result<String, Fault> {
    let shown = quoted(&path.display().to_string());
    let fault = |why: &str, hint: &'static str| Fault::new(format!("the file {shown} {why}")).hint(hint);
    let metadata = path
        .metadata()
        .map_err(|error| fault(&format!("cannot be read: {error}"), text::unreadable(path, &error)))?;
    if !metadata.is_file() {
        return Err(fault("is no regular file", "name a file that holds the value and nothing else"));
    }
    let mut content = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAX + 1).read_to_end(&mut content));
    read.map_err(|error| fault(&format!("cannot be read: {error}"), text::unreadable(path, &error)))?;
    if content.len() as u64 > MAX {
        return Err(fault("has more than 64 KiB", "a value is shorter: is this the right file?"));
    }
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
