//! The table against a slow and obvious model: every route that matches gets a score, and the highest wins.

use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;
use crate::route::pattern::{Segment, Tail};

type Score = ((u8, usize), Vec<u8>, u8);

fn host_score(pattern: &HostPattern, host: &str) -> Option<(u8, usize)> {
    match pattern {
        HostPattern::Exact(exact) => (exact == host).then_some((2, 0)),
        HostPattern::Wildcard(suffix) => {
            let below = host.strip_suffix(suffix.as_str())?.strip_suffix('.')?;
            (!below.is_empty()).then_some((1, suffix.len()))
        }
    }
}

fn path_score(pattern: &PathPattern, path: &str) -> Option<Vec<u8>> {
    let parts: Vec<_> = path.split('/').skip(1).collect();
    let count = pattern.segments.len();
    if parts.len() < count || (parts.len() > count && pattern.tail == Tail::None) {
        return None;
    }
    let mut score = Vec::new();
    for (segment, part) in pattern.segments.iter().zip(parts) {
        score.push(match segment {
            Segment::Literal(text) => (text == part).then_some(3)?,
            Segment::Parameter(_) => (!part.is_empty()).then_some(2)?,
        });
    }
    // One that ends where its segments end goes before those with a tail, of which the longest ending goes first.
    score.push(match &pattern.tail {
        Tail::None => 255,
        Tail::All => 0,
        Tail::Ending(ending) => {
            let below = path.split('/').skip(1 + count).collect::<Vec<_>>();
            below.last()?.ends_with(ending.as_str()).then_some(u8::try_from(ending.len()).unwrap())?
        }
    });
    Some(score)
}

fn method_score(methods: &[Method], method: &Method) -> Option<u8> {
    if methods.is_empty() {
        Some(0)
    } else if methods.contains(method) {
        Some(2)
    } else {
        (method == Method::HEAD && methods.contains(&Method::GET)).then_some(1)
    }
}

fn score_all(routes: &[Route], host: &str, path: &str, method: &Method) -> String {
    let mut best: Option<(Score, &str)> = None;
    let mut allow = Vec::new();
    for route in routes {
        let hosts = route.hosts.iter().filter_map(|pattern| host_score(pattern, host)).max();
        let host = if route.hosts.is_empty() { Some((0, 0)) } else { hosts };
        let (Some(host), Some(path)) = (host, path_score(&route.path, path)) else { continue };
        allow.extend(route.methods.iter().map(Method::to_string));
        if let Some(method) = method_score(&route.methods, method) {
            best = best.max(Some(((host, path, method), &route.name)));
        }
    }
    if allow.iter().any(|method| method == "GET") {
        allow.push("HEAD".to_owned());
    }
    allow.sort();
    allow.dedup();
    match best {
        Some((_, name)) => name.to_owned(),
        None if allow.is_empty() => "404".to_owned(),
        None => format!("405 {}", allow.join(", ")),
    }
}

/// Whether a request could be meant for both with nothing to tell them apart.
fn conflict(one: &Route, other: &Route) -> bool {
    let share_a_host = if one.hosts.is_empty() || other.hosts.is_empty() {
        one.hosts.is_empty() && other.hosts.is_empty()
    } else {
        one.hosts.iter().any(|host| other.hosts.contains(host))
    };
    let share_a_method = if one.methods.is_empty() || other.methods.is_empty() {
        one.methods.is_empty() && other.methods.is_empty()
    } else {
        one.methods.iter().any(|method| other.methods.contains(method))
    };
    share_a_host && share_a_method && one.path.shape() == other.path.shape()
}

fn any_path() -> impl Strategy<Value = String> {
    let segments = proptest::collection::vec(select(vec!["a", "b", "c", "%20"]), 0..4);
    (segments, any::<bool>()).prop_map(|(segments, slash)| {
        let path: String = segments.iter().map(|segment| format!("/{segment}")).collect();
        if slash || path.is_empty() { path + "/" } else { path }
    })
}

fn any_route() -> impl Strategy<Value = String> {
    let segments = proptest::collection::vec(select(vec!["a", "b", "%20", "{}", "{}"]), 0..4);
    let methods = subsequence(vec!["GET", "HEAD", "POST", "BREW"], 0..3);
    let hosts = subsequence(vec!["x.y.z", "y.z", "*.y.z", "*.z", "[::1]"], 0..3);
    (methods, hosts, segments, select(vec!["", "/", "/*", "/*a", "/*b", "/*0", "/*20"])).prop_map(
        |(methods, hosts, segments, end)| {
            let mut path = String::new();
            for (i, segment) in segments.iter().enumerate() {
                path += &format!("/{}", segment.replace("{}", &format!("{{p{i}}}")));
            }
            let path = if path.is_empty() && end.is_empty() { "/".to_owned() } else { path + end };
            format!("{} {}{path}", methods.join(","), hosts.join(","))
        },
    )
}

/// Routes that can be told apart, in two orders.
fn any_routes() -> impl Strategy<Value = (Vec<Route>, Vec<Route>)> {
    proptest::collection::vec(any_route(), 0..25).prop_flat_map(|texts| {
        let mut routes: Vec<Route> = Vec::new();
        for new in texts.iter().map(|text| route(text)) {
            if !routes.iter().any(|old| conflict(old, &new)) {
                routes.push(new);
            }
        }
        (Just(routes.clone()), Just(routes).prop_shuffle())
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_table_finds_what_the_model_finds_in_any_order(
        (routes, shuffled) in any_routes(),
        host in select(vec!["x.y.z", "y.z", "w.y.z", "v.w.y.z", "w.z", "z", ".y.z", "[::1]", ""]),
        paths in proptest::collection::vec(any_path(), 1..8),
        method in select(vec![Method::GET, Method::HEAD, Method::POST, Method::DELETE]),
    ) {
        for path in paths {
            let found = find(&routes, host, &path, &method);
            prop_assert_eq!(&found, &score_all(&routes, host, &path, &method));
            prop_assert_eq!(&found, &find(&shuffled, host, &path, &method));
        }
    }

    #[test]
    fn what_was_captured_fills_the_pattern_to_the_path_again(
        (routes, _) in any_routes(),
        path in any_path(),
    ) {
        if let Match::Found { route, captures } = table(&routes).find("x.y.z", &path, &Method::GET) {
            let pattern = &routes[route.index()].path;
            let mut index = 0..;
            let mut built = String::new();
            for segment in &pattern.segments {
                built.push('/');
                built += match segment {
                    Segment::Literal(text) => text,
                    Segment::Parameter(_) => captures.parameter(&path, index.next().unwrap()).unwrap(),
                };
            }
            if let Some(rest) = captures.rest(&path) {
                prop_assert!(pattern.tail.is_some());
                built = built + "/" + rest;
            }
            prop_assert_eq!(captures.parameter(&path, index.next().unwrap()), None);
            prop_assert_eq!(built, path);
        }
    }
}
