//! `[server]` and `[admin]`.

use std::net::SocketAddr;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::super::item::Item;
use super::super::problem::{Checked, Fault, Reported, Span, quoted};
use super::super::section::Section;
use super::super::suggest;
use super::super::table::{Kind, Setting, Table};
use super::super::value::http::{header_name, header_value};
use super::super::value::{address, quantity};
use super::super::values::Values;
use super::super::{Address, Admin, HeaderChanges, Listener, MaxMemory, Ready, Server, Way};
use super::auth;
use super::auth_failures::{self, Failures};
use super::headers;
use super::https;
use super::listen::Place;
use super::names::Names;
use super::shared::{
    DURATION, DURATION_OR_ZERO, FIELD, FIELD_NAME, FIELD_VALUE, HOST, NETWORKS, SIZE, limits, networks,
    pattern_fault,
};
use super::tls;
use crate::field_names;
use crate::route::pattern::HostPattern;

const LISTEN: &str = "an address such as \"0.0.0.0:8000\"";
const DEFAULT_LISTENER: Listener =
    Listener::plain(SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED), 8000));
pub(in super::super) const DEFAULT_ADMIN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8001);
const DEFAULT_MAX_BODY_SIZE: u64 = 10 << 20;
/// The least value of `max_memory`: with less the gateway would refuse all requests.
const LEAST_MEMORY: u64 = 32 << 20;

const HOSTS: Kind = Kind::List(&HOST, 0);
const LISTENER: Kind =
    Kind::Either(&[Kind::Pattern(&[address::LISTEN, address::PLACE]), Kind::Table(&LISTENER_TABLE)]);

