//! The commands, their exit statuses, and what they print.

use std::fs;

use crate::support::gateway::Gateway;
use crate::support::program::{run, run_in};

const GOOD: &str =
    "[admin]\nlisten = \"off\"\n[[routes]]\nname = \"a\"\npath = \"/\"\nrespond = { status = 200 }\n";

const BAD: &str = r#"
[server]
listen = "0.0.0.0:99999"
colour = "blue"
[limits.l]
rate = "0/s"
[[routes]]
name = "a"
path = "users"
upstream = "nobody"
limits = ["m"]
"#;

#[test]
fn check_says_in_a_line_that_a_file_is_good() {
    for arguments in [
        &["check"][..],
        &["--check"],
        &["check", "-c", "gateway.toml"],
        &["--config", "gateway.toml", "--check"],
    ] {
        let outcome = run(GOOD, arguments);
        assert_eq!(outcome.code, Some(0), "{outcome:?}");
        assert_eq!(outcome.stdout, "gateway.toml: ok: 1 route, 0 limits, 0 upstreams\n");
        assert_eq!(outcome.stderr, "");
    }
}

#[test]
fn every_problem_is_told_at_once_with_its_place() {
    for arguments in [&["check"][..], &["--check"], &[]] {
        let outcome = run(BAD, arguments);
        assert_eq!(outcome.code, Some(64), "{outcome:?}");
        for place in ["3:10", "4:1", "6:8", "9:8", "10:12", "11:11"] {
            assert!(
                outcome.stderr.contains(&format!("gateway.toml:{place}: ")),
                "{place} in {}",
                outcome.stderr
            );
        }
        assert_eq!(outcome.stdout, "");
    }
}

/// Two warnings.
const ODD: &str = r#"
[admin]
token = "hunter2"   # before: hunter2
[limits.l]
rate = "1/s"
[upstreams.u]
servers = ["127.0.0.1:9"]
[[routes]]
name = "a"
path = "/"
respond = {}
"#;

#[test]
fn a_warning_is_let_pass_unless_it_is_denied() {
    let limit = "gateway.toml:4:9: warning: no route uses the limit `l`; name it in the `limits` of a route or of [server], or leave it out [unused-limit]\n";
    let upstream = "gateway.toml:6:12: warning: no route uses the upstream `u`; name it as the `upstream` of a route, or leave it out [unused-upstream]\n";
    let ok = "gateway.toml: ok: 1 route, 1 limit, 1 upstream\n";
    let (both, denied) =
        (format!("{limit}{upstream}"), |count: &str| format!("gateway.toml: not ok: {count} denied\n"));
    for (arguments, code, stdout, stderr) in [
        (&[][..], 0, ok, both.clone()),
        (&["--deny", "small-burst"], 0, ok, both.clone()),
        (&["--deny", "warnings"], 64, "", both.clone() + &denied("2 warnings are")),
        (&["--deny", "unused-limit", "--deny", "small-burst"], 64, "", both + &denied("a warning is")),
        (&["--allow", "unused-limit"], 0, ok, upstream.to_owned()),
        (
            &["--deny", "warnings", "--allow", "unused-limit"],
            64,
            "",
            upstream.to_owned() + &denied("a warning is"),
        ),
        (
            &["--deny", "warnings", "--allow", "unused-limit", "--allow", "unused-upstream"],
            0,
            ok,
            String::new(),
        ),
    ] {
        let outcome = run(ODD, &[&["check"], arguments].concat());
        assert_eq!(
            (outcome.code, &*outcome.stdout, outcome.stderr),
            (Some(code), stdout, stderr),
            "{arguments:?}"
        );
    }
}

#[test]
fn a_name_of_no_warning_is_refused_with_those_that_are() {
    for arguments in [["--deny", "everything"], ["--allow", "warnings"]] {
        let outcome = run(ODD, &[&["check"], &arguments[..]].concat());
        assert_eq!((outcome.code, &*outcome.stdout), (Some(2), ""), "{arguments:?}");
        assert!(outcome.stderr.contains("unused-limit, unused-upstream, "), "{}", outcome.stderr);
    }
}

