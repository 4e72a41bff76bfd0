//! Places, ejections and trials, with threads that race for them.

use std::net::SocketAddr;
use std::time::Duration;

use super::*;
use crate::config::Outlier;

const NOW: Timestamp = Timestamp::from_nanos(0);
const OUTLIER: Outlier = Outlier { consecutive_failures: 3, eject_for: Duration::from_secs(10) };

fn endpoint(max_running: usize) -> Arc<Endpoint> {
    let address = SocketAddr::from(([192, 0, 2, 1], 80));
    let bounds = Bounds { requests: Some(max_running), connects: None };
    Arc::new(Endpoint::new(0, &UpstreamServer::at(address), address.into(), bounds, |_| None))
}

fn seconds(seconds: u64) -> Timestamp {
    NOW.after(Duration::from_secs(seconds))
}

/// Lets this many requests fail, and says whether the last one had the endpoint ejected.
fn fail(endpoint: &Arc<Endpoint>, count: u32, now: Timestamp) -> bool {
    (0..count).fold(false, |_, _| endpoint.assign(now).unwrap().failed(&OUTLIER, now))
}

#[test]
fn an_endpoint_has_no_more_requests_than_it_may() {
    let endpoint = endpoint(2);
    let (one, two) = (endpoint.assign(NOW).unwrap(), endpoint.assign(NOW).unwrap());
    assert!(!endpoint.has_room());
    assert!(endpoint.assign(NOW).is_none());
    assert_eq!(endpoint.running(), 2);
    drop(one);
    assert!(endpoint.assign(NOW).is_some(), "the place of a request that has ended is free");
    drop(two);
    assert_eq!(endpoint.running(), 0);
}

#[tokio::test]
async fn no_more_requests_are_connected_at_a_time_than_may() {
    const SHORT: Duration = Duration::from_millis(1);
    const LONG: Duration = Duration::from_secs(60);
    let address = SocketAddr::from(([192, 0, 2, 1], 80));
    let bounds = Bounds { requests: None, connects: Some(1) };
    let endpoint = Arc::new(Endpoint::new(0, &UpstreamServer::at(address), address.into(), bounds, |_| None));
    let [mut first, mut second, mut third] = [(); 3].map(|()| endpoint.assign(NOW).unwrap());
    assert!(first.connect(1, SHORT).await);
    assert!(!second.connect(1, SHORT).await);
    let (connected, ()) = tokio::join!(second.connect(1, LONG), async { first.note_connection() });
    assert!(connected, "its turn comes when the first is connected");
    drop(second);
    assert!(first.connect(1, SHORT).await, "one that needs another connection has another turn");
    assert!(!third.connect(1, SHORT).await);
}

#[test]
fn threads_that_race_for_the_last_place_never_share_it() {
    let endpoint = endpoint(3);
    race(&endpoint, 3, NOW);
    assert_eq!(endpoint.running(), 0);
    fail(&endpoint, 3, NOW);
    race(&endpoint, 1, seconds(10));
    assert_eq!(endpoint.health(NOW), ServerHealth::Ejected { until: seconds(10) });
}

/// Threads that all want a place at once find no more than this many.
fn race(endpoint: &Arc<Endpoint>, places: usize, now: Timestamp) {
    let inside = AtomicUsize::new(0);
    let run = || {
        for _ in 0..2000 {
            if let Some(assignment) = endpoint.assign(now) {
                assert!(inside.fetch_add(1, Ordering::SeqCst) < places);
                inside.fetch_sub(1, Ordering::SeqCst);
                drop(assignment);
            }
        }
    };
    std::thread::scope(|scope| (0..8).for_each(|_| drop(scope.spawn(run))));
}

#[test]
fn failures_in_a_row_eject() {
    let endpoint = endpoint(10);
    assert!(!fail(&endpoint, 2, NOW));
    assert!(!endpoint.assign(NOW).unwrap().succeeded());
    assert!(!fail(&endpoint, 2, NOW), "an answer ends a row");
    assert_eq!(endpoint.health(NOW), ServerHealth::Up);
    let mut late = endpoint.assign(NOW).unwrap();
    assert!(fail(&endpoint, 1, NOW));
    assert_eq!(endpoint.health(NOW), ServerHealth::Ejected { until: seconds(10) });
    assert!(!late.failed(&OUTLIER, seconds(1)), "it is ejected already");
    assert!(!endpoint.is_open(seconds(9)));
    assert!(endpoint.assign(seconds(9)).is_none());
}

