//! Stores of several servers, and one that speaks TLS.

use std::process::{Child, Command};

use gateway::config::{SharedStore, StoreKind};
use gateway::limit::lease::Ask;
use gateway::shared_store::StoreError;

use super::outages::{Gateway, cost, settings};
use crate::support::redis::{Redis, free_port, spawn};
use crate::support::{eventually, tls};

/// A Cluster of three nodes, with a third of the slots each.
fn cluster() -> (Vec<Redis>, SharedStore) {
    let node = |_| {
        Redis::start_at_ports(|[_, bus]| {
            let bus = bus.to_string();
            ["--cluster-enabled", "yes", "--cluster-port", &bus].map(str::to_owned).to_vec()
        })
    };
    let nodes: Vec<(Redis, [u16; 2])> = (0..3).map(node).collect();
    let cluster = |node: &Redis, arguments: &[&str]| {
        redis::cmd("CLUSTER").arg(arguments).exec(&mut node.connect()).unwrap();
    };
    for ((node, _), (first, last)) in nodes.iter().zip([(0, 5461), (5462, 10922), (10923, 16383)]) {
        // A node takes this only as long as it has met no other.
        cluster(node, &["SET-CONFIG-EPOCH", &(first + 1).to_string()]);
        cluster(node, &["ADDSLOTSRANGE", &first.to_string(), &last.to_string()]);
    }
    for (_, [port, bus]) in &nodes {
        cluster(&nodes[0].0, &["MEET", "127.0.0.1", &port.to_string(), &bus.to_string()]);
    }
    for (node, _) in &nodes {
        let mut connection = node.connect();
        eventually("the node knows who has which slot", || {
            let info: String = redis::cmd("CLUSTER").arg("INFO").query(&mut connection).unwrap();
            (info.contains("cluster_state:ok") && info.contains("cluster_size:3")).then_some(())
        });
    }
    let urls = nodes.iter().map(|(_, [port, _])| format!("redis://127.0.0.1:{port}")).collect();
    let settings = SharedStore { kind: StoreKind::Cluster, urls, ..settings("") };
    (nodes.into_iter().map(|(node, _)| node).collect(), settings)
}

#[test]
fn buckets_on_different_nodes_are_granted_together_or_not_at_all() {
    let (_nodes, settings) = cluster();
    let (one, two) = (Gateway::start(settings.clone()), Gateway::start(settings));
    // Many enough that every node has some.
    let asks = |need: u32| (0..12).map(|client| cost(client, need)).collect::<Vec<_>>();
    let levels = |gateway: &Gateway| {
        gateway.ask(&asks(0)).unwrap().iter().map(|answer| answer.level.tokens).collect::<Vec<_>>()
    };
    let answers = one.ask(&asks(3)).unwrap();
    assert!(answers.iter().all(|answer| answer.verdict.is_ok() && answer.level.tokens == 7), "{answers:?}");
    assert_eq!(levels(&two), [7; 12]);
    assert!(two.one(&cost(6, 7)).verdict.is_ok());
    // One of them is empty now: the answer tells of each what it would have been, and nothing is taken.
    let answers = one.ask(&asks(2)).unwrap();
    let verdicts: Vec<bool> = answers.iter().map(|answer| answer.verdict.is_ok()).collect();
    let mut expected = [true; 12];
    expected[6] = false;
    assert_eq!(verdicts, expected);
    let mut full = [7; 12];
    full[6] = 0;
    assert_eq!(answers.iter().map(|answer| answer.level.tokens).collect::<Vec<_>>(), full);
    // What was taken before the refusal is put back behind the answer.
    eventually("the tokens are back", || (levels(&two) == full).then_some(()));
    // Needed tokens that are kept stay with the gateway then.
    let kept = [Ask { kept: true, ahead: 1, ..cost(5, 2) }, cost(6, 1)];
    let answers = one.ask(&kept).unwrap();
    assert_eq!((answers[0].ahead, answers[0].level.tokens), (3, 4));
    let back = one.one(&Ask { back: 3, ..cost(5, 0) });
    assert_eq!((back.level.tokens, back.confirmed), (7, 0));
    eventually("each gateway sees the other", || {
        (one.store.gateways() == 2 && two.store.gateways() == 2).then_some(())
    });
}

