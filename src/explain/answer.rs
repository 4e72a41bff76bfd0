//! Makes the explanation of a request of what the engine says of it.

use http::{HeaderValue, StatusCode, Version, header};

use super::explanation::{Answer, Caller, Client, Dropped, Explanation, Field, Request};
use super::question::Question;
use super::{head, limits, near, route};
use crate::clock::Timestamp;
use crate::config::{Config, Route, Way};
use crate::consumer::Consumer;
use crate::engine::{Course, Engine, Facts, Foreseen, Located, Peer, Reply, Sender};
use crate::field_names::{self, Names};

/// The longest target that is read, in bytes.
const MAX_TARGET: usize = 65_534;

/// Explains a request to people. Nothing is taken from any limit. `plainly` shows values that may be secrets: those of keys of limits,
/// and those of fields that the configuration sets.
pub async fn explain(engine: &Engine, question: &Question, now: Timestamp, plainly: bool) -> Explanation {
    let sender = engine.sender(Peer::at(question.peer), &question.headers);
    let mut explanation = Explanation {
        request: request(engine, question),
        answer: answered(&Reply::internal()),
        client: client(engine, question, &sender),
        caller: None,
        dropped: Vec::new(),
        route: None,
        near_misses: Vec::new(),
        more_near_misses: 0,
        limits: Vec::new(),
        upstream: None,
        sent: None,
    };
    match readable(engine.config(), question) {
        Ok(()) => explain_readable(engine, question, &sender, now, plainly, &mut explanation).await,
        Err(reply) => explanation.answer = answered(&reply),
    }
    explanation
}

async fn explain_readable(
    engine: &Engine,
    question: &Question,
    sender: &Sender,
    now: Timestamp,
    plainly: bool,
    explanation: &mut Explanation,
) {
    let client = match sender.client() {
        Ok(client) => client,
        Err(reply) => return explanation.answer = answered(&reply),
    };
    let stripped = match engine.stripped(sender, &question.headers) {
        Ok(stripped) => stripped,
        Err(reply) => return explanation.answer = answered(&reply),
    };
    let mut headers = question.headers.clone();
    let claims: Names = field_names::claims(&question.headers).collect();
    for name in stripped.not_forwarded.iter().chain(&stripped.dropped) {
        let why = match () {
            () if stripped.dropped.contains(name) => "servers may take its name for another field",
            () if engine.is_own_statement(name) => "only the gateway says who the consumer is",
            () if engine.is_about_a_certificate(name) => {
                "only a trusted proxy may say it, if from_proxy = true"
            }
            () if (claims.contains(name) || engine.names_the_client(name)) && !sender.peer_is_trusted() => {
                "only a trusted proxy may say it"
            }
            () => "Connection names it",
        };
        if headers.remove(name).is_some() {
            explanation.dropped.push(Dropped { name: name.to_string(), why });
        }
    }
    let facts = Facts {
        client,
        method: &question.method,
        version: Version::HTTP_11,
        tls: question.tls,
        target: question.target.as_bytes(),
        headers: &headers,
        certificate: None,
    };
    if let Err(reply) = engine.encrypted(&facts) {
        return explanation.answer = answered(&reply);
    }
    let located = engine.locate(&facts);
    let taken = located.as_ref().ok().map(Located::route_index);
    let (config, slash) = (engine.config(), engine.has_encoded_slash(&facts));
    (explanation.near_misses, explanation.more_near_misses) =
        near::misses(config, &engine.agreements(&facts), taken, question.method.as_str(), slash);
    let located = match located {
        Ok(located) => located,
        Err(reply) => return explanation.answer = answered(&reply),
    };
    explanation.route = Some(route::explained(located.route(), &headers));
    let Foreseen { consumer, gate, limits, refusal, course, split_key, server_key } =
        engine.foresee(&located, &facts, now, plainly).await;
    explanation.caller = caller(engine, located.route(), consumer.as_deref(), gate);
    explanation.limits = limits
        .iter()
        .map(|foreseen| {
            let rule = engine.limiter().limits()[foreseen.limit].rule();
            limits::explained(rule, foreseen, plainly, engine.store().is_some())
        })
        .collect();
    match &course {
        Course::Forward(forward) => {
            let upstream = route::upstream(config, forward, split_key.as_deref(), server_key.as_deref());
            explanation.answer = Answer {
                kind: "forwarded",
                status: None,
                summary: format!("forwarded to the upstream {:?}", upstream.name),
                fields: Vec::new(),
            };
            explanation.upstream = Some(upstream);
            let sent = head::sent(
                question,
                headers.clone(),
                (sender, consumer.as_deref()),
                forward,
                located.route(),
                engine,
                plainly,
            );
            explanation.sent = Some(sent);
        }
        Course::Answer(reply) => {
            explanation.answer = answered(reply);
            let cors = located.route().cors.as_ref();
            if let (true, Some(cors)) = (reply.is_permission(), cors) {
                let fields = cors.permission(headers.get(header::ORIGIN));
                explanation.answer.summary = match fields.is_empty() {
                    true => "204 No Content, without the permission that the browser asks for; limits do not count it".to_owned(),
                    false => "204 No Content, with the permission that the browser asks for; limits do not count it".to_owned(),
                };
                explanation
                    .answer
                    .fields
                    .extend(fields.iter().map(|(name, value)| field(name.as_str(), value)));
            }
        }
    }
    if let Some(refusal) = refusal {
        explanation.answer = answered(&refusal);
    }
}

