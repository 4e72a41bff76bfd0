//! `[consumers.NAME]`, also in files of their own, and `[plans.NAME]`.

use std::path::Path;

use super::super::document;
use super::super::env::Env;
use super::super::item::Item;
use super::super::problem::{Checked, Fault, Sink, quoted};
use super::super::section::Section;
use super::super::table::{Kind, Setting, Table};
use super::super::text;
use super::names::{Names, label};
use super::shared::FILE;
use crate::client_certificate;
use crate::consumer::{Consumer, Consumers, KeyHash, Taken};

/// The largest file of consumers, in bytes.
const MAX_FILE: u64 = 256 * 1024 * 1024;

/// What matches the name of a consumer.
const NAME: &str = "[A-Za-z0-9_.@:+/|=~-]{1,128}";

pub(super) static PLAN: Table = Table::new(
    "A plan that consumers can have. Limits give it terms.",
    &[Setting::new("description", Kind::Text, "A note for whoever reads the file.")
        .example(r#""paying customers""#)],
);

static CONSUMER: Table = Table::new(
    "A caller that the gateway knows by its credentials.",
    &[
        Setting::new(
            "plan",
            Kind::Text,
            "The name of the consumer's plan. A consumer without a plan has the terms that each limit has itself.",
        )
        .example(r#""pro""#),
        Setting::new(
            "keys",
            Kind::List(&Kind::Pattern(&["sha256:[0-9A-Fa-f]{64}"]), 0),
            "The SHA-256 of each API key of the consumer, as `gateway key new` prints it.",
        )
        .example(r#"["sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"]"#),
        Setting::new(
            "certificates",
            Kind::List(&Kind::Pattern(&[".+:.+"]), 0),
            "A name in each client certificate of the consumer: a URI, or `dns:…`, `email:…` or `subject:…`.",
        )
        .example(r#"["spiffe://example.org/alice", "dns:alice.example.org"]"#),
    ],
);

const NAMED: Kind = Kind::Named(NAME, &Kind::Table(&CONSUMER));

/// Consumers, or the files that have them.
pub(super) const CONSUMERS: Kind = Kind::Either(&[NAMED, FILE, Kind::List(&FILE, 1)]);

static CONSUMERS_FILE: Table =
    Table::new("A file of consumers.", &[Setting::new("consumers", NAMED, "Who is known.").required()]);

const EXAMPLE: &str = "[consumers.NAME] and its keys below";

/// Reads what a plan has. Its name is what matters: limits and consumers refer to it.
pub(super) fn plans(items: &Checked<Vec<(&str, Item<'_>)>>) -> Checked<Vec<String>> {
    let items = items.as_ref().map_err(|reported| *reported)?;
    super::together(items.iter().map(|(name, item)| {
        let title = format!("[plans.{}]", name.escape_debug());
        let section = item.section(&PLAN, title, "[plans.NAME], with or without a description below")?;
        let description = section.optional("description", |item| item.text("a string"));
        section.finish();
        description.map(|_| (*name).to_owned())
    }))
}

/// Reads `consumers`: a table, or the names of files that have one each.
pub(super) fn all(item: &Item<'_>, plans: &Names<'_>, env: Env<'_>) -> Checked<Consumers> {
    let mut consumers = Consumers::default();
    if item.is_table() {
        add(item, plans, &mut consumers)?;
        return Ok(consumers);
    }
    let mut complete = Ok(());
    for file in item.one_or_list() {
        complete = complete.and(from_file(&file, plans, env, &mut consumers));
    }
    complete.map(|()| consumers)
}

/// Adds the consumers of the file that `item` names. What is wrong with them is reported where it stands in that file.
fn from_file(item: &Item<'_>, plans: &Names<'_>, env: Env<'_>, to: &mut Consumers) -> Checked<()> {
    let path = item.parse("a table, or the path of a file with one", |text| match text {
        "" => Err(Fault::new("an empty path names no file").hint("such as \"consumers.toml\"")),
        path => Ok(Path::new(path)),
    })?;
    item.note_file(path);
    let text = text::read_at_most(path, MAX_FILE).map_err(|why| {
        let fault = Fault::new(format!("cannot read the consumers in {}: {why}", path.display()));
        item.report(fault.hint(text::unreadable(path, &why)))
    })?;
    let text = text::without_mark(&text);
    let name = path.display().to_string();
    let sink = Sink::new(text);
    let read = document::read(text, env, &sink).and_then(|root| {
        let file = Section::root(&CONSUMERS_FILE, &root, &sink);
        let read = file.required("consumers", "[consumers.alice]", |item| add(&item, plans, to));
        file.finish();
        read
    });
    item.sink.adopt(&name, &sink);
    read
}

/// Adds the consumers of a table.
fn add(item: &Item<'_>, plans: &Names<'_>, to: &mut Consumers) -> Checked<()> {
    let mut complete = Ok(());
    for (name, item) in item.named(EXAMPLE)? {
        complete = complete.and(consumer(name, &item, plans, to));
    }
    complete
}

fn consumer(name: &str, item: &Item<'_>, plans: &Names<'_>, to: &mut Consumers) -> Checked<()> {
    let named = consumer_name(name).map_err(|fault| item.report_key(fault));
    let section = item.section(&CONSUMER, format!("the consumer {}", quoted(name)), EXAMPLE)?;
    let plan = section.optional("plan", |item| plans.find(&item));
    let keys = match section.get("keys") {
        Some(item) => item.values("hashes of API keys", |item| item.parse(HASH, hash)),
        None => super::super::values::Values::empty(),
    };
    let certificates = match section.get("certificates") {
        Some(item) => item.values("names in certificates", |item| item.parse(CERTIFICATE, certificate)),
        None => super::super::values::Values::empty(),
    };
    section.finish();
    named?;
    keys.complete?;
    certificates.complete?;
    let (hashes, items): (Vec<_>, Vec<_>) = keys.list.into_iter().unzip();
    let (names, certificates): (Vec<_>, Vec<_>) = certificates.list.into_iter().unzip();
    match to.add(Consumer::new(name.to_owned(), plan?), &hashes) {
        Ok(()) => to.add_certificates(name, names).map_err(|index| {
            let fault = Fault::new("this name stands twice, so it does not say who is calling");
            certificates[index].report(fault.hint("give each consumer certificates of its own"))
        }),
        Err(Taken::Name) => {
            let fault = Fault::new(format!("another file has the consumer {} too", quoted(name)));
            Err(item.report_key(fault.hint("give each consumer its own name")))
        }
        Err(Taken::Key(index)) => {
            let fault = Fault::new("this key stands twice, so it does not say who is calling");
            Err(items[index].report(fault.hint("make each consumer a key of its own with `gateway key new`")))
        }
    }
}

const CERTIFICATE: &str = "a name in a certificate, such as \"spiffe://example.org/alice\"";

fn certificate(text: &str) -> Result<String, Fault> {
    client_certificate::name(text).map_err(|_| {
        Fault::new(format!("{} is no name in a certificate", quoted(text))).hint(
            "write a URI such as \"spiffe://example.org/alice\", or \"dns:alice.example.org\", \"email:alice@example.org\" or \"subject:CN=alice,O=Example\"",
        )
    })
}

const HASH: &str = "the hash of an API key, \"sha256:\" and 64 hexadecimal digits";

fn hash(text: &str) -> Result<KeyHash, Fault> {
    text.parse().map_err(|_| {
        Fault::new("a key is stored as its hash, \"sha256:\" and 64 hexadecimal digits, and this is none").hint(
            "`gateway key new` prints both; if this was the key itself, it is no secret any more: replace it",
        )
    })
}

/// Checks the name of a consumer, which goes into header fields and the paths of the side port.
pub(super) fn consumer_name(name: &str) -> Result<(), Fault> {
    label("consumer", name)?;
    if Consumer::is_name(name) {
        return Ok(());
    }
    Err(Fault::new(format!("{} cannot be the name of a consumer", quoted(name)))
        .hint("a name is 1 to 128 letters, digits, and _ . @ : + / | = ~ - without spaces: it goes into header fields"))
}