#[test]
fn a_program_reads_the_outcome_as_json() {
    let json = |config: &str, arguments: &[&str]| {
        let outcome = run(config, &[&["check", "--format", "json"], arguments].concat());
        assert_eq!(outcome.stderr, "");
        (outcome.code, serde_json::from_str::<serde_json::Value>(&outcome.stdout).unwrap())
    };
    let limit = serde_json::json!({
        "name": "unused-limit",
        "file": "gateway.toml",
        "line": 4,
        "column": 9,
        "end": { "line": 4, "column": 10 },
        "message": "no route uses the limit `l`; name it in the `limits` of a route or of [server], or leave it out",
    });
    let (code, told) = json(ODD, &["--allow", "unused-upstream"]);
    let expected =
        serde_json::json!({ "file": "gateway.toml", "ok": true, "problems": [], "warnings": [limit] });
    assert_eq!((code, told), (Some(0), expected));
    let (code, told) = json(ODD, &["--deny", "warnings"]);
    assert_eq!((code, &told["ok"], told["warnings"].as_array().unwrap().len()), (Some(64), &false.into(), 2));
    let (code, told) = json(BAD, &[]);
    assert_eq!((code, &told["ok"], told["problems"].as_array().unwrap().len()), (Some(64), &false.into(), 6));
    let unknown = &told["problems"][1];
    assert_eq!((&unknown["line"], &unknown["column"]), (&4.into(), &1.into()));
    assert!(
        unknown["message"].as_str().unwrap().starts_with("unknown key `colour` in [server]; "),
        "{unknown}"
    );
    let (code, told) = json(GOOD, &["-c", "none.toml"]);
    assert_eq!((code, &told["file"], &told["ok"]), (Some(64), &"none.toml".into(), &false.into()));
    assert!(
        told["problems"][0]["message"].as_str().unwrap().contains("cannot read the config file none.toml")
    );
}

#[test]
fn a_snippet_shows_the_line_and_marks_the_place_without_secrets() {
    let odd = ODD.replace("\"hunter2\"", "\"hunter 2\"");
    let outcome = run(&odd, &["check", "--format", "snippet"]);
    let expected = "\
gateway.toml:3:9: this token has a character that a client could not send; use printable ASCII without spaces and line ends
  |
3 | token = \"***\"
  |         ^^^^^
";
    assert_eq!((outcome.code, &*outcome.stdout, &*outcome.stderr), (Some(64), "", expected));
    let outcome = run(ODD, &["check", "--format", "snippet", "--allow", "unused-limit"]);
    let expected = "\
gateway.toml:6:12: warning: no route uses the upstream `u`; name it as the `upstream` of a route, or leave it out [unused-upstream]
  |
6 | [upstreams.u]
  |            ^
";
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), expected));
    // Where it is not asked for, and standard error is no terminal, a line is all.
    let plain = run(&odd, &["check"]);
    assert_eq!(plain.stderr.lines().count(), 1, "{}", plain.stderr);
    assert_eq!(run(&odd, &["check", "--format", "plain"]).stderr, plain.stderr);
}

#[test]
fn the_schema_for_editors_is_printed() {
    let outcome = run("this is no configuration", &["schema"]);
    assert_eq!((outcome.code, &*outcome.stderr), (Some(0), ""));
    let stored = concat!(env!("CARGO_MANIFEST_DIR"), "/config/gateway.schema.json");
    assert_eq!(outcome.stdout, fs::read_to_string(stored).unwrap());
}

#[test]
fn what_is_not_built_is_an_unknown_key_and_not_ignored() {
    for (key, text) in [("tls", "[server.tls]\ncertificates = []"), ("tracing", "[tracing]\nx = 1")] {
        let outcome = run(&format!("{GOOD}\n{text}"), &["check"]);
        assert_eq!(outcome.code, Some(64), "{key}: {outcome:?}");
        assert!(outcome.stderr.contains(key), "{key}: {}", outcome.stderr);
    }
}

#[test]
fn the_file_is_found_by_flag_by_variable_or_by_its_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("other.toml"), GOOD).unwrap();
    let missing = run_in(folder.path(), &["check"], &[]);
    assert_eq!(missing.code, Some(64));
    assert!(missing.stderr.contains("cannot read the config file gateway.toml"), "{}", missing.stderr);
    let by_variable = run_in(folder.path(), &["check"], &[("GATEWAY_CONFIG", "other.toml")]);
    assert_eq!(by_variable.code, Some(0), "{by_variable:?}");
    let by_flag = run_in(folder.path(), &["check", "-c", "other.toml"], &[("GATEWAY_CONFIG", "none.toml")]);
    assert_eq!(by_flag.code, Some(0), "{by_flag:?}");
    let folder_itself = run_in(folder.path(), &["check", "-c", "."], &[]);
    assert_eq!(folder_itself.code, Some(64));
    assert!(folder_itself.stderr.contains("cannot read"), "{}", folder_itself.stderr);
}

#[test]
fn variables_of_the_environment_are_put_in() {
    let folder = tempfile::tempdir().unwrap();
    let config = GOOD.replace("path = \"/\"", "path = \"${ROUTE_PATH}\"");
    fs::write(folder.path().join("gateway.toml"), config).unwrap();
    let unset = run_in(folder.path(), &["check"], &[]);
    assert_eq!(unset.code, Some(64));
    assert!(unset.stderr.contains("ROUTE_PATH"), "{}", unset.stderr);
    assert_eq!(run_in(folder.path(), &["check"], &[("ROUTE_PATH", "/a")]).code, Some(0));
}

