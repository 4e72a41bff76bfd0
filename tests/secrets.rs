//! What nobody is told: tokens, passwords and keys of the configuration, in whatever way they came into it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;

use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::http::{Connection, request};
use crate::support::program::run_in;

/// Every secret of these tests begins so.
const SECRET: &str = "hunter2";

const ROUTE: &str = "[[routes]]\nname = \"a\"\npath = \"/\"\nrespond = { status = 200 }\n";

/// Mistakes, each with a secret in it.
const MISTAKES: [&str; 13] = [
    "[admin]\ntoken = \"hunter2 with a space\"\n",
    "[admin]\ntoken = hunter2\n",
    "[admin]\ntoken = \"${A-hunter2}\"\n",
    "[admin]\ntoken = \"pa$hunter2\"\n",
    "[admin]\ntoken = [\"hunter2\"]\n",
    "[admin]\nlisten = \"${SECRET}\"\n",
    "[server]\nthreads = \"${A:-hunter2}\"\n",
    "[server]\nlisten = [\"${SECRET}\", \"${SECRET}\"]\n",
    "[server.tls]\ncertificates = [{ cert = \"${SECRET}.pem\", key = \"${SECRET}.key\" }]\n",
    "[tracing]\nendpoint = \"http://user:hunter2@127.0.0.1:4318\"\n",
    "[upstreams.u]\nservers = [\"http://user:hunter2@127.0.0.1:80\"]\n",
    "[upstreams.u]\nservers = [\"${SECRET}:x\"]\nbalance = \"${SECRET}\"\n",
    "[limits.l]\nrate = \"1/s\"\nkey = \"header:X-Key\"\n\"overrides\" = { hunter2 = \"unlimited\", hunter2 = \"x\" }\n",
];

#[test]
fn a_mistake_with_a_secret_in_it_is_told_without_the_secret() {
    for mistake in MISTAKES {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("gateway.toml"), format!("{mistake}{ROUTE}")).unwrap();
        let outcome = run_in(folder.path(), &["check"], &[("SECRET", "hunter2-secret")]);
        assert_eq!(outcome.code, Some(64), "{mistake}: {outcome:?}");
        assert!(!format!("{outcome:?}").contains(SECRET), "{mistake}: {outcome:?}");
    }
}

#[test]
fn neither_the_side_port_nor_the_log_tells_a_secret() {
    let routes = format!(
        "[upstreams.u]\nservers = [\"127.0.0.1:9\"]\n{ROUTE}[[routes]]\nname = \"b\"\npath = \"/b\"\nupstream = \"u\"\n\
         request_headers = {{ set = {{ X-Internal = \"hunter2\", Authorization = \"Basic ${{SECRET}}\" }} }}\n"
    );
    let token = "token = \"${ADMIN_TOKEN:-hunter2}\"";
    let gateway = Gateway::with_file_and(&with_admin(&routes, token), &[("SECRET", "hunter2-secret")]);
    let shown = gateway.admin_get("/config").text();
    assert!(shown.contains("${ADMIN_TOKEN:-***}"), "{shown}");
    assert_eq!(gateway.post_reload(&[("Authorization", "Bearer hunter2")]).status, 200);
    gateway.write_file(&with_admin(&routes, &format!("{token}\nhosts = [\"${{SECRET}}/\"]")));
    let refused = gateway.post_reload(&[("Authorization", "Bearer hunter2")]);
    assert_eq!(refused.status, 422);
    for told in [shown, refused.text(), gateway.admin_get("/config").text(), gateway.log()] {
        assert!(!told.contains(SECRET), "{told}");
    }
}

#[test]
fn a_token_cannot_be_found_by_trying() {
    let gateway = Gateway::start_with_admin(ROUTE, "token = \"t\"");
    let guess = |token: &str| gateway.post_reload(&[("Authorization", &format!("Bearer {token}"))]);
    for number in 0..10 {
        assert_eq!(guess(&number.to_string()).status, 401);
    }
    let throttled = guess("11");
    assert_eq!(throttled.status, 429);
    let wait: u64 = throttled.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=6).contains(&wait), "{wait}");
    assert_eq!(gateway.post_reload(&TOKEN).status, 429, "there is no verdict on the right one either");
    // One without a token is no guess, and reading takes none.
    assert_eq!(gateway.post_reload(&[]).status, 401);
    assert_eq!(gateway.admin_get("/config").status, 200);
    let mut connection = Connection::open(gateway.admin());
    connection.send(request("DELETE", "/limits/l/clients/x", &TOKEN, ""));
    assert_eq!(connection.response().status, 429, "every call that takes the token counts");
    gateway.wait_for_log_line("a wrong token by 127.0.0.1");
    assert_eq!(gateway.log().matches("a wrong token").count(), 1);
}

#[test]
fn files_that_others_may_change_are_warned_of() {
    let gateway = Gateway::start_with_admin(ROUTE, "token = \"t\"");
    let file = gateway.folder().join("gateway.toml");
    fs::set_permissions(&file, Permissions::from_mode(0o646)).unwrap();
    assert_eq!(gateway.post_reload(&TOKEN).status, 200);
    gateway.wait_for_log_line("gateway.toml: anybody may write to this file");
    let outcome = run_in(&gateway.folder(), &["check"], &[]);
    assert_eq!(outcome.code, Some(0));
    let told = "gateway.toml: warning: anybody may write to this file; `chmod o-w` it [writable-file]\n";
    assert_eq!(outcome.stderr, told);
}