#[test]
fn whoever_comes_back_is_tried_by_one_request_at_a_time() {
    let endpoint = endpoint(10);
    fail(&endpoint, 3, NOW);
    let now = seconds(10);
    assert_eq!(endpoint.health(now), ServerHealth::Trial);
    let given_up = endpoint.assign(now).unwrap();
    assert!(!endpoint.is_open(now) && endpoint.assign(now).is_none());
    drop(given_up);
    let mut failing = endpoint.assign(now).expect("a trial that ended without a word proves nothing");
    assert!(failing.failed(&OUTLIER, now), "one failure is enough");
    assert!(!endpoint.is_open(seconds(19)));
    let mut trial = endpoint.assign(seconds(20)).unwrap();
    assert!(trial.succeeded());
    assert_eq!(endpoint.health(seconds(20)), ServerHealth::Up);
    // The request that was the trial may go on for long.
    fail(&endpoint, 3, seconds(20));
    assert!(endpoint.assign(seconds(30)).is_some());
}

#[test]
fn who_was_asked_before_an_ejection_does_not_end_it() {
    let endpoint = endpoint(10);
    let (mut slow, mut slower) = (endpoint.assign(NOW).unwrap(), endpoint.assign(NOW).unwrap());
    fail(&endpoint, 3, NOW);
    let now = seconds(10);
    let _trial = endpoint.assign(now).unwrap();
    assert!(!slow.succeeded());
    assert!(!slower.failed(&OUTLIER, now));
    assert_eq!(endpoint.health(now), ServerHealth::Trial);
}

#[test]
fn checks_in_a_row_decide_on_health() {
    let path = "/".to_owned();
    let time = Duration::from_secs(1);
    let health = Health {
        path,
        method: http::Method::GET,
        host: None,
        statuses: Vec::new(),
        body: String::new(),
        interval: time,
        timeout: time,
        unhealthy_after: 3,
        healthy_after: 2,
    };
    let endpoint = endpoint(10);
    let check = |passed: &[bool]| passed.iter().map(|&p| endpoint.checked(p, &health)).collect::<Vec<_>>();
    assert_eq!(check(&[true, false, false, true, false, false]), [false; 6]);
    assert_eq!(check(&[false, false]), [true, false]);
    assert_eq!(endpoint.health(NOW), ServerHealth::Unhealthy);
    assert!(endpoint.assign(NOW).is_none());
    assert_eq!(check(&[true, false, true, true]), [false, false, false, true]);
    assert_eq!(endpoint.health(NOW), ServerHealth::Trial);
    assert!(endpoint.assign(NOW).unwrap().succeeded());
    assert_eq!(endpoint.health(NOW), ServerHealth::Up);
    endpoint.assign(NOW).unwrap().refused(NOW);
    assert!(!endpoint.checked(true, &health));
    assert_eq!(endpoint.health(NOW), ServerHealth::Up, "a check that passes has connected");
}

#[test]
fn whoever_takes_no_connection_is_left_alone_for_a_moment() {
    let endpoint = endpoint(10);
    let (mut one, mut two) = (endpoint.assign(NOW).unwrap(), endpoint.assign(NOW).unwrap());
    one.refused(NOW);
    two.refused(NOW);
    assert_eq!(endpoint.health(NOW), ServerHealth::Refusing { until: seconds(1) });
    assert!(!endpoint.is_open(NOW) && endpoint.assign(NOW).is_none());
    assert!(endpoint.assign_although_refusing().is_some(), "it is better than nobody");
    let mut trial = endpoint.assign(seconds(1)).unwrap();
    assert!(!endpoint.is_open(seconds(1)) && endpoint.assign(seconds(1)).is_none(), "one at a time");
    trial.refused(seconds(2));
    drop(trial);
    assert!(endpoint.assign(seconds(2)).is_none());
    let mut trial = endpoint.assign(seconds(3)).unwrap();
    assert!(trial.connected());
    assert_eq!(endpoint.health(seconds(3)), ServerHealth::Up);
    assert!(!endpoint.assign(seconds(3)).unwrap().connected());
}

#[test]
fn a_connection_that_nobody_hoped_for_ends_the_refusing() {
    let endpoint = endpoint(10);
    endpoint.assign(NOW).unwrap().refused(NOW);
    assert!(!endpoint.assign_although_refusing().unwrap().connected());
    assert_eq!(endpoint.health(NOW), ServerHealth::Up);
    assert!(endpoint.assign_although_refusing().is_none());
}

#[test]
fn refusing_counts_as_failing_and_does_not_undo_an_ejection() {
    let endpoint = endpoint(10);
    let refuse = |now| {
        let mut assignment = endpoint.assign(now).unwrap();
        let ejected = assignment.failed(&OUTLIER, now);
        assignment.refused(now);
        ejected
    };
    assert_eq!([refuse(NOW), refuse(seconds(1)), refuse(seconds(2))], [false, false, true]);
    assert_eq!(endpoint.health(NOW), ServerHealth::Ejected { until: seconds(12) });
    assert!(refuse(seconds(12)), "a trial");
    assert_eq!(endpoint.health(NOW), ServerHealth::Ejected { until: seconds(22) });
    let mut trial = endpoint.assign(seconds(22)).unwrap();
    assert!(!trial.connected(), "it must answer, too");
    assert!(trial.succeeded());
}
