//! Where the links of documents lead.

use std::collections::BTreeMap;
use std::path::Path;

use super::markdown::Document;

/// What is wrong with the links of a document, if the anchors of all documents are these.
pub(crate) fn wrong_links(document: &Document, anchors: &BTreeMap<String, Vec<String>>) -> Vec<String> {
    let wrong = |(line, link): &(usize, String)| {
        let what = judge(document, link, anchors).err()?;
        Some(format!("{}:{line}: {link}: {what}", document.path))
    };
    document.links.iter().filter_map(wrong).collect()
}

fn judge(
    document: &Document,
    link: &str,
    anchors: &BTreeMap<String, Vec<String>>,
) -> Result<(), &'static str> {
    if link.contains(char::is_whitespace) {
        return Err("white space");
    }
    if link.contains("://") {
        // Nobody is asked: whether others can be reached is not what a test is about.
        let good = ["https://", "http://localhost", "http://127.0.0.1"]
            .iter()
            .any(|beginning| link.starts_with(beginning));
        return if good { Ok(()) } else { Err("not https") };
    }
    let (path, anchor) = link.split_once('#').map_or((link, None), |(path, anchor)| (path, Some(anchor)));
    let folder = Path::new(&document.path).parent().unwrap();
    let target = if path.is_empty() { document.path.clone() } else { normal(&folder.join(path)) };
    if !Path::new(env!("CARGO_MANIFEST_DIR")).join(&target).exists() {
        return Err("there is no such file");
    }
    let Some(anchor) = anchor else { return Ok(()) };
    let known = anchors.get(&target).ok_or("an anchor in a file that is no document")?;
    if known.iter().any(|known| known == anchor) { Ok(()) } else { Err("there is no such heading") }
}

/// A path without `..`.
fn normal(path: &Path) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.iter().map(|part| part.to_str().unwrap()) {
        match part {
            ".." => _ = parts.pop(),
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
