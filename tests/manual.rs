//! What shells and `man` read of the command line.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::support::program::run;

/// The commands, and the options of each, as `--help` tells them.
fn commands() -> Vec<(String, Vec<String>)> {
    let help = run("", &["--help"]).stdout;
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    let names = commands.lines().filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    let names = names.filter(|name| *name != "help" && !name.is_empty());
    let options = |name: &str| {
        let help = run("", &[name, "--help"]).stdout;
        let words = help.split(|c: char| c.is_whitespace() || "<,[]`".contains(c));
        words.filter(|word| word.starts_with("--") && word.len() > 2).map(str::to_owned).collect()
    };
    names.map(|name| (name.to_owned(), options(name))).collect()
}

#[test]
fn the_page_of_the_manual_has_every_command_and_option() {
    let page = run("", &["man"]);
    assert_eq!(page.code, Some(0));
    let page = page.stdout.replace("\\-", "-").to_lowercase();
    let commands = commands();
    assert!(commands.len() >= 5, "{commands:?}");
    for (name, options) in commands {
        let section =
            page.split_once(&format!(".sh \"gateway {name}\"")).unwrap_or_else(|| panic!("{name}")).1;
        for option in options {
            assert!(section.contains(&option), "{name} {option}");
        }
    }
}

#[test]
fn completions_name_every_command_and_bash_reads_them() {
    for shell in ["bash", "zsh", "fish"] {
        let script = run("", &["completions", shell]);
        assert_eq!(script.code, Some(0));
        for (name, _) in commands() {
            assert!(script.stdout.contains(&name), "{shell} {name}");
        }
    }
    let mut bash = Command::new("bash").arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    let script = run("", &["completions", "bash"]).stdout;
    bash.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    assert!(bash.wait().unwrap().success());
    assert_eq!(run("", &["completions", "tcsh"]).code, Some(2));
    assert_eq!(run("", &["--version"]).stdout, format!("gateway {}\n", env!("CARGO_PKG_VERSION")));
}
