//! `auth`, `auth_required`, `allow` and `deny`: who may use a route.

use super::super::item::Item;
use super::super::problem::{Checked, Fault, quoted};
use super::super::section::Section;
use super::super::table::Kind;
use super::super::value::address;
use super::super::{Access, Auth, Server, Subject, Way};
use super::auth;
use super::names::Names;
use crate::consumer::Consumers;

/// Whom `allow` and `deny` may be about.
pub(super) const SUBJECTS: Kind =
    Kind::List(&Kind::Pattern(&["consumer:.+", "plan:.+", address::NETWORK]), 0);

/// What routes refer to, and what holds where they do not say.
pub(super) struct Callers<'a> {
    /// The names of the plans.
    pub(super) plans: &'a Names<'a>,
    /// `None` if they cannot be read.
    pub(super) consumers: Option<&'a Consumers>,
    /// `[auth]`; `None` if it cannot be read.
    pub(super) auth: Option<&'a Auth>,
    /// `[server]`; `None` if it cannot be read.
    pub(super) server: Option<&'a Server>,
    /// `auth` of `[server]`.
    pub(super) ways: Checked<Vec<Way>>,
    /// `auth_required` of `[server]`.
    pub(super) required: Checked<bool>,
}

/// Reads who may use a route.
pub(super) fn access(section: &Section<'_>, callers: &Callers<'_>) -> Checked<Access> {
    let own_ways = section.optional("auth", auth::ways);
    let own_required = section.optional("auth_required", |item| item.boolean());
    let allow = section.optional("allow", |item| subjects(item, callers));
    let deny = section.optional("deny", |item| subjects(item, callers));
    let asks = match &own_ways {
        Ok(Some(own)) => Some(!own.is_empty()),
        Ok(None) => callers.ways.as_ref().ok().map(|ways| !ways.is_empty()),
        Err(_) => None,
    };
    if asks == Some(false) {
        let hint = "write auth = [\"api_key\"], or leave it out";
        section.useless(&["auth_required"], "on a route without `auth`", hint)?;
        for (key, subjects) in [("allow", &allow), ("deny", &deny)] {
            if let (Ok(Some(subjects)), Some(item)) = (subjects, section.get(key))
                && subjects.iter().any(|subject| !matches!(subject, Subject::Network(_)))
            {
                let fault = Fault::new("nobody proves to be a consumer on a route without `auth`");
                return Err(item.report(fault.hint("write auth = [\"api_key\"], or name networks only")));
            }
        }
    }
    let ways = match own_ways? {
        Some(own) => own,
        None => callers.ways.as_ref().map_err(|reported| *reported)?.clone(),
    };
    if let Some(fault) =
        callers.auth.and_then(|auth| auth::missing(&ways, auth, callers.server, callers.consumers))
    {
        return Err(match section.get("auth") {
            Some(item) => item.report(fault),
            None => section.report(fault),
        });
    }
    let required = own_required?.map_or(callers.required, Ok)?;
    Ok(Access { ways, lets_strangers_in: !required, allow: allow?, deny: deny?.unwrap_or_default() })
}

fn subjects(item: Item<'_>, callers: &Callers<'_>) -> Checked<Vec<Subject>> {
    const WHO: &str = "\"consumer:NAME\", \"plan:NAME\", or a network such as \"10.0.0.0/8\"";
    item.values("callers", |item| {
        let text = item.text(WHO)?;
        let subject = match text.split_once(':') {
            Some(("consumer", name)) => consumer(name, callers),
            Some(("plan", name)) => callers.plans.index(name)?.map(Subject::Plan),
            _ => address::network(text).map(Subject::Network).map_err(|_| {
                Fault::new(format!("{} is neither a consumer, a plan, nor a network", quoted(text)))
                    .hint("such as \"consumer:alice\", \"plan:pro\" or \"10.0.0.0/8\"")
            }),
        };
        subject.map_err(|fault| item.report(fault))
    })
    .each_once()
    .all()
}

fn consumer(name: &str, callers: &Callers<'_>) -> Result<Subject, Fault> {
    // Tokens name consumers that the file does not, and so does a service.
    let is_known = callers.auth.is_none_or(|auth| auth.jwt.is_some() || auth.forward.is_some())
        || callers.consumers.is_none_or(|consumers| consumers.named(name).is_some());
    match is_known {
        true => Ok(Subject::Consumer(name.to_owned())),
        false => Err(Fault::new(format!("there is no consumer {}", quoted(name)))
            .hint("write [consumers.NAME] for it, or correct the name")),
    }
}
