//! Routes that a request may have been meant for.

use super::explanation::NearMiss;
use crate::config::{Config, Route};
use crate::route::pattern::HostPattern;
use crate::route::{Agreement, PathAgreement, rank};

/// No more are told.
const MOST: usize = 10;

/// The routes whose conditions agree best with a request, beside the one that takes it, and how many more there are. `slash` says
/// whether its path has an encoded slash, `method` is that of the request.
pub(super) fn misses(
    config: &Config,
    agreements: &[Agreement],
    taken: Option<usize>,
    method: &str,
    slash: bool,
) -> (Vec<NearMiss>, usize) {
    let near = |agreement: &Agreement| match taken {
        Some(_) => agreement.path == PathAgreement::Yes,
        None => agreement.path != PathAgreement::No,
    };
    let others = agreements.iter().enumerate().filter(|(index, _)| Some(*index) != taken);
    let mut misses: Vec<_> = others.filter(|(_, agreement)| near(agreement)).collect();
    misses.sort_by_key(|(_, agreement)| {
        let unmet = std::cmp::Reverse(agreement.unmet.len());
        std::cmp::Reverse((agreement.path, agreement.host, agreement.method, unmet))
    });
    // Routes that share only the beginning of the path say nothing where others are closer.
    if misses.first().is_some_and(|(_, closest)| !matches!(closest.path, PathAgreement::Begins(_))) {
        misses.retain(|(_, agreement)| !matches!(agreement.path, PathAgreement::Begins(_)));
    }
    let more = misses.len().saturating_sub(MOST);
    let told = misses.into_iter().take(MOST).map(|(index, agreement)| {
        let route = &config.routes[index];
        NearMiss {
            route: route.name.clone(),
            file: route.file.as_deref().map(str::to_owned),
            line: route.line,
            path: route.path.to_string(),
            why: why(route, agreement, taken.map(|taken| &config.routes[taken]), method, slash),
        }
    });
    (told.collect(), more)
}

fn why(
    route: &Route,
    agreement: &Agreement,
    taken: Option<&Route>,
    method: &str,
    slash: bool,
) -> Vec<String> {
    let mut why = Vec::new();
    let path = match agreement.path {
        PathAgreement::Yes => None,
        PathAgreement::WithSlash => Some("its path ends in a slash, and this one does not"),
        PathAgreement::WithoutSlash => Some("its path does not end in a slash, and this one does"),
        PathAgreement::Case => Some("its path is written in another case"),
        PathAgreement::Ending => Some("its path has another ending"),
        PathAgreement::Below => Some("its path is that one alone, and nothing below it"),
        PathAgreement::Alike => Some("its path is spelt alike"),
        PathAgreement::Begins(_) => Some("its path begins alike"),
        PathAgreement::No => Some("its path is another"),
    };
    why.extend(path.map(str::to_owned));
    if !agreement.host {
        let hosts: Vec<_> = route.hosts.iter().map(ToString::to_string).collect();
        why.push(format!("its host is {}", listed(&hosts)));
    }
    if !agreement.method {
        let methods: Vec<_> = route.methods.iter().map(ToString::to_string).collect();
        why.push(format!("it takes {}, and not {method}", listed(&methods)));
    }
    why.extend(agreement.unmet.iter().map(|unmet| format!("it asks for one {unmet}")));
    if agreement.path == PathAgreement::Yes && slash && !route.keeps_encoded_slashes {
        why.push("it refuses encoded slashes: encoded_slashes = \"keep\" takes them".to_owned());
    }
    if let (true, Some(taken)) = (why.is_empty(), taken) {
        why.push(match () {
            () if host_rank(route) < host_rank(taken) => "its host is less specific".to_owned(),
            () if route.path != taken.path => "its path is less specific".to_owned(),
            () if rank(&route.requirements) < rank(&taken.requirements) => {
                "it asks for less of the header fields and the query".to_owned()
            }
            () => "it does not name the method".to_owned(),
        });
    }
    why
}

/// A list that is not too long: `a, b, c and 4 more`.
pub(super) fn listed(words: &[String]) -> String {
    const MOST: usize = 5;
    match words.len() {
        0 => "any".to_owned(),
        1..=MOST => words.join(", "),
        count => format!("{} and {} more", words[..MOST].join(", "), count - MOST),
    }
}

/// How specific the host of a route is: nothing where it takes any.
fn host_rank(route: &Route) -> Option<usize> {
    let rank = |host: &HostPattern| match host {
        HostPattern::Exact(_) => usize::MAX,
        HostPattern::Wildcard(suffix) => suffix.len(),
    };
    route.hosts.iter().map(rank).max()
}
