//! `[access_log]`.

use std::path::PathBuf;

use super::super::item::Item;
use super::super::problem::{Checked, Fault};
use super::super::table::{Kind, Setting, Table};
use super::super::{AccessLog, LogFormat, LogTarget, Member, Members};
use super::shared::FILE;

/// The names of what may be in `fields`: each line begins with its time.
const NAMES: [&str; Member::ALL.len() + 1] = {
    let mut names = ["time"; Member::ALL.len() + 1];
    let mut at = 0;
    while at < Member::ALL.len() {
        names[at + 1] = Member::ALL[at].0;
        at += 1;
    }
    names
};

pub(super) static ACCESS_LOG: Table = Table::new(
    "The access log, which has a line for each request.",
    &[
        Setting::new(
            "path",
            FILE,
            "Where lines go: `\"-\"` is standard output, `\"off\"` writes none, and everything else is the path \
             of a file. The gateway appends to the file, and opens it again on SIGUSR1 and SIGHUP.",
        )
        .example(r#""/var/log/gateway/access.log""#).or("\"-\""),
        Setting::new(
            "format",
            Kind::Word(&["json", "combined"]),
            "How a line is written: as a JSON object, or in the combined format of Apache and nginx.",
        ).or("\"json\""),
        Setting::new(
            "fields",
            Kind::List(&Kind::Word(&NAMES), 1),
            "Which members a JSON line has beside `time`; without this key it has all of them. `gateway replay` \
             needs `client`, `method`, `path`, `status`, `duration_ms`, `protocol`, `host`, `keys` and `limits`.",
        )
        .example(r#"["client", "method", "path", "status", "duration_ms"]"#),
        Setting::new(
            "sample",
            Kind::Fraction,
            "The share of requests without trouble that have a line. Refusals, errors and statuses from 400 on \
             always have one.",
        )
        .example("0.1")
        .or("1"),
    ],
);

/// The access log where the file does not say.
pub(super) fn default() -> AccessLog {
    AccessLog::whole(LogTarget::Stdout, LogFormat::Json)
}

/// Reads `[access_log]`; `None` if there is none.
pub(super) fn read(item: Item<'_>) -> Checked<Option<AccessLog>> {
    let section = item.section(
        &ACCESS_LOG,
        "[access_log]".into(),
        "[access_log] once, in single brackets, and its keys below",
    )?;
    let target = section.or("path", Some(LogTarget::Stdout), |item| {
        item.parse("\"-\", \"off\" or the path of a file", |text| match text {
            "-" => Ok(Some(LogTarget::Stdout)),
            "off" => Ok(None),
            "" => Err(Fault::new("an empty path names no file").hint("write \"-\" for stdout, or \"off\"")),
            path => Ok(Some(LogTarget::File(PathBuf::from(path)))),
        })
    });
    let format = section.or("format", LogFormat::Json, |item| {
        item.word(&[("json", LogFormat::Json), ("combined", LogFormat::Combined)])
    });
    let members = section.or("fields", Members::ALL, members);
    let sample = section.or("sample", None, sample);
    let useless = match format {
        Ok(LogFormat::Combined) => section.useless(
            &["fields", "sample"],
            "with format = \"combined\"",
            "a line of that format has its fields, and cannot say that it is one of a sample: leave it out, or write format = \"json\"",
        ),
        _ => Ok(()),
    };
    section.finish();
    useless?;
    let (format, members, sample) = (format?, members?, sample?);
    Ok(target?.map(|target| AccessLog { target, format, members, sample }))
}

fn members(item: Item<'_>) -> Checked<Members> {
    let words: Vec<(&'static str, Option<Member>)> =
        Member::ALL.iter().map(|(name, member)| (*name, Some(*member))).collect();
    let words = [vec![("time", None)], words].concat();
    let named = item.values("names", |item| Ok((item.text("a string")?, item.word(&words)?)));
    let named = named.each_once_by(|(name, _)| *name).all()?;
    if named.is_empty() {
        let fault = Fault::new("a line would have its time and nothing else");
        return Err(item.report(fault.hint("name what it should have, or leave out `fields` for everything")));
    }
    Ok(Members::of(named.into_iter().filter_map(|(_, member)| member)))
}

/// The share, if it is not all.
fn sample(item: Item<'_>) -> Checked<Option<f64>> {
    let share = item.fraction()?;
    if share <= 0.0 {
        let fault = Fault::new(
            "with a sample of 0 nobody could tell the log from that of a gateway without requests",
        );
        return Err(item.report(fault.hint("write a small share, such as 0.001, or path = \"off\"")));
    }
    Ok((share < 1.0).then_some(share))
}
