//! `upstream` and `split_by` of a route: which upstream its requests go to.

use super::super::item::Item;
use super::super::problem::{Checked, Fault, together};
use super::super::section::Section;
use super::super::table::Kind;
use super::super::value::key;
use super::super::{Destination, Split};
use super::names::Names;
use crate::limit::key::{Key, KeyPart, MissingKey};
use crate::route::Shares;

/// The largest weight.
const MAX_WEIGHT: u64 = 1_000_000;

/// The name of an upstream, or the weights of several.
pub(super) const UPSTREAM: Kind =
    Kind::Either(&[Kind::Text, Kind::Named(".{1,128}", &Kind::Integer(0, MAX_WEIGHT))]);

/// A part of a key.
pub(super) const SPLIT_BY: Kind = Kind::Pattern(&[key::PART]);

/// Reads `upstream`, which is `item`, and `split_by` of the route with this name.
pub(super) fn destination(
    section: &Section<'_>,
    item: &Item<'_>,
    route: &Checked<&str>,
    upstreams: &Names<'_>,
    underscores: bool,
) -> Checked<Destination> {
    if item.is_list() {
        let hint = "write upstream = { stable = 95, canary = 5 }";
        return Err(item.mismatch("the name of an upstream, or the weights of several", Some(hint.into())));
    }
    if !item.is_table() {
        let upstream = upstreams.find(item);
        section.useless(
            &["split_by"],
            "where all requests go to one upstream",
            "name several, such as upstream = { stable = 95, canary = 5 }, or leave it out",
        )?;
        return upstream.map(Destination::One);
    }
    let by = section.optional("split_by", |item| split_by(&item, underscores));
    let targets = targets(item, upstreams)?;
    if targets.is_empty() {
        let fault = Fault::new("no upstream is named here");
        return Err(
            item.report(fault.hint("write upstream = { stable = 95, canary = 5 }, or the name of one"))
        );
    }
    let shares = Shares::new((*route)?, targets).ok_or_else(|| {
        let fault = Fault::new("every weight is 0, so that no upstream would get a request");
        item.report(fault.hint("give one upstream at least a weight of 1 or more"))
    });
    Ok(Destination::Split(Box::new(Split { by: by?, shares: shares? })))
}

/// The upstreams of a table, each with its index, name and weight.
fn targets<'a>(item: &Item<'a>, upstreams: &Names<'_>) -> Checked<Vec<(usize, &'a str, u32)>> {
    let target = |(name, weight): (&'a str, Item<'a>)| {
        let index = upstreams.index(name).and_then(|found| found.map_err(|fault| weight.report_key(fault)));
        let weight = weight.integer(0..=MAX_WEIGHT);
        Ok((index?, name, u32::try_from(weight?).unwrap_or(0)))
    };
    together(item.named("upstream = { stable = 95, canary = 5 }")?.into_iter().map(target))
}

/// The key whose value decides.
fn split_by(item: &Item<'_>, underscores: bool) -> Checked<Key> {
    item.parse("a key such as \"client_ip\"", |text| match key::part(text, underscores)? {
        KeyPart::Route | KeyPart::Global => {
            let fault = Fault::new(format!(
                "all requests of a route have the same `{text}`, and would go to one upstream"
            ));
            Err(fault.hint("write what tells them apart, such as \"client_ip\" or \"cookie:session\""))
        }
        // A request without the value goes by its client's address, as one that has two.
        part => Ok(Key { missing: MissingKey::Reject, ..Key::of(vec![part]) }),
    })
}
