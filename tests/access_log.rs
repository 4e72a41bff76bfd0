//! The access log: a line for each request, which no client can forge.

use crate::support::gateway::Gateway;
use crate::support::http::request;
use crate::support::upstream::RawUpstream;
use crate::support::{eventually, forwarding, to_upstream};

#[test]
fn a_line_tells_what_became_of_a_request() {
    let (gateway, backend) = forwarding(
        "[limits.l]\nrate = \"1/h\"\n[limits.m]\nrate = \"9/h\"\nexempt = [\"::1/128\"]\n\
         [limits.n]\nrate = \"9/h\"\nexempt = [\"127.0.0.1/32\"]\n---\n---\nlimits = [\"l\", \"m\", \"n\"]",
    );
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let fields =
        [("User-Agent", "test"), ("Referer", "http://a/"), ("Host", "shop.example"), ("Traceparent", trace)];
    // On one connection, so that the lines are in the order of the requests.
    let mut connection = gateway.connect();
    connection.send(request("POST", "/echo/a?b=c", &fields, "body"));
    let response = connection.response();
    assert_eq!(connection.get("/users").status, 429);
    let log = gateway.access_log(2);
    let line = &log[0];
    assert_eq!(line["client"], "127.0.0.1");
    assert_eq!(line["method"], "POST");
    assert_eq!(line["host"], "shop.example");
    assert_eq!(line["path"], "/echo/a?b=c");
    assert_eq!(line["protocol"], "HTTP/1.1");
    assert_eq!(line["route"], "all");
    assert_eq!(line["status"], 200);
    assert_eq!(line["bytes_in"], 4);
    assert_eq!(line["bytes_out"], response.body.len());
    assert_eq!(line["upstream"], backend.addr().to_string());
    assert_eq!(line["user_agent"], "test");
    assert_eq!(line["referer"], "http://a/");
    assert_eq!(line["limits"], serde_json::json!({"l": 0, "m": 8, "n": null}));
    assert_eq!(line["trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(line["request_id"].as_str(), response.header("x-request-id"));
    let upstream = line["upstream_ms"].as_f64().unwrap();
    assert!(upstream > 0.0 && upstream <= line["duration_ms"].as_f64().unwrap(), "{line}");
    let time = line["time"].as_str().unwrap();
    assert_eq!((time.len(), time.ends_with('Z')), ("2026-01-01T00:00:00.000000Z".len(), true), "{time}");
    let refused = &log[1];
    assert_eq!((&refused["status"], &refused["refused_by"]), (&429.into(), &serde_json::json!(["l"])));
    assert_eq!(refused["limits"], serde_json::json!({"l": 0, "m": 8, "n": null}));
    assert!(refused.get("upstream").is_none());
    assert!(refused.get("trace_id").is_none());
}

#[test]
fn a_line_tells_what_a_replay_needs() {
    let upstream = RawUpstream::start(|exchange| {
        while exchange.read_head_text().is_some() {
            exchange.write("HTTP/1.1 200 OK\r\nX-Cost: 7\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let gateway = Gateway::start(&to_upstream(
        upstream.address(),
        "[limits.priced]\nkey = \"header:X-Api-Key\"\nrate = \"1/h\"\nburst = 10\ncost_header = \"X-Cost\"\n\
         [limits.plain]\nkey = [\"cookie:sid\", \"client_ip\"]\nrate = \"9/h\"\nshow_keys = true\n\
         ---\n---\nlimits = [\"priced\", \"plain\"]",
    ));
    let mut connection = gateway.connect();
    connection.send(request("GET", "/", &[("X-Api-Key", "k"), ("Cookie", "sid=a\"b")], ""));
    assert_eq!(connection.response().status, 200);
    connection.send(request("GET", "/", &[("X-Api-Key", "k")], ""));
    assert_eq!(connection.response().status, 200);
    connection.send(request("GET", "/", &[("X-Api-Key", "k")], ""));
    assert_eq!(connection.response().status, 429);
    let log = gateway.access_log(3);
    let key = log[0]["keys"]["header:x-api-key"].as_str().unwrap();
    assert_eq!((key.len(), key.starts_with('#')), (9, true), "{key}");
    assert_eq!(log[0]["keys"]["cookie:sid"], "a\"b");
    assert_eq!(log[1]["keys"], serde_json::json!({"header:x-api-key": key, "cookie:sid": null}));
    assert_eq!(log[0]["costs"], serde_json::json!({"priced": 7}));
    let (settled, took) = (log[0]["settled_ms"].as_f64().unwrap(), log[0]["duration_ms"].as_f64().unwrap());
    assert!(settled > 0.0 && settled <= took, "{}", log[0]);
    assert!(
        log[2].get("costs").is_none() && log[2].get("settled_ms").is_none(),
        "nothing was charged: {}",
        log[2]
    );
}

#[test]
fn the_log_alone_is_opened_again() {
    let (gateway, _backend) = forwarding("");
    let log = gateway.folder().join("access.log");
    gateway.get("/users/1");
    assert_eq!(gateway.access_log(1).len(), 1);
    std::fs::rename(&log, gateway.folder().join("access.log.1")).unwrap();
    // A reload would fail now.
    gateway.write_file("[server");
    gateway.signal("USR1");
    gateway.wait_for_log_line("the access log has been opened again");
    gateway.get("/users/2");
    assert_eq!(gateway.access_log(1)[0]["path"], "/users/2");
    assert!(!gateway.log().contains("is not reloaded"), "{}", gateway.log());
}

#[test]
fn after_a_hang_up_lines_are_in_the_new_file() {
    let (gateway, _backend) = forwarding("");
    let (log, moved) = (gateway.folder().join("access.log"), gateway.folder().join("access.log.1"));
    gateway.get("/users/1");
    assert_eq!(gateway.access_log(1).len(), 1);
    std::fs::rename(&log, &moved).unwrap();
    gateway.signal("HUP");
    gateway.wait_for_log_line("the access log has been opened again");
    gateway.get("/users/2");
    assert_eq!(gateway.access_log(1)[0]["path"], "/users/2");
    // Deleted instead of moved.
    std::fs::remove_file(&log).unwrap();
    gateway.signal("HUP");
    eventually("the file is there again", || log.exists().then_some(()));
    gateway.get("/users/3");
    assert_eq!(gateway.access_log(1)[0]["path"], "/users/3");
    assert_eq!(std::fs::read_to_string(&moved).unwrap().lines().count(), 1);
}

#[test]
fn what_was_answered_before_the_end_is_in_the_log() {
    let (mut gateway, _backend) = forwarding("");
    let mut connections: Vec<_> = (0..8).map(|_| gateway.connect()).collect();
    for connection in &mut connections {
        for _ in 0..25 {
            assert_eq!(connection.get("/users").status, 200);
        }
    }
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
    let log = std::fs::read_to_string(gateway.folder().join("access.log")).unwrap();
    assert_eq!(log.lines().count(), 200);
}

#[test]
fn a_full_disk_costs_lines_and_no_request() {
    let backend = mock_backend::MockBackend::start_blocking().unwrap();
    let config = to_upstream(
        backend.addr(),
        "[admin]\nlisten = \"127.0.0.1:0\"\n[access_log]\npath = \"/dev/full\"\n",
    );
    let mut gateway = Gateway::without_preamble(&config);
    for _ in 0..5 {
        assert_eq!(gateway.get("/users").status, 200);
    }
    gateway.metric_becomes("gateway_access_log_dropped_lines_total", 5.0);
    gateway.wait_for_log_line("the access log cannot be written, and");
    gateway.signal("TERM");
    assert_eq!(gateway.wait().code(), Some(0));
}

#[test]
fn no_request_forges_a_line() {
    let (gateway, _backend) = forwarding("");
    let hostile = r#"x", "status": 200}\ {""#;
    let mut connection = gateway.connect();
    assert_eq!(
        connection.get_with("/echo", &[("User-Agent", hostile), ("Referer", "\u{e9}\t\u{2028}")]).status,
        200
    );
    // Nothing of a head that is refused is repeated, but the answer can be found by its id.
    let refused = gateway.raw("GET /a HTTP/1.1\r\nHost: a\r\nUser-Agent: \u{1b}[31m\r\n\r\n");
    assert_eq!(refused.status, 400);
    let mut log = gateway.access_log(2);
    log.sort_by_key(|line| line["status"].as_u64());
    assert_eq!(log.len(), 2);
    assert_eq!((&log[0]["status"], &log[0]["user_agent"]), (&200.into(), &hostile.into()));
    assert_eq!(log[0]["referer"], "\u{e9}\t\u{2028}");
    assert_eq!((&log[1]["status"], &log[1]["client"]), (&400.into(), &"127.0.0.1".into()));
    assert_eq!(log[1]["request_id"].as_str(), refused.header("x-request-id"));
    assert!(log[1].get("user_agent").is_none(), "{}", log[1]);
}

#[test]
fn the_combined_format_is_that_of_other_servers() {
    let backend = mock_backend::MockBackend::start_blocking().unwrap();
    let config = format!(
        "[admin]\nlisten = \"127.0.0.1:0\"\n[access_log]\npath = \"access.log\"\nformat = \"combined\"\n\
         [upstreams.u]\nservers = [\"{}\"]\n[[routes]]\nname = \"all\"\npath = \"/*\"\nupstream = \"u\"",
        backend.addr()
    );
    let gateway = Gateway::without_preamble(&config);
    gateway.get_with("/bytes/10", &[("User-Agent", "a\"b")]);
    let line = eventually("a line", || {
        let text = std::fs::read_to_string(gateway.folder().join("access.log")).unwrap_or_default();
        text.ends_with('\n').then_some(text)
    });
    let (client, rest) = line.split_once(" - - [").unwrap();
    let (time, rest) = rest.split_once("] ").unwrap();
    assert_eq!(client, "127.0.0.1");
    assert_eq!(time.len(), "01/Jan/2026:00:00:00 +0000".len());
    assert_eq!(rest, "\"GET /bytes/10 HTTP/1.1\" 200 10 \"-\" \"a\\x22b\"\n");
}

#[test]
fn an_answer_that_says_what_is_wrong_is_logged_with_that() {
    let gateway = Gateway::start(
        "[limits.keyed]\nrate = \"1/s\"\nkey = \"header:X-Api-Key\"\nmissing_key = \"reject\"\n\
         [limits.one]\nrate = \"1/h\"\n\
         [[routes]]\nname = \"a\"\npath = \"/a\"\nlimits = [\"keyed\"]\nrespond = { status = 200 }\n\
         [[routes]]\nname = \"b\"\npath = \"/b\"\nlimits = [\"one\"]\nrespond = { status = 200 }\n",
    );
    let statuses = ["/a", "/nowhere", "/b", "/b"].map(|path| gateway.get(path).status);
    assert_eq!(statuses, [400, 404, 200, 429]);
    let lines = gateway.access_log(4);
    let error = |status: u16| &lines.iter().find(|line| line["status"] == status).unwrap()["error"];
    assert_eq!(
        error(400),
        "the request must carry one header field x-api-key, by which the limit \"keyed\" counts"
    );
    assert_eq!(error(404), "no route matches this request");
    // What succeeds, and what a limit refuses, is told by other members.
    assert!(error(200).is_null() && error(429).is_null(), "{lines:?}");
}

#[test]
fn a_sample_has_every_request_in_trouble() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sampled.log");
    let gateway = Gateway::without_preamble(&format!(
        r#"
        trusted_proxies = ["127.0.0.1"]
        [admin]
        listen = "127.0.0.1:0"
        [access_log]
        path = {path:?}
        sample = 0.5
        fields = ["time", "status", "request_id"]
        [[routes]]
        name = "ok"
        path = "/ok"
        respond = {{}}
        [[routes]]
        name = "quiet"
        path = "/quiet"
        access_log = false
        respond = {{ status = 503 }}
        "#
    ));
    let mut connection = gateway.connect();
    for n in 0..40 {
        let id = format!("request-{n}");
        assert_eq!(connection.get_with("/ok", &[("X-Request-Id", &id)]).status, 200);
        assert_eq!(connection.get("/quiet").status, 503);
    }
    for _ in 0..5 {
        assert_eq!(connection.get("/nowhere").status, 404);
    }
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("the last lines", || {
        (read().lines().filter(|line| line.contains("404")).count() == 5).then_some(())
    });
    let text = read();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let ids: Vec<_> = lines.iter().filter(|line| line["status"] == 200).collect();
    // The names are always the same, and so are those that are taken.
    assert_eq!(ids.len(), 22, "{ids:?}");
    for line in &lines {
        let has_share = line.get("sample").is_some_and(|share| share == 0.5);
        assert_eq!(has_share, line["status"] == 200, "{line}");
        assert_eq!(line.as_object().unwrap().len(), if has_share { 4 } else { 3 }, "{line}");
        assert_ne!(line["status"], 503);
    }
}
