//! Finds circles in a graph of what uses what.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// What uses what, by names.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// The circles of a graph: for each name that uses itself by way of others, a shortest way. Circles of the same names are one.
pub(crate) fn circles(graph: &Graph) -> Vec<Vec<String>> {
    let mut seen = BTreeSet::new();
    let ways = graph.keys().filter_map(|name| way(graph, name, name));
    ways.filter(|circle| seen.insert(circle.iter().cloned().collect::<BTreeSet<_>>())).collect()
}

/// A shortest way along at least one arrow, with both ends.
fn way(graph: &Graph, from: &str, to: &str) -> Option<Vec<String>> {
    let mut reached_from = BTreeMap::<&str, &str>::new();
    let mut next = VecDeque::from([from]);
    while let Some(name) = next.pop_front() {
        for used in graph.get(name).into_iter().flatten() {
            if reached_from.contains_key(used.as_str()) {
                continue;
            }
            reached_from.insert(used, name);
            if used == to {
                return Some(trace(&reached_from, from, to));
            }
            next.push_back(used);
        }
    }
    None
}

fn trace(reached_from: &BTreeMap<&str, &str>, from: &str, to: &str) -> Vec<String> {
    let mut way = vec![to.to_owned()];
    let mut at = to;
    loop {
        at = reached_from[at];
        way.insert(0, at.to_owned());
        if at == from {
            return way;
        }
    }
}

fn graph(arrows: &[(&str, &str)]) -> Graph {
    let mut graph = Graph::new();
    for (user, used) in arrows {
        graph.entry((*user).to_owned()).or_default().insert((*used).to_owned());
    }
    graph
}

#[test]
fn a_graph_without_a_circle_has_none() {
    assert!(circles(&graph(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])).is_empty());
}

#[test]
fn every_circle_is_found_once() {
    let two = graph(&[("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "c"), ("x", "a")]);
    assert_eq!(
        circles(&two),
        [["a", "b", "a"].map(str::to_owned).to_vec(), ["c", "d", "e", "c"].map(str::to_owned).to_vec()]
    );
}
