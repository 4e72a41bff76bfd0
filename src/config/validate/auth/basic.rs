//! `[auth.basic]`: names and passwords, in files as `htpasswd` makes them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::config::Basic;
use crate::config::item::Item;
use crate::config::problem::{Checked, Fault, Sink, Span, quoted};
use crate::config::table::{Kind, Setting, Table};
use crate::config::text;
use crate::config::validate::consumers::consumer_name;
use crate::config::validate::shared::{DURATION_OR_ZERO, FILE};
use crate::password::{PasswordHash, Users};

/// The largest file of users, in bytes.
const MAX_FILE: u64 = 64 * 1024 * 1024;

const REALM: &str = "gateway";
const CACHE: Duration = Duration::from_secs(60);

/// The longest time for which a password that was right is known.
const MAX_CACHE: Duration = Duration::from_secs(60 * 60);

pub(super) static BASIC: Table = Table::new(
    "Names and passwords (HTTP Basic).",
    &[
        Setting::new(
            "htpasswd",
            Kind::Either(&[FILE, Kind::List(&FILE, 1)]),
            "A file, or a list of files, with a line `NAME:HASH` for each user, as `htpasswd -B` makes them. The \
             hashes are bcrypt or argon2.",
        )
        .example(r#""/etc/gateway/users.htpasswd""#)
        .required(),
        Setting::new(
            "realm",
            Kind::Pattern(&["[ -~]{1,128}"]),
            "What a browser shows when it asks for a password.",
        )
        .example(r#""staff""#)
        .or("\"gateway\""),
        Setting::new(
            "keep",
            Kind::Boolean,
            "Whether upstreams receive the name and the password too.",
        ).or("false"),
        Setting::new(
            "cache",
            DURATION_OR_ZERO,
            "How long the gateway remembers that a password was right, so that its hash is not computed again; at \
             most an hour. With `0` it remembers nothing.",
        )
        .example(r#""5m""#)
        .or("\"60s\""),
    ],
);

/// Reads `[auth.basic]`.
pub(super) fn read(item: &Item<'_>) -> Checked<Basic> {
    let section = item.section(&BASIC, "[auth.basic]".into(), "{ htpasswd = \"users.htpasswd\" }")?;
    let users = section.required("htpasswd", "htpasswd = \"users.htpasswd\"", |item| users(&item));
    let realm = section.or("realm", REALM.to_owned(), |item| item.parse("a string", realm));
    let keep = section.or("keep", false, |item| item.boolean());
    let cache = section.or("cache", CACHE, |item| {
        let cache = item.duration_or_zero()?;
        if cache <= MAX_CACHE {
            return Ok(cache);
        }
        let fault = Fault::new("a password is known for at most an hour without making its hash again");
        Err(item.report(fault.hint("such as \"60s\"")))
    });
    section.finish();
    Ok(Basic { users: Arc::new(users?), realm: realm?, keep: keep?, cache: cache? })
}

fn realm(text: &str) -> Result<String, Fault> {
    let fits = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    match (1..=128).contains(&text.len()) && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err(Fault::new(format!("{} cannot be a realm", quoted(text)))
            .hint("a realm is 1 to 128 visible characters of ASCII and spaces: it goes into a header field")),
    }
}

/// Reads the users of one file or several.
fn users(item: &Item<'_>) -> Checked<Users> {
    let mut users = Users::default();
    let mut complete = Ok(());
    for file in item.one_or_list() {
        complete = complete.and(from_file(&file, &mut users));
    }
    complete.map(|()| users)
}

/// Adds the users of the file that `item` names. What is wrong with them is reported where it stands in that file.
fn from_file(item: &Item<'_>, to: &mut Users) -> Checked<()> {
    let path = item.parse("the path of a file", |text| match text {
        "" => Err(Fault::new("an empty path names no file").hint("such as \"users.htpasswd\"")),
        path => Ok(Path::new(path)),
    })?;
    item.note_file(path);
    item.note_secret(path);
    let text = text::read_at_most(path, MAX_FILE).map_err(|why| {
        let fault = Fault::new(format!("cannot read the passwords in {}: {why}", path.display()));
        item.report(fault.hint(text::unreadable(path, &why)))
    })?;
    let text = text::without_mark(&text);
    let sink = Sink::new(text);
    let mut complete = Ok(());
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        if let Err((span, fault)) = user(line, to) {
            complete = Err(sink.report(&(start + span.start..start + span.end), fault));
        }
        start += line.len();
    }
    item.sink.adopt(&path.display().to_string(), &sink);
    complete
}

/// Adds the user of a line, `name:hash`, behind which there may be a comment after another colon. The fault has its place in the line.
fn user(line: &str, to: &mut Users) -> Result<(), (Span, Fault)> {
    let line = line.trim_end();
    if line.is_empty() || line.starts_with('#') {
        return Ok(());
    }
    let Some((name, rest)) = line.split_once(':') else {
        let fault = Fault::new("this line has no colon between a name and the hash of a password");
        return Err((0..line.len(), fault.hint("`htpasswd -B FILE USER` writes such lines")));
    };
    if let Err(fault) = consumer_name(name) {
        // Without the name: of a line in another format it may be a secret.
        let nameless = Fault::new("the name in this line cannot be that of a consumer");
        return Err((0..name.len(), Fault { hint: fault.hint, ..nameless }));
    }
    let hash = rest.split(':').next().unwrap_or_default();
    let place = name.len() + 1..name.len() + 1 + hash.len();
    let hash = PasswordHash::parse(hash).map_err(|why| (place, Fault::new(why.what).hint(why.remedy)))?;
    if to.add(name, hash) {
        return Ok(());
    }
    let fault = Fault::new(format!("there is a password of {} already", quoted(name)));
    Err((0..name.len(), fault.hint("keep one of the two lines")))
}
