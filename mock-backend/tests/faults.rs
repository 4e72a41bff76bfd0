use std::collections::HashSet;
use std::time::Duration;

use crate::support::{get, start, timed};

#[test]
fn a_delay_comes_before_the_answer_whatever_it_is() {
    let backend = start();
    for (target, status) in [
        ("/users?delay=100ms", 200),
        ("/nowhere?a=b&delay=100ms", 404),
        ("/users?delay=100ms&fail=1", 500),
        ("/status/204?delay=100ms", 204),
    ] {
        let (response, took) = timed(|| get(backend.addr(), target));
        assert_eq!(response.status, status, "{target}");
        assert!(took >= Duration::from_millis(100), "{target} took {took:?}");
    }
}

#[test]
fn a_failure_is_certain_at_1_and_impossible_at_0() {
    let backend = start();
    for _ in 0..50 {
        get(backend.addr(), "/users?fail=1").assert_problem(500);
        get(backend.addr(), "/nowhere?fail=1.0").assert_problem(500);
        assert_eq!(get(backend.addr(), "/users?fail=0").status, 200);
    }
}

#[test]
fn in_between_both_happen() {
    let backend = start();
    let statuses: HashSet<u16> = (0..200).map(|_| get(backend.addr(), "/users?fail=0.5").status).collect();
    assert_eq!(statuses, HashSet::from([200, 500]));
}

#[test]
fn bad_values_are_refused_on_any_path() {
    let backend = start();
    for query in [
        "delay=200",
        "delay=",
        "delay=-1s",
        "delay=1m",
        "delay=601s",
        "fail=1.1",
        "fail=-0.1",
        "fail=NaN",
        "fail=x",
        "fail=",
        "fail=0&fail=1",
    ] {
        for path in ["/users", "/nowhere", "/echo/x"] {
            get(backend.addr(), &format!("{path}?{query}")).assert_problem(400);
        }
    }
}