#[test]
fn a_wrong_command_line_is_explained() {
    let outcome = run(GOOD, &["--colour"]);
    assert_eq!(outcome.code, Some(2));
    assert!(outcome.stderr.contains("--colour") && outcome.stderr.contains("--help"), "{}", outcome.stderr);
    let help = run(GOOD, &["--help"]);
    assert_eq!(help.code, Some(0));
    for word in ["--config", "check", "healthcheck", "GATEWAY_CONFIG", "gateway.toml"] {
        assert!(help.stdout.contains(word), "{word} in {}", help.stdout);
    }
    assert!(run(GOOD, &["--version"]).stdout.starts_with("gateway "));
}

#[test]
fn a_port_in_use_is_named_at_once() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    for config in [
        format!("[server]\nlisten = \"{address}\"\n{GOOD}"),
        format!("[server]\nlisten = \"127.0.0.1:0\"\n{}", GOOD.replace("off", &address.to_string())),
    ] {
        let outcome = run(&config, &[]);
        assert_eq!(outcome.code, Some(1), "{outcome:?}");
        assert!(outcome.stderr.contains(&format!("cannot listen on {address}")), "{}", outcome.stderr);
        // This process has it.
        assert!(
            outcome.stderr.contains(&format!("; process {} (", std::process::id())),
            "{}",
            outcome.stderr
        );
        assert!(!outcome.stderr.contains("panicked"), "{}", outcome.stderr);
    }
}

#[test]
fn an_access_log_that_cannot_be_written_is_an_error_at_start() {
    let config =
        format!("[server]\nlisten = \"127.0.0.1:0\"\n[access_log]\npath = \"/no/such/folder/log\"\n{GOOD}");
    let outcome = run(&config, &[]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("/no/such/folder/log"), "{}", outcome.stderr);
}

#[test]
fn the_healthcheck_asks_where_the_file_says_if_no_process_runs_with_it() {
    let gateway =
        Gateway::start(GOOD.split_once("[[").map(|(_, routes)| format!("[[{routes}")).unwrap().as_str());
    let asking = GOOD.replace("off", &gateway.admin().to_string());
    for arguments in [&["healthcheck"][..], &["healthcheck", "--ready"]] {
        let outcome = run(&asking, arguments);
        assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    }
    drop(gateway);
    let outcome = run(&asking, &["healthcheck"]);
    assert_eq!(outcome.code, Some(1), "{outcome:?}");
    assert!(outcome.stderr.contains("no answer from"), "{}", outcome.stderr);
    let outcome = run(GOOD, &["healthcheck"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("admin.listen"), "{}", outcome.stderr);
}

#[test]
fn a_gateway_that_has_refused_a_broken_file_is_well() {
    let upstream = "[upstreams.u]\nservers = [\"127.0.0.1:9\"]\nhealth = { path = \"/\", interval = \"100ms\", unhealthy_after = 1 }\n";
    let route = "[[routes]]\nname = \"a\"\npath = \"/\"\nupstream = \"u\"\n";
    let gateway = Gateway::start_with_admin(&format!("{upstream}{route}"), "token = \"t\"");
    gateway.write_file("[server\nlisten = 5 and [admin]");
    gateway.signal("HUP");
    gateway.wait_for_log_line("is not reloaded");
    let ask = |arguments: &[&str]| run_in(&gateway.folder(), arguments, &[]);
    let outcome = ask(&["healthcheck"]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    // That it cannot do its work is another question.
    crate::support::eventually("the server is unhealthy", || {
        (gateway.admin_get("/ready").status == 503).then_some(())
    });
    assert_eq!(ask(&["healthcheck"]).code, Some(0));
    let outcome = ask(&["healthcheck", "--ready"]);
    assert_eq!(outcome.code, Some(1));
    assert!(outcome.stderr.contains("upstream \"u\" has no usable server"), "{}", outcome.stderr);
}

#[test]
fn a_gateway_without_a_side_port_is_alive() {
    let config = format!("[server]\nlisten = \"127.0.0.1:0\"\n[access_log]\npath = \"off\"\n{GOOD}");
    let gateway = Gateway::with_file(&config);
    let outcome = run_in(&gateway.folder(), &["healthcheck"], &[]);
    assert_eq!((outcome.code, outcome.stderr.as_str()), (Some(0), ""));
    assert_eq!(run_in(&gateway.folder(), &["healthcheck", "--ready"], &[]).code, Some(1));
}