/// Whether the head is one that the gateway reads.
///
/// # Errors
/// The answer to a head that is too large.
fn readable(config: &Config, question: &Question) -> Result<(), Reply> {
    let (status, detail) = if question.head_size() > config.server.max_header_size {
        let detail = "the request head is larger than this server reads (server.max_header_size)";
        (StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, detail)
    } else if question.target.len() > MAX_TARGET {
        (StatusCode::URI_TOO_LONG, "the request target is longer than this server reads")
    } else {
        return Ok(());
    };
    Err(Reply::problem(status, detail))
}

fn request(engine: &Engine, question: &Question) -> Request {
    let host = question.headers.get(header::HOST).map(HeaderValue::as_bytes).unwrap_or_default();
    Request {
        method: question.method.to_string(),
        scheme: if question.tls { "https" } else { "http" },
        host: String::from_utf8_lossy(host).into_owned(),
        target: engine.shown_target(&question.target).into_owned(),
        from: question.peer.ip().to_string(),
    }
}

fn answered(reply: &Reply) -> Answer {
    let status = reply.status();
    let mut summary = status.to_string();
    if !reply.detail().is_empty() {
        summary = format!("{summary}: {}", reply.detail());
    }
    if let Some((content_type, body)) = reply.body(None).filter(|_| reply.is_configured()) {
        let content_type = String::from_utf8_lossy(content_type.as_bytes()).into_owned();
        if !body.is_empty() {
            summary = format!("{summary}, with {} bytes of {content_type}", body.len());
        }
    }
    Answer {
        kind: if reply.is_configured() || reply.is_permission() { "configured" } else { "refused" },
        status: Some(status.as_u16()),
        summary,
        fields: reply.fields().iter().map(|(name, value)| field(name, value)).collect(),
    }
}

fn field(name: &str, value: &HeaderValue) -> Field {
    Field { name: name.to_owned(), value: String::from_utf8_lossy(value.as_bytes()).into_owned() }
}

/// Who has proved to be calling, and whether the route lets the caller in.
fn caller(engine: &Engine, route: &Route, consumer: Option<&Consumer>, gate: Option<&str>) -> Option<Caller> {
    let ways = &route.access.ways;
    if ways.is_empty() && gate.is_none() {
        return None;
    }
    let plan = consumer.and_then(Consumer::plan).map(|plan| engine.config().plans[plan].clone());
    let mut why = Vec::new();
    if !ways.is_empty() {
        why.push(match (consumer, route.access.lets_strangers_in) {
            (Some(_), _) => "it has credentials of this consumer".to_owned(),
            (None, _) if ways.contains(&Way::Forward) => {
                "the service in [auth.forward] would say who is asking; nobody asks it here".to_owned()
            }
            (None, true) => "the route lets in callers without credentials".to_owned(),
            (None, false) => "the route wants credentials".to_owned(),
        });
    }
    why.extend(gate.map(str::to_owned));
    Some(Caller { consumer: consumer.map(|consumer| consumer.name().to_owned()), plan, why })
}

/// Which client the request is attributed to, and why.
fn client(engine: &Engine, question: &Question, sender: &Sender) -> Client {
    let (peer, headers) = (question.peer.ip().to_canonical(), &question.headers);
    let statements = engine.statements(headers);
    let names =
        || statements.iter().map(|statement| statement.field.as_str()).collect::<Vec<_>>().join(" and ");
    let mut why = Vec::new();
    match (sender.peer_is_trusted(), statements.is_empty()) {
        (false, true) => why.push("it is the peer".to_owned()),
        (false, false) => why.push(format!(
            "it is the peer: {peer} is no trusted proxy (server.trusted_proxies), so its {} is not believed",
            names()
        )),
        (true, true) => why.push(format!("it is the peer: {peer} is a trusted proxy, and names no client")),
        (true, false) => why.push(format!("the peer {peer} is a trusted proxy")),
    }
    for statement in statements.iter().filter(|_| sender.peer_is_trusted()) {
        let field = &statement.field;
        why.push(match statement.taken {
            None => format!("{field} names nobody"),
            Some(at) => {
                let skipped = &statement.entries[at + 1..];
                let taken = &statement.entries[at];
                match skipped {
                    [] => format!("{field}: the last entry, {taken}"),
                    _ => format!("{field}: {taken}, behind the trusted proxies {}", skipped.join(", ")),
                }
            }
        });
    }
    if let Err(reply) = sender.client() {
        why.push(format!("{}, so the client itself may have written it", reply.detail()));
    }
    Client {
        identity: sender.client().ok().map(ToString::to_string),
        peer_is_trusted: sender.peer_is_trusted(),
        why,
    }
}
