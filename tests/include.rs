//! A configuration of several files.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use serde_json::json;

use crate::support::eventually;
use crate::support::gateway::{Gateway, TOKEN, with_admin};
use crate::support::program::{Outcome, run_in};

/// Writes files into a folder, each with its path there.
fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, text) in files {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// A route of this name and path, which answers with its name.
fn route(name: &str) -> String {
    format!("[[routes]]\nname = \"{name}\"\npath = \"/{name}\"\nrespond = {{ body = \"{name}\" }}\n")
}

/// What `check` and others say in a folder with these files.
fn run(files: &[(&str, &str)], arguments: &[&str]) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), files);
    run_in(folder.path(), arguments, &[])
}

const INCLUDE: &str = "include = [\"routes/*.toml\"]\n";

#[test]
fn files_make_one_configuration() {
    let main = format!("{INCLUDE}[limits.l]\nrate = \"1/h\"\nkey = \"global\"\n{}", route("main"));
    let limited = format!("\n\n{}limits = [\"l\", \"own\"]\n[limits.own]\nrate = \"5/s\"\n", route("b"));
    let files = [("gateway.toml", &*main), ("routes/a.toml", &route("a")), ("routes/b.toml", &limited)];
    let checked = run(&files, &["check"]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert_eq!(checked.stdout, "gateway.toml: ok: 3 routes, 2 limits, 0 upstreams\n");
    let explained = run(&files, &["explain", "GET", "/b"]);
    assert!(explained.stdout.contains("b (routes/b.toml:3)"), "{explained:?}");
    let json: serde_json::Value =
        serde_json::from_str(&run(&files, &["explain", "--json", "GET", "/b"]).stdout).unwrap();
    assert_eq!((&json["route"]["file"], &json["route"]["line"]), (&json!("routes/b.toml"), &json!(3)));
    // From another folder the pattern begins where the file is.
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("etc"), &files);
    let checked = run_in(folder.path(), &["check", "-c", "etc/gateway.toml"], &[]);
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[test]
fn problems_and_warnings_name_the_file_that_has_them() {
    let main = format!("{INCLUDE}{}", route("main"));
    let broken = format!("{}limits = [\"none\"]\n", route("a"));
    let files = [("gateway.toml", &*main), ("routes/a.toml", &*broken)];
    let problem = "routes/a.toml:5:11: there is no limit \"none\"";
    let told = run(&files, &["check", "--format", "snippet"]);
    assert_eq!(told.code, Some(64));
    assert!(told.stderr.contains(problem), "{}", told.stderr);
    assert!(told.stderr.contains("5 | limits = [\"none\"]\n  |           ^^^^^^"), "{}", told.stderr);
    let told = run(&files, &["check", "--format", "json"]);
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    let told = &told["problems"][0];
    assert_eq!((&told["file"], &told["line"]), (&json!("routes/a.toml"), &json!(5)));
    // Warnings do, too.
    let unused = format!("{}[limits.unused]\nrate = \"1/s\"\n", route("a"));
    let files = [("gateway.toml", &*main), ("routes/a.toml", &*unused)];
    let told = run(&files, &["check", "--format", "snippet"]);
    assert!(told.stderr.contains("routes/a.toml:5:9: warning: no route uses the limit"), "{}", told.stderr);
    assert!(told.stderr.contains("5 | [limits.unused]\n  |         ^^^^^^"), "{}", told.stderr);
    let told = run(&files, &["check", "--format", "json"]);
    let told: serde_json::Value = serde_json::from_str(&told.stdout).unwrap();
    assert_eq!(told["warnings"][0]["file"], "routes/a.toml");
}

#[test]
fn what_cannot_be_read_is_told() {
    let main = format!("{INCLUDE}{}", route("main"));
    let folder = tempfile::tempdir().unwrap();
    write(
        folder.path(),
        &[("gateway.toml", &main), ("routes/.hidden.toml", "no TOML"), ("routes/a.txt", "no TOML")],
    );
    let check = || run_in(folder.path(), &["check"], &[]);
    let nothing = check();
    assert_eq!(nothing.code, Some(64), "{nothing:?}");
    assert!(nothing.stderr.contains("gateway.toml:1:12: \"routes/*.toml\" matches no file"), "{nothing:?}");
    let forged = folder.path().join("routes/a\n[INFO] all is well\u{1b}[2K.toml");
    fs::write(&forged, "").unwrap();
    let told = check().stderr;
    assert!(told.contains(r#"a\n[INFO] all is well\u{1b}[2K.toml" has a control character"#), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    fs::remove_file(&forged).unwrap();
    symlink("loop.toml", folder.path().join("routes/loop.toml")).unwrap();
    let looped = check();
    assert_eq!(looped.code, Some(64), "{looped:?}");
    assert!(
        looped.stderr.contains("gateway.toml:1:12: cannot read the included file routes/loop.toml"),
        "{looped:?}"
    );
    fs::remove_file(folder.path().join("routes/loop.toml")).unwrap();
    fs::create_dir(folder.path().join("routes/folder.toml")).unwrap();
    assert!(check().stderr.contains("routes/folder.toml: it is no file"));
    fs::remove_dir(folder.path().join("routes/folder.toml")).unwrap();
    // A file that includes itself is no loop, and one that includes another is refused.
    fs::write(folder.path().join("gateway.toml"), main.replace("routes/*", "*")).unwrap();
    assert!(check().stderr.contains("matches the file that it stands in"));
}

#[test]
fn ten_thousand_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &[("gateway.toml", INCLUDE), ("routes/0.toml", "")]);
    for number in 1..10_000 {
        fs::write(folder.path().join(format!("routes/{number}.toml")), route(&format!("r{number}"))).unwrap();
    }
    let checked = run_in(folder.path(), &["check"], &[]);
    assert_eq!(
        checked.stdout, "gateway.toml: ok: 9999 routes, 0 limits, 0 upstreams\n",
        "{}",
        checked.stderr
    );
    write(folder.path(), &[("routes/one.toml", "")]);
    let checked = run_in(folder.path(), &["check"], &[]);
    assert!(checked.stderr.contains("matches more than 10000 files"), "{}", checked.stderr);
}

/// A gateway whose configuration includes the files of the folder `conf`, and follows them.
fn following(folder: &Path) -> Gateway {
    let text = with_admin(&format!("watch = true\n{}", route("main")), "token = \"t\"");
    Gateway::with_file(&format!("include = [\"{}/*.toml\"]\n{text}", folder.display()))
}

#[test]
fn files_that_come_change_and_go_are_followed() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("conf");
    write(&conf, &[("a.toml", &route("a"))]);
    let gateway = following(&conf);
    let becomes = |path: &str, status: u16| {
        eventually(&format!("{path} is {status}"), || (gateway.get(path).status == status).then_some(()));
    };
    assert_eq!((gateway.get("/main").status, gateway.get("/a").status), (200, 200));
    write(&conf, &[("b.toml", &route("b"))]);
    becomes("/b", 200);
    write(&conf, &[("a.toml", &route("c"))]);
    becomes("/c", 200);
    becomes("/a", 404);
    let shown = gateway.admin_get("/config").text();
    assert!(shown.contains("\"/b\"") && shown.contains("\"/c\""), "{shown}");
    // What is wrong changes nothing.
    write(&conf, &[("d.toml", "[[routes]]\nname = 5\n")]);
    let refused = gateway.post_reload(&TOKEN);
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("conf/d.toml:2:8: "), "{}", refused.text());
    assert_eq!(gateway.get("/c").status, 200);
    fs::remove_file(conf.join("d.toml")).unwrap();
    fs::remove_file(conf.join("b.toml")).unwrap();
    becomes("/b", 404);
    assert_eq!(gateway.get("/c").status, 200);
    // A folder that is not there, or is empty, takes no route out of force.
    fs::rename(&conf, folder.path().join("away")).unwrap();
    let refused = gateway.post_reload(&TOKEN);
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("matches no file"), "{}", refused.text());
    assert_eq!(gateway.get("/c").status, 200);
    write(&conf, &[("e.toml", &route("e"))]);
    becomes("/e", 200);
    becomes("/c", 404);
}

#[test]
fn a_folder_that_kubernetes_exchanges_is_followed() {
    let folder = tempfile::tempdir().unwrap();
    let conf = folder.path().join("conf");
    // The files of a ConfigMap are links into a hidden folder, which is exchanged as a whole.
    write(
        &conf,
        &[("..1/a.toml", &route("old")), ("..2/a.toml", &route("new")), ("..2/b.toml", &route("more"))],
    );
    symlink("..1", conf.join("..data")).unwrap();
    symlink("..data/a.toml", conf.join("a.toml")).unwrap();
    let gateway = following(&conf);
    assert_eq!((gateway.get("/old").status, gateway.get("/new").status), (200, 404));
    symlink("..2", conf.join("..data_tmp")).unwrap();
    fs::rename(conf.join("..data_tmp"), conf.join("..data")).unwrap();
    symlink("..data/b.toml", conf.join("b.toml")).unwrap();
    eventually("the new files", || (gateway.get("/more").status == 200).then_some(()));
    assert_eq!((gateway.get("/old").status, gateway.get("/new").status), (404, 200));
}
