//! `[errors]` and `errors` of a route: pages in the place of the gateway's own words.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::HeaderValue;

use super::super::item::Item;
use super::super::problem::{Checked, Fault, Sink, Span, quoted};
use super::super::section::Section;
use super::super::suggest;
use super::super::table::{Kind, Setting, Table};
use super::super::text;
use super::super::value::http::header_value;
use super::shared::{FIELD_VALUE, FILE};
use crate::error_page::{Layer, MAX_FILLED, Page, PageError, Pages, Placeholder};

/// The largest page, in bytes.
const MAX: u64 = 1024 * 1024;

static PAGE: Table = Table::new(
    "A page that the gateway sends as the body of its own refusals and errors. It may have placeholders \
     such as `{{status}}`.",
    &[
        Setting::new(
            "file",
            FILE,
            "The path of the file that has the page, at most 1 MiB, or 16 KiB with placeholders.",
        )
        .example(r#""errors/503.html""#),
        Setting::new("body", Kind::Text, "The page itself, instead of `file`.")
            .example(r#""back in {{retry_after}} seconds""#),
        Setting::new(
            "content_type",
            FIELD_VALUE,
            "The `Content-Type` of the page. Without this key it follows from the ending of `file`; that \
             of a `body` is \"text/plain; charset=utf-8\".",
        )
        .example(r#""text/html; charset=utf-8""#),
    ],
)
.with_one_of(&["file", "body"]);

const NAMED: Kind = Kind::Named("[45]([0-9][0-9]|xx)", &Kind::Table(&PAGE));

/// Pages by status.
pub(super) const ERRORS: Kind = NAMED;

/// Pages by status, or `false`.
pub(super) const ERRORS_OF_ROUTE: Kind = Kind::Either(&[NAMED, Kind::Boolean]);

const EXAMPLE: &str = "errors = { 404 = { file = \"404.html\" }, 5xx = { body = \"sorry\" } }";

/// The types of files, by their endings.
const TYPES: [(&str, &str); 7] = [
    ("html", "text/html; charset=utf-8"),
    ("htm", "text/html; charset=utf-8"),
    ("xhtml", "application/xhtml+xml; charset=utf-8"),
    ("json", "application/json"),
    ("txt", "text/plain; charset=utf-8"),
    ("xml", "application/xml"),
    ("svg", "image/svg+xml"),
];

/// The page of a file of some type, or that it has none.
type Known = HashMap<(PathBuf, HeaderValue), Checked<Arc<Page>>>;

/// The files of pages that have been read: each once, however many routes name it.
#[derive(Debug, Default)]
pub(super) struct Files {
    read: RefCell<Known>,
}

/// Reads `[errors]`.
pub(super) fn of_file(item: &Item<'_>, files: &Files) -> Checked<Arc<Layer>> {
    layer(item, files)
}

/// The pages of a route: those of its `errors`, and then the `general` ones of the file. With `errors = false` it has none.
pub(super) fn of_route(
    item: Option<Item<'_>>,
    general: Checked<Option<&Arc<Layer>>>,
    files: &Files,
) -> Checked<Pages> {
    let own = match item {
        Some(item) if !item.is_table() => {
            return match item.boolean_or(&format!(", or a table such as {EXAMPLE}"))? {
                false => Ok(Pages::default()),
                true => Err(item.expected("false, or a table")),
            };
        }
        item => item.map(|item| layer(&item, files)).transpose(),
    };
    let (own, general) = (own?, general?);
    Ok(Pages::new(own.into_iter().chain(general.cloned()).collect()))
}

fn layer(item: &Item<'_>, files: &Files) -> Checked<Arc<Layer>> {
    let mut layer = Layer::default();
    let mut complete = Ok(());
    for (name, item) in item.named(EXAMPLE)? {
        let status = status_or_class(name).map_err(|fault| item.report_key(fault));
        match page(name, &item, files).and_then(|page| Ok((status?, page))) {
            Ok((status, page)) => layer.add(status, page),
            Err(reported) => complete = Err(reported),
        }
    }
    complete.map(|()| Arc::new(layer))
}

/// A status of an error, or the first digit of its class.
fn status_or_class(name: &str) -> Result<u16, Fault> {
    match name {
        "4xx" => return Ok(4),
        "5xx" => return Ok(5),
        _ => {}
    }
    let status = name.parse().ok().filter(|status| (400..=599).contains(status) && name.len() == 3);
    status.ok_or_else(|| {
        let fault = Fault::new(format!("{} is no status of an error", quoted(name)));
        match suggest::nearest(name, ["4xx", "5xx"]) {
            Some(near) => fault.hint(format!("did you mean `{near}`?")),
            None => fault.hint("write a status from 400 to 599, or `4xx` or `5xx` for all of a class"),
        }
    })
}

fn page(name: &str, item: &Item<'_>, files: &Files) -> Checked<Arc<Page>> {
    let title = format!("the page for {}", name.escape_debug());
    let section = item.section(&PAGE, title, "{ file = \"error.html\" }")?;
    let content_type = section.optional("content_type", |item| item.parse("a string", media_type));
    let (file, body) = (section.get("file"), section.get("body"));
    let page = match (file, body) {
        (Some(file), None) => content_type.and_then(|content_type| from_file(&file, content_type, files)),
        (None, Some(body)) => content_type.and_then(|content_type| from_body(&body, content_type)),
        (Some(_), Some(body)) => Err(section.sink.report(
            body.key_span(),
            Fault::new(format!("{} has `file`, and cannot have `body` too", section.title))
                .hint("keep one of the two"),
        )),
        (None, None) => missing(&section),
    };
    section.finish();
    page
}

/// A type such as `text/html; charset=utf-8`.
fn media_type(text: &str) -> Result<HeaderValue, Fault> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$&-^_.+".contains(&byte))
    };
    let essence = text.split(';').next().unwrap_or_default().trim();
    if !essence.split_once('/').is_some_and(|(kind, name)| is_name(kind) && is_name(name)) {
        let fault = Fault::new(format!("{} is no media type", quoted(text)));
        return Err(fault.hint("such as \"text/html; charset=utf-8\""));
    }
    header_value(text)
}

fn missing<T>(section: &Section<'_>) -> Checked<T> {
    if section.misspells(&["file", "body"]) {
        return Err(section.sink.reported_later());
    }
    let fault = Fault::new(format!("{} has no text", section.title));
    Err(section.report(fault.hint("give it a `file` or a `body`")))
}

fn from_body(item: &Item<'_>, content_type: Option<HeaderValue>) -> Checked<Arc<Page>> {
    let content_type = content_type.unwrap_or(HeaderValue::from_static("text/plain; charset=utf-8"));
    let page = Page::parse(item.text("a string")?, content_type);
    page.map(Arc::new).map_err(|errors| {
        for error in errors {
            item.report(fault(error).1);
        }
        item.sink.already_reported()
    })
}

fn from_file(item: &Item<'_>, content_type: Option<HeaderValue>, files: &Files) -> Checked<Arc<Page>> {
    let path = item.parse("the path of a file", |text| match text {
        "" => Err(Fault::new("an empty path names no file").hint("such as \"errors/503.html\"")),
        path => Ok(Path::new(path)),
    })?;
    let content_type = content_type.map_or_else(|| type_of(path).map_err(|fault| item.report(fault)), Ok)?;
    let key = (path.to_owned(), content_type.clone());
    if let Some(known) = files.read.borrow().get(&key) {
        return known.clone();
    }
    item.note_file(path);
    let page = read(item, path, content_type);
    files.read.borrow_mut().insert(key, page.clone());
    page
}

fn read(item: &Item<'_>, path: &Path, content_type: HeaderValue) -> Checked<Arc<Page>> {
    let text = text::read_at_most(path, MAX).map_err(|why| {
        let fault = Fault::new(format!("cannot read the page in {}: {why}", path.display()));
        item.report(fault.hint(text::unreadable(path, &why)))
    })?;
    let text = text::without_mark(&text);
    Page::parse(text, content_type).map(Arc::new).map_err(|errors| {
        let sink = Sink::new(text);
        for (span, fault) in errors.into_iter().map(fault) {
            sink.report(&span, fault);
        }
        item.sink.adopt(&path.display().to_string(), &sink);
        item.sink.already_reported()
    })
}

/// The type of a file, by its ending.
fn type_of(path: &Path) -> Result<HeaderValue, Fault> {
    let ending = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    let known = TYPES.iter().find(|(known, _)| ending.eq_ignore_ascii_case(known));
    known.map(|(_, name)| HeaderValue::from_static(name)).ok_or_else(|| {
        Fault::new(format!(
            "the ending of {} does not say which type the page has",
            quoted(&path.display().to_string())
        ))
        .hint("write content_type = \"text/html; charset=utf-8\" beside it")
    })
}

fn fault(error: PageError) -> (Span, Fault) {
    match error {
        PageError::Unclosed(span) => {
            (span, Fault::new("`{{` without its `}}`").hint("write {{status}}, or {{{{ for two braces"))
        }
        PageError::Large(span) => (
            span,
            Fault::new(format!("a page with placeholders has at most {} KiB", MAX_FILLED / 1024))
                .hint("leave the placeholders out, or move styles and images into files of their own"),
        ),
        PageError::Unknown(span, name) => {
            let fault = Fault::new(format!("there is no placeholder {}", quoted(&name)));
            let hint = match suggest::nearest(&name, Placeholder::NAMES) {
                Some(near) => format!("did you mean {{{{{near}}}}}?"),
                None => format!(
                    "{}; write {{{{{{{{ for two braces",
                    suggest::list(&Placeholder::NAMES, "they are")
                ),
            };
            (span, fault.hint(hint))
        }
    }
}