/// A program that is killed when this is dropped.
struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_master_that_sentinels_name_is_used_and_then_its_successor() {
    let words = |words: &[&str]| words.iter().map(|&word| word.to_owned()).collect::<Vec<_>>();
    let password = ["--requirepass", "hunter2", "--masterauth", "hunter2"];
    let (mut master, [master_port, _]) =
        Redis::start_at_ports(|_| [words(&password), words(&["--repl-diskless-sync-delay", "0"])].concat());
    let (replica, _) = Redis::start_at_ports(|_| {
        [words(&password), words(&["--replicaof", &format!("127.0.0.1 {master_port}")])].concat()
    });
    // A server that becomes a replica, or a master, drops its clients.
    let of_replica = |section: &str| -> Option<String> {
        redis::cmd("INFO").arg(section).query(&mut replica.connect_as("hunter2").ok()?).ok()
    };
    eventually("the replica follows", || {
        of_replica("replication")?.contains("master_link_status:up").then_some(())
    });
    let (_sentinel, port) = eventually("the Sentinel answers", || {
        let port = free_port();
        let file = master.folder().join(format!("sentinel-{port}.conf"));
        let lines = format!(
            "port {port}\nbind 127.0.0.1\nsentinel monitor main 127.0.0.1 {master_port} 1\nsentinel auth-pass main hunter2\n\
             sentinel down-after-milliseconds main 300\nsentinel failover-timeout main 2000\n"
        );
        std::fs::write(&file, lines).unwrap();
        let mut sentinel = Killed(spawn(Command::new("redis-server").arg(file).arg("--sentinel")));
        let known = eventually("the Sentinel knows the replica, or has ended", || {
            if sentinel.0.try_wait().unwrap().is_some() {
                return Some(false);
            }
            let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
            let mut connection = client.get_connection().ok()?;
            let mut ask = redis::cmd("SENTINEL");
            let replicas: Vec<redis::Value> = ask.arg(&["replicas", "main"]).query(&mut connection).ok()?;
            (!replicas.is_empty()).then_some(true)
        });
        known.then_some((sentinel, port))
    });
    let gateway = Gateway::start(SharedStore {
        kind: StoreKind::Sentinel("main".to_owned()),
        ..settings(&format!("redis://:hunter2@127.0.0.1:{port}"))
    });
    assert_eq!(gateway.one(&cost(1, 4)).level.tokens, 6);
    // The bucket, and the gateway.
    eventually("the replica has the bucket", || of_replica("keyspace")?.contains("keys=2").then_some(()));
    master.stop();
    gateway.wait_until(false);
    gateway.wait_until(true);
    assert!(of_replica("replication").is_some_and(|info| info.contains("role:master")));
    assert_eq!(gateway.one(&cost(1, 4)).level.tokens, 2);
}

#[test]
fn a_store_that_speaks_tls_is_verified() {
    let file = |name: &str| tls::file(name).display().to_string();
    let (_server, [_, port]) = Redis::start_at_ports(|[_, port]| {
        let port = port.to_string();
        let (certificate, key) = (file("localhost.pem"), file("localhost.key"));
        ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key]
            .into_iter()
            .chain(["--tls-ca-cert-file", &file("ca.pem"), "--tls-auth-clients", "no"])
            .map(str::to_owned)
            .collect()
    });
    let settings = settings(&format!("rediss://localhost:{port}"));
    let ca = std::fs::read(tls::file("ca.pem")).unwrap();
    let unverified = Gateway::begin(settings.clone());
    let gateway = Gateway::start(SharedStore { ca: Some(ca), ..settings });
    assert_eq!(gateway.one(&cost(1, 4)).level.tokens, 6);
    assert_eq!(unverified.ask(&[cost(1, 1)]), Err(StoreError::Down));
}
