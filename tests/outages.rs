//! Servers on which it depends who is asking, while they are up, hang up, are too slow, and are back: no request waits longer than it may, and
//! none is let in that should not be.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use gateway::clock::Clock;
use mock_backend::MockBackend;

use crate::jwt::issuer::{Issuer, claims};
use crate::jwt::key_server::{Answer, KeyServer};
use crate::support::gateway::Gateway;
use crate::support::upstream::RawUpstream;
use crate::support::{eventually, to_upstream};

/// The longest that a request may wait for one of the servers.
const TIMEOUT: Duration = Duration::from_millis(500);

/// Beyond that, a request takes no time. But the machine may have other work.
const SLACK: Duration = Duration::from_secs(5);

/// How long each state of a server lasts.
const LASTS: Duration = Duration::from_secs(1);

/// Asks with this field from four connections until it is over. Returns the statuses, how many were 200, and the longest time of an answer.
fn ask_until(over: &AtomicBool, gateway: &Gateway, tokens: &[String]) -> (BTreeSet<u16>, u64, Duration) {
    let clock = Clock::monotonic();
    let one = || {
        let (mut statuses, mut admitted, mut longest) = (BTreeSet::new(), 0, Duration::ZERO);
        let mut connection = gateway.connect();
        for token in tokens.iter().cycle() {
            if over.load(Ordering::SeqCst) {
                break;
            }
            let asked = clock.now();
            let status =
                connection.get_with("/users", &[("Authorization", &format!("Bearer {token}"))]).status;
            longest = longest.max(clock.now().since(asked));
            admitted += u64::from(status == 200);
            statuses.insert(status);
        }
        (statuses, admitted, longest)
    };
    thread::scope(|scope| {
        let asking: Vec<_> = (0..4).map(|_| scope.spawn(one)).collect();
        let told = asking.into_iter().map(|asked| asked.join().unwrap());
        told.reduce(|(mut all, admitted, longest), (statuses, more, longer)| {
            all.extend(statuses);
            (all, admitted + more, longest.max(longer))
        })
        .unwrap()
    })
}

/// Asks with good and with bad tokens at the same time, while `change` brings the server from state to state. Says what came of each.
fn while_it_changes(
    gateway: &Gateway,
    good: &[String],
    bad: &[String],
    change: impl FnOnce(),
) -> [(BTreeSet<u16>, u64, Duration); 2] {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let asking = [good, bad].map(|tokens| scope.spawn(|| ask_until(&over, gateway, tokens)));
        change();
        over.store(true, Ordering::SeqCst);
        asking.map(|asked| asked.join().unwrap())
    })
}

#[test]
fn of_the_keys_of_tokens() {
    let issuer = Issuer::new(41);
    let forger = Issuer::new(42);
    let good = [issuer.token(&claims("alice")), issuer.token(&claims("bob"))];
    let bad = [forger.token(&claims("alice")), forger.named("unknown", &claims("alice")), "a.b.c".to_owned()];
    let server = KeyServer::start(Answer::Keys(issuer.jwks()));
    let gateway = || {
        let backend = MockBackend::start_blocking().unwrap();
        let jwt = format!(
            "[auth.jwt]\njwks = \"{}\"\nissuer = \"https://issuer.example\"\naudience = \"gateway\"\ntimeout = \"{}ms\"\nrefresh = \"10s\"",
            server.url(),
            TIMEOUT.as_millis()
        );
        (Gateway::start(&to_upstream(backend.addr(), &format!("{jwt}\n---\n---\nauth = [\"jwt\"]"))), backend)
    };
    // One that has had keys, and one that is started while there are none.
    let (warm, backend) = gateway();
    assert_eq!(warm.get_with("/users", &[("Authorization", &format!("Bearer {}", good[0]))]).status, 200);
    let [of_good, of_bad] = while_it_changes(&warm, &good, &bad, || {
        for answer in
            [Answer::HangUp, Answer::Drip, Answer::Keys("[]".to_owned()), Answer::Keys(issuer.jwks())]
        {
            server.set(answer);
            thread::sleep(LASTS);
        }
    });
    assert_eq!((of_good.0, of_bad.0), ([200].into(), [401].into()));
    assert_eq!(backend.count(), of_good.1 + 1);
    assert!(of_good.2 < TIMEOUT + SLACK && of_bad.2 < TIMEOUT + SLACK);

    server.set(Answer::Drip);
    let (cold, backend) = gateway();
    let [of_good, of_bad] = while_it_changes(&cold, &good, &bad, || {
        thread::sleep(LASTS);
        server.set(Answer::HangUp);
        thread::sleep(LASTS);
        server.set(Answer::Keys(issuer.jwks()));
        eventually("the keys have come", || (cold.metric("gateway_jwks_keys") > 0.0).then_some(()));
        thread::sleep(LASTS / 4);
    });
    assert_eq!(of_good.0, [200, 503].into());
    assert!(of_bad.0.is_subset(&[401, 503].into()), "{:?}", of_bad.0);
    assert_eq!(backend.count(), of_good.1);
    assert!(of_good.2 < TIMEOUT + SLACK && of_bad.2 < TIMEOUT + SLACK);
}

#[test]
fn of_the_service_that_is_asked() {
    // It answers, hangs up, says nothing, takes too long, and sends half an answer.
    let state = Arc::new(AtomicUsize::new(0));
    let stated = state.clone();
    let service = RawUpstream::start(move |exchange| {
        while let Some(head) = exchange.read_head_text() {
            let status = if head.contains("Bearer good") { "200 OK" } else { "401 No" };
            let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nX-Consumer: alice\r\n");
            match stated.load(Ordering::SeqCst) {
                0 => exchange.write(answer + "\r\n"),
                1 => return,
                2 => {
                    thread::sleep(3 * TIMEOUT);
                    exchange.write(answer + "\r\n");
                }
                _ => {
                    exchange.write(answer);
                    thread::sleep(3 * TIMEOUT);
                    return;
                }
            }
        }
    });
    let backend = MockBackend::start_blocking().unwrap();
    let forward = format!(
        "[auth.forward]\nurl = \"http://{}/verify\"\ntimeout = \"{}ms\"\n---\n---\nauth = [\"forward\"]",
        service.address(),
        TIMEOUT.as_millis()
    );
    let gateway = Gateway::start(&to_upstream(backend.addr(), &forward));
    let of = |word: &str| (0..8).map(|number| format!("{word}{number}")).collect::<Vec<_>>();
    let [of_good, of_bad] = while_it_changes(&gateway, &of("good"), &of("bad"), || {
        for number in [0, 1, 2, 3, 0] {
            state.store(number, Ordering::SeqCst);
            thread::sleep(LASTS);
        }
    });
    assert_eq!((of_good.0, of_bad.0), ([200, 503].into(), [401, 503].into()));
    // Whoever was told of 503 did not get through.
    assert_eq!(backend.count(), of_good.1);
    assert!(of_good.2 < TIMEOUT + SLACK && of_bad.2 < TIMEOUT + SLACK);
    eventually("it is back", || {
        (gateway.get_with("/users", &[("Authorization", "Bearer good")]).status == 200).then_some(())
    });
}