pub(super) static SERVER: Table = Table::new(
    "The listeners, and what holds for the connections of clients.",
    &[
        Setting::new(
            "listen",
            Kind::Either(&[
                Kind::Pattern(&[address::LISTEN, address::PLACE]),
                Kind::Table(&LISTENER_TABLE),
                Kind::List(&LISTENER, 1),
            ]),
            "Where clients connect: one listener or a list. `\"[::]:8000\"` listens for IPv6 clients, and \
             also for IPv4 clients unless the list has `\"0.0.0.0:8000\"` too. \
             `\"unix:/run/gateway/http.sock\"` is a Unix socket, `\"systemd\"` and `\"systemd:NAME\"` are \
             sockets that systemd passes.",
        )
        .example(r#"["0.0.0.0:80", { address = "0.0.0.0:443", tls = true }]"#)
        .or("\"0.0.0.0:8000\""),
        Setting::new(
            "tls",
            Kind::Table(&tls::SERVER_TLS),
            "The certificates of the listeners that speak TLS.",
        ),
        Setting::new(
            "threads",
            Kind::Integer(0, 1024),
            "How many worker threads serve requests. `0` is one for each CPU.",
        )
        .example("4").or("0"),
        Setting::new(
            "trusted_proxies",
            NETWORKS,
            "Networks whose `X-Forwarded-For`, `Forwarded` and PROXY headers are believed.",
        )
        .example(r#"["10.0.0.0/8"]"#).or("[]"),
        Setting::new(
            "client_ip_header",
            FIELD,
            "The request field in which trusted proxies name the client. Without this key `X-Forwarded-For` and \
             `Forwarded` name it.",
        )
        .example(r#""CF-Connecting-IP""#),
        Setting::new(
            "underscores_in_headers",
            Kind::Boolean,
            "Whether request fields pass whose names have `_`, `.` or other marks. Otherwise they are dropped.",
        ).or("false"),
        Setting::new(
            "drain_timeout",
            DURATION_OR_ZERO,
            "How long running requests may take to finish at a stop.",
        )
        .example(r#""60s""#).or("\"30s\""),
        Setting::new(
            "header_timeout",
            DURATION,
            "How long a client may take to send a whole request head, or for the TLS handshake. After \
             that a request gets 408, and a handshake is broken off.",
        )
        .example(r#""5s""#).or("\"10s\""),
        Setting::new(
            "body_timeout",
            DURATION,
            "How long a client may pause in the middle of a body. After that the request gets 408.",
        )
        .example(r#""30s""#).or("\"60s\""),
        Setting::new(
            "idle_timeout",
            DURATION,
            "How long a connection may stay open between requests, and how long a client may take nothing of its \
             answer.",
        )
        .example(r#""75s""#).or("\"60s\""),
        Setting::new(
            "tunnel_timeout",
            DURATION,
            "How long nothing may pass through a tunnel, such as a WebSocket, in either direction before it is \
             closed.",
        )
        .example(r#""10m""#).or("\"1h\""),
        Setting::new(
            "max_memory",
            Kind::Quantity(&["auto", quantity::SIZE], 0, i64::MAX as u64),
            "How much memory the process may take. Above it new requests get 503, and clients that take nothing \
             of their answers are cut off. `\"auto\"` is nine tenths of what the container or the machine has; \
             `0` is no bound.",
        )
        .example(r#""2GiB""#)
        .or("\"auto\""),
        Setting::new(
            "max_header_size",
            SIZE,
            "The largest request head, from 1KiB to 1MiB; a larger one, or one with more than 256 fields, gets \
             431.",
        )
        .example(r#""32KiB""#).or("\"64KiB\""),
        Setting::new(
            "max_body_size",
            SIZE,
            "The largest request body; a larger one gets 413. `0` is no body at all.",
        )
        .example(r#""1MiB""#).or("\"10MiB\""),
        Setting::new(
            "max_connections",
            Kind::Integer(0, 100_000_000),
            "How many connections all clients together may have open. At the bound the connection that has waited \
             longest for a request is closed for a new one; if all have requests, the new one is reset. `0` is \
             what the limit on descriptors allows.",
        )
        .example("20000").or("0"),
        Setting::new(
            "max_connections_per_client",
            Kind::Integer(0, 1_000_000),
            "How many connections one address (of IPv6 one /64) may have open; one more is reset. Those of \
             `trusted_proxies` are not counted. `0` is no bound.",
        )
        .example("100").or("0"),
        Setting::new(
            "max_requests_per_connection",
            Kind::Integer(0, 1_000_000_000),
            "How many requests a connection carries before it is closed. `0` is no bound.",
        )
        .example("10000").or("0"),
        Setting::new(
            "server_header",
            FIELD_VALUE,
            "The `Server` field of every answer. An empty string sends none.",
        )
        .example(r#""""#).or("\"gateway\""),
        Setting::new(
            "response_headers",
            Kind::Table(&headers::CHANGES),
            "Changes to the fields of every answer. `set` is for the gateway's own answers too.",
        ),
        Setting::new(
            "https_redirect",
            https::REDIRECT,
            "Whether a request in the clear is redirected to HTTPS: `true` does so with 308, a number with that \
             status.",
        )
        .example("true").or("false"),
        Setting::new(
            "https_port",
            Kind::Integer(1, 65535),
            "The port in the `https://` URLs of these redirects. Without this key it is the port of the \
             first listener with `tls = true`, or 443 if one of them has port 443 or if there is none.",
        )
        .example("443"),
        Setting::new(
            "watch",
            Kind::Boolean,
            "Whether the configuration is loaded again whenever one of its files changes.",
        ).or("false"),
        Setting::new(
            "limits",
            Kind::List(&Kind::Text, 0),
            "The names of limits that hold for every route, before the route's own.",
        )
        .example(r#"["per_client"]"#).or("[]"),
        Setting::new(
            "auth",
            auth::WAYS,
            "How callers prove who they are on routes without an `auth` of their own.",
        )
        .example(r#"["api_key"]"#).or("[]"),
        Setting::new(
            "auth_required",
            Kind::Boolean,
            "Whether a request without credentials gets 401, on routes without an `auth_required` of \
             their own. With `false` it is let in as a stranger.",
        ).or("true"),
        Setting::new(
            "auth_failures",
            Kind::Text,
            "How often an address may try wrong credentials: a rate, or the name of a limit. Without this key it \
             may try as often as it likes.",
        )
        .example(r#""5/min""#),
    ],
);

static LISTENER_TABLE: Table = Table::new(
    "A listener.",
    &[
        Setting::new(
            "address",
            Kind::Pattern(&[address::LISTEN, address::PLACE]),
            "The address to listen on, as in `listen`.",
        )
        .example(r#""0.0.0.0:443""#)
        .required(),
        Setting::new("tls", Kind::Boolean, "Whether clients speak TLS on this listener.").or("false"),
        Setting::new(
            "proxy_protocol",
            Kind::Boolean,
            "Whether every connection begins with a header of the PROXY protocol, version 1 or 2.",
        )
        .or("false"),
        Setting::new(
            "mode",
            Kind::Pattern(&["0*[0-7]{1,3}"]),
            "The permissions of a Unix socket. Without this key the umask decides.",
        )
        .example(r#""0660""#),
    ],
);

pub(super) static ADMIN: Table = Table::new(
    "The side port: metrics, health, the live page.",
    &[
        Setting::new(
            "listen",
            Kind::Pattern(&["off", address::LISTEN]),
            "The address of the side port, or `\"off\"`.",
        )
        .example(r#""127.0.0.1:9901""#)
            .or("\"127.0.0.1:8001\""),
        Setting::new(
            "token",
            Kind::Text,
            "The token for calls that change something: `Authorization: Bearer TOKEN`. An empty token refuses all \
             such calls.",
        )
        .example(r#""${ADMIN_TOKEN}""#)
            .or("\"\""),
        Setting::new(
            "hosts",
            HOSTS,
            "Names under which a browser may open the side port, beside IP addresses, `localhost` and names \
             without a dot.",
        )
        .example(r#"["gateway.example.com"]"#).or("[]"),
        Setting::new(
            "ready",
            Kind::Word(&["all_upstreams", "any_upstream", "serving"]),
            "When `/ready` says 200: if each upstream has a usable server, if one upstream has, or whatever the \
             upstreams do. A gateway that drains is never ready.",
        )
        .or("\"all_upstreams\""),
    ],
);

/// The values of `[server]`.
pub(super) struct ServerRead<'a> {
    pub(super) server: Checked<Server>,
    /// The addresses that could be read.
    pub(super) listen: Vec<Place>,
    /// The limits on every route.
    pub(super) limits: Checked<Vec<usize>>,
    /// The default of the routes.
    pub(super) max_body_size: Checked<u64>,
    /// How callers prove who they are, where routes do not say.
    pub(super) ways: Checked<Vec<Way>>,
    /// Whether they must, where routes do not say.
    pub(super) auth_required: Checked<bool>,
    /// How often they may fail, with its place.
    pub(super) auth_failures: Checked<Option<(Failures, Item<'a>)>>,
}

/// Reads `[server]`.
pub(super) fn server<'a>(item: Option<Item<'a>>, names: &Names<'_>) -> ServerRead<'a> {
    let Some(item) = item else { return ServerRead::default() };
    let section = match item.section(
        &SERVER,
        "[server]".into(),
        "[server] once, in single brackets, and its keys below",
    ) {
        Ok(section) => section,
        Err(reported) => return ServerRead::broken(reported),
    };
    let default = default_server();
    let mut on = Switches::default();
    let (listen, listen_complete) = listeners(&section, &mut on);
    let tls = tls::server(&section, &on.tls, listen_complete);
    let threads = section.or("threads", 0, |item| item.integer(0..=1024));
    let trusted_proxies = trusted_proxies(&section, &on.proxy_protocol);
    let underscores =
        section.or("underscores_in_headers", default.underscores_in_headers, |item| item.boolean());
    let drain_timeout = section.or("drain_timeout", default.drain_timeout, |item| item.duration_or_zero());
    let header_timeout = section.or("header_timeout", default.header_timeout, |item| item.duration());
    let idle_timeout = section.or("idle_timeout", default.idle_timeout, |item| item.duration());
    let body_timeout = section.or("body_timeout", default.body_timeout, |item| item.duration());
    let tunnel_timeout = section.or("tunnel_timeout", default.tunnel_timeout, |item| item.duration());
    let max_memory = section.or("max_memory", default.max_memory, max_memory);
    let max_header_size = section.or("max_header_size", default.max_header_size, header_size);
    let max_body_size = section.or("max_body_size", DEFAULT_MAX_BODY_SIZE, |item| item.size());
    let max_connections = section.or("max_connections", 0, |item| item.integer(0..=100_000_000));
    let max_per_client = section.or("max_connections_per_client", 0, |item| item.integer(0..=1_000_000));
    let max_requests = section.or("max_requests_per_connection", 0, |item| item.integer(0..=1_000_000_000));
    let server_header = section.or("server_header", default.server_header, |item| {
        item.parse("a string", |text| Ok(Some(header_value(text)?).filter(|value| !value.is_empty())))
    });
    let response_headers =
        section.optional("response_headers", |item| headers::changes(item, "response_headers", section.sink));
    let client_ip_header =
        section.optional("client_ip_header", |item| client_ip_header(&item, &trusted_proxies));
    let has_proxies =
        trusted_proxies.as_ref().map(|networks| !networks.is_empty()).map_err(|reported| *reported);
    let all: Vec<_> = listen.iter().map(|(listener, _)| listener).collect();
    let https_redirect = https::redirect(&section, &all, listen_complete, &has_proxies);
    let watch = section.or("watch", default.watch, |item| item.boolean());
    let limits = section.or("limits", Vec::new(), |item| limits(&item, names));
    let ways = section.or("auth", Vec::new(), auth::ways);
    let auth_required = section.or("auth_required", true, |item| item.boolean());
    let auth_failures =
        section.optional("auth_failures", |item| Ok((auth_failures::read(&item, names)?, item)));
    section.finish();
    let server = (|| {
        limits.as_ref().map_err(|reported| *reported)?;
        listen_complete?;
        Ok(Server {
            listen: listen.iter().map(|(listener, _)| listener.clone()).collect(),
            tls: tls?,
            threads: usize::try_from(threads?).ok().filter(|&threads| threads > 0),
            trusted_proxies: trusted_proxies?,
            underscores_in_headers: underscores?,
            drain_timeout: drain_timeout?,
            header_timeout: header_timeout?,
            body_timeout: body_timeout?,
            tunnel_timeout: tunnel_timeout?,
            max_memory: max_memory?,
            idle_timeout: idle_timeout?,
            max_header_size: max_header_size?,
            max_body_size: max_body_size?,
            max_connections: usize::try_from(max_connections?).ok().filter(|&most| most > 0),
            max_connections_per_client: u32::try_from(max_per_client?).ok().filter(|&most| most > 0),
            max_requests_per_connection: Some(max_requests?).filter(|&most| most > 0),
            watch: watch?,
            server_header: server_header?,
            response_headers: response_headers?.unwrap_or_default(),
            client_ip_header: client_ip_header?,
            https_redirect: https_redirect?,
        })
    })();
    let listen = listen.into_iter().map(|(listener, span)| (listener.address, span)).collect();
    ServerRead { server, listen, limits, max_body_size, ways, auth_required, auth_failures }
}

impl Default for ServerRead<'_> {
    /// Of a file without `[server]`.
    fn default() -> Self {
        Self {
            server: Ok(default_server()),
            listen: vec![(DEFAULT_LISTENER.address, None)],
            limits: Ok(Vec::new()),
            max_body_size: Ok(DEFAULT_MAX_BODY_SIZE),
            ways: Ok(Vec::new()),
            auth_required: Ok(true),
            auth_failures: Ok(None),
        }
    }
}

impl ServerRead<'_> {
    /// Of a section that cannot be read.
    fn broken(reported: Reported) -> Self {
        Self {
            server: Err(reported),
            listen: Vec::new(),
            limits: Err(reported),
            max_body_size: Err(reported),
            ways: Err(reported),
            auth_required: Err(reported),
            auth_failures: Err(reported),
        }
    }
}

fn default_server() -> Server {
    Server {
        listen: vec![DEFAULT_LISTENER],
        tls: None,
        threads: None,
        trusted_proxies: Vec::new(),
        underscores_in_headers: false,
        drain_timeout: Duration::from_secs(30),
        header_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(60),
        body_timeout: Duration::from_secs(60),
        tunnel_timeout: Duration::from_secs(3600),
        max_memory: MaxMemory::OfWhatThereIs,
        max_header_size: 64 << 10,
        max_body_size: DEFAULT_MAX_BODY_SIZE,
        max_connections: None,
        max_connections_per_client: None,
        max_requests_per_connection: None,
        watch: false,
        server_header: Some(HeaderValue::from_static("gateway")),
        response_headers: HeaderChanges::default(),
        client_ip_header: None,
        https_redirect: None,
    }
}

/// The listeners with settings that need another setting of the file.
#[derive(Default)]
struct Switches<'a> {
    tls: Vec<Item<'a>>,
    proxy_protocol: Vec<Item<'a>>,
}

/// Reads `listen`: the listeners that could be read, each with its place in the file, and whether those are all.
fn listeners<'a>(
    section: &Section<'a>,
    on: &mut Switches<'a>,
) -> (Vec<(Listener, Option<Span>)>, Checked<()>) {
    let Some(item) = section.get("listen") else { return (vec![(DEFAULT_LISTENER, None)], Ok(())) };
    let values = Values::read(item.one_or_list(), |item| listener(item, on));
    let complete = match (&values.complete, values.list.is_empty()) {
        (Ok(()), true) => Err(item.report(
            Fault::new("the server would listen nowhere").hint("write one address at least, or leave it out"),
        )),
        (complete, _) => *complete,
    };
    let listeners = values.list.into_iter().map(|(value, item)| (value, Some(item.span().clone())));
    (listeners.collect(), complete)
}

/// An entry of `listen`: an address, or a table with one.
fn listener<'a>(item: Item<'a>, on: &mut Switches<'a>) -> Checked<Listener> {
    if !item.is_table() {
        let address = item.parse(LISTEN, address::place)?;
        return Ok(Listener { address, tls: false, proxy_protocol: false, mode: None });
    }
    let section = item.section(&LISTENER_TABLE, "a listener".into(), "{ address = \"0.0.0.0:8000\" }")?;
    let address =
        section.required("address", "address = \"0.0.0.0:8000\"", |item| item.parse(LISTEN, address::place));
    let switch = |key: &'static str, on: &mut Vec<Item<'a>>| {
        section.or(key, false, |item| {
            let value = item.boolean()?;
            on.extend(value.then_some(item));
            Ok(value)
        })
    };
    let (tls, proxy_protocol) =
        (switch("tls", &mut on.tls), switch("proxy_protocol", &mut on.proxy_protocol));
    let mode = section.optional("mode", |item| item.parse("permissions such as \"0660\"", permissions));
    let useless = match &address {
        Ok(Address::Ip(_) | Address::Systemd(_)) => section.useless(
            &["mode"],
            "where no Unix socket is made",
            "it is for \"unix:/run/gateway/http.sock\": leave it out",
        ),
        _ => Ok(()),
    };
    section.finish();
    useless?;
    Ok(Listener { address: address?, tls: tls?, proxy_protocol: proxy_protocol?, mode: mode? })
}

/// Parses the permissions of a file, in octal digits.
fn permissions(text: &str) -> Result<u32, Fault> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(mode),
        _ => Err(Fault::new(format!("{} are no permissions", quoted(text)))
            .hint("write three octal digits, such as \"0660\" for the owner and the group")),
    }
}

/// Reads `trusted_proxies`, which listeners with the PROXY protocol need.
fn trusted_proxies(section: &Section<'_>, dependent: &[Item<'_>]) -> Checked<Vec<ipnet::IpNet>> {
    let networks = section.or("trusted_proxies", Vec::new(), networks)?;
    if networks.is_empty() {
        for listener in dependent {
            let fault = Fault::new(
                "nobody could connect here: `trusted_proxies` says whose PROXY headers are believed",
            );
            listener.report(
                fault.hint("name the proxies in [server], such as trusted_proxies = [\"10.0.0.0/8\"]"),
            );
        }
    }
    match (networks.is_empty(), dependent) {
        (true, [_, ..]) => Err(section.sink.already_reported()),
        _ => Ok(networks),
    }
}

/// Reads `client_ip_header`, which somebody must be trusted to write.
fn client_ip_header(item: &Item<'_>, trusted: &Checked<Vec<ipnet::IpNet>>) -> Checked<HeaderName> {
    let name = item.parse(FIELD_NAME, |text| {
        let name = header_name(text)?;
        let fault = match name.as_str() {
            "x-real-ip" => return Ok(name),
            "x-forwarded-for" | "forwarded" => {
                Fault::new(format!("`{name}` is read in any case")).hint("leave out `client_ip_header`")
            }
            _ if !field_names::is_plain(&name) => {
                Fault::new(format!("{} has marks that servers read as another name", quoted(text)))
                    .hint("have the proxy write a name of letters, digits and `-`, such as \"X-Real-IP\"")
            }
            _ if field_names::is_of_the_gateway(&name) => Fault::new(format!(
                "`{name}` means something else"
            ))
            .hint("name the field that the proxy writes, such as \"X-Real-IP\" or \"CF-Connecting-IP\""),
            _ => return Ok(name),
        };
        Err(fault)
    })?;
    if trusted.as_ref().map_err(|reported| *reported)?.is_empty() {
        let fault = Fault::new("nobody would be believed: `trusted_proxies` says whose fields are");
        return Err(item.report(fault.hint("name the proxies, such as trusted_proxies = [\"10.0.0.0/8\"]")));
    }
    Ok(name)
}

fn max_memory(item: Item<'_>) -> Checked<MaxMemory> {
    if item.is_word("auto") {
        return Ok(MaxMemory::OfWhatThereIs);
    }
    match item.size()? {
        0 => Ok(MaxMemory::Unbounded),
        bytes if bytes < LEAST_MEMORY => {
            Err(item.expected("at least \"32MiB\", or 0 for no bound, or \"auto\""))
        }
        bytes => Ok(MaxMemory::Bytes(bytes)),
    }
}

fn header_size(item: Item<'_>) -> Checked<usize> {
    let size = item.size()?;
    usize::try_from(size)
        .ok()
        .filter(|size| (1 << 10..=1 << 20).contains(size))
        .ok_or_else(|| item.expected("from \"1KiB\" to \"1MiB\""))
}

const READY: [(&str, Ready); 3] = [
    ("all_upstreams", Ready::AllUpstreams),
    ("any_upstream", Ready::AnyUpstream),
    ("serving", Ready::Serving),
];

/// The values of `[admin]`.
pub(super) struct AdminRead {
    pub(super) admin: Checked<Option<Admin>>,
    /// Its address, if it has one that could be read.
    pub(super) listen: Option<Place>,
}

/// Reads `[admin]`.
pub(super) fn admin(item: Option<Item<'_>>) -> AdminRead {
    let Some(item) = item else {
        return AdminRead {
            admin: Ok(Some(Admin {
                listen: DEFAULT_ADMIN,
                token: None,
                hosts: Vec::new(),
                ready: Ready::default(),
            })),
            listen: Some((DEFAULT_ADMIN.into(), None)),
        };
    };
    let section = match item.section(
        &ADMIN,
        "[admin]".into(),
        "[admin] once, in single brackets, and its keys below",
    ) {
        Ok(section) => section,
        Err(reported) => return AdminRead { admin: Err(reported), listen: None },
    };
    let place = section.or("listen", Some((DEFAULT_ADMIN, None)), |item| {
        let address = item.parse("an address such as \"127.0.0.1:8001\", or \"off\"", |text| match text {
            "off" => Ok(None),
            text => address::listen(text).map(Some).map_err(|fault| match suggest::nearest(text, ["off"]) {
                Some(_) => fault.hint("did you mean \"off\"?"),
                None => fault,
            }),
        })?;
        Ok(address.map(|address| (address, Some(item.span().clone()))))
    });
    let token = section.or("token", None, |item| item.parse("a string", token));
    let hosts = section.or("hosts", Vec::new(), |item| {
        let example = "a host such as \"gateway.example.com\"";
        item.values("hosts", |item| item.parse(example, page_host)).each_once().all()
    });
    let ready = section.or("ready", Ready::default(), |item| item.word(&READY));
    section.finish();
    let listen = place.as_ref().ok().cloned().flatten();
    let admin = place.and_then(|place| {
        let (token, hosts, ready) = (token?, hosts?, ready?);
        Ok(place.map(|(listen, _)| Admin { listen, token, hosts, ready }))
    });
    AdminRead { admin, listen: listen.map(|(address, span)| (address.into(), span)) }
}

/// Parses a host under which a browser may open the side port.
fn page_host(text: &str) -> Result<HostPattern, Fault> {
    let fault = match text {
        "" => Fault::new("an empty text names no host"),
        "*" => Fault::new("`*` would let any page on the web use the side port"),
        text => return text.parse().map_err(pattern_fault),
    };
    Err(fault
        .hint("name the hosts under which you open it, such as \"gateway.example.com\" or \"*.example.com\""))
}

/// Parses a token. No message repeats it.
fn token(text: &str) -> Result<Option<String>, Fault> {
    if text.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Ok(Some(text.to_owned()).filter(|token| !token.is_empty()));
    }
    Err(Fault::new("this token has a character that a client could not send")
        .hint("use printable ASCII without spaces and line ends"))
}
