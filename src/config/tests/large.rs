//! Large files: reading one takes time that grows with it, and not with its square.

use std::fmt::Write as _;

use rustix::time::{ClockId, clock_gettime};

use super::*;

/// Entries of a list: comparing each with all others takes minutes in a debug build, and everything else well under a second.
const MANY: u32 = 60_000;

/// What is in a file beside its large part.
const REST: &str = "[upstreams.a]\nservers = [\"127.0.0.1:1\"]\n";

fn each(piece: impl Fn(u32) -> String) -> String {
    (0..MANY).map(piece).collect()
}

fn address(number: u32) -> std::net::Ipv4Addr {
    (0x0a00_0000 + number).into()
}

/// A file with one route, and this in it.
fn in_a_route(keys: &str) -> String {
    format!("[[routes]]\nname = \"r\"\npath = \"/*\"\nupstream = \"a\"\n{keys}\n{REST}")
}

fn route(number: u32, keys: &str) -> String {
    format!("[[routes]]\nname = \"r{number}\"\nupstream = \"a\"\n{keys}\n")
}

/// The CPU time of this thread, which does not grow while other programs have the CPU.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::ThreadCPUTime).try_into().unwrap()
}

#[test]
fn no_list_is_compared_with_itself() {
    let limit = "[limits.l]\nrate = \"1/s\"\n";
    let overrides = |name: &dyn Fn(u32) -> String| {
        let mut table = "[limits.l.overrides]\n".to_owned();
        (0..MANY).for_each(|n| writeln!(table, "\"{}\" = \"unlimited\"", name(n)).unwrap());
        table
    };
    let hosts = each(|n| format!("\"h{n}.example\","));
    let names = each(|n| format!("\"X-{n}\","));
    let addresses = each(|n| format!("\"{}:80\",", address(n)));
    let files = [
        ("overrides", in_a_route("") + limit + &overrides(&|n| address(n).to_string())),
        ("hosts", in_a_route(&format!("hosts = [{hosts}]"))),
        ("fields", in_a_route(&format!("request_headers = {{ remove = [{names}] }}"))),
        ("servers", format!("{ONE_ROUTE}[upstreams.a]\nservers = [{addresses}]")),
        ("networks", in_a_route("") + limit + &format!("exempt = [{}]", addresses.replace(":80", ""))),
        (
            "consumers",
            format!(
                "{}[plans.p]\n{limit}key = \"consumer\"\nplans = {{ p = \"unlimited\" }}\n",
                in_a_route("")
            ) + &each(|n| format!("[consumers.c{n}]\nplan = \"p\"\nkeys = [\"sha256:{n:064x}\"]\n")),
        ),
        ("routes", each(|n| route(n, &format!("path = \"/*\"\nhosts = [\"h{n}.example\"]"))) + REST),
        ("tenants", each(|n| route(n, &format!("path = \"/*\"\nheaders = {{ X-Tenant = \"{n}\" }}"))) + REST),
        (
            "tenants by field or parameter",
            each(|n| {
                let (even, kind) = (n / 2, if n % 2 == 0 { "headers" } else { "query" });
                route(
                    n,
                    &format!(
                        "path = \"/*\"\nmethods = [\"M{}\"]\n{kind} = {{ X-Tenant = \"{even}\" }}",
                        n % 2
                    ),
                )
            }) + REST,
        ),
        (
            "overrides of routes",
            each(|n| route(n, &format!("path = \"/{n}\"")))
                + REST
                + limit
                + "key = \"route\"\n"
                + &overrides(&|n| format!("r{n}")),
        ),
    ];
    for (name, text) in &files {
        let begun = cpu_time();
        valid(text);
        let took = cpu_time() - begun;
        assert!(took < Duration::from_secs(30), "{name}: {took:?}");
    }
}

#[test]
fn names_that_are_not_there_are_told_in_bounded_time_and_space() {
    let few = MANY / 10;
    let routes: String =
        (0..few).map(|n| route(n, &format!("path = \"/{n}\"\nlimits = [\"gone{n}\"]"))).collect();
    let limits: String =
        (0..few).map(|n| format!("[limits.here{n}]\nrate = \"1/s\"\nmax_clients = 1\n")).collect();
    let told = Config::parse("f", &(routes + REST + &limits), &env).unwrap_err();
    assert_eq!(told.iter().count(), few as usize);
    assert!(told.iter().all(|(_, problem)| problem.to_string().len() < 1000));
    assert!(told.to_string().ends_with(&format!("\nf: and {} more", few - 20)), "{told}");
}
