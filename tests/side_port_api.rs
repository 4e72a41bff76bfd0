//! The side port as it describes itself.

use std::collections::BTreeSet;
use std::fs;

use serde_json::Value;

use crate::support::forwarding;
use crate::support::gateway::Gateway;
use crate::support::http::{Connection, Response, request};

fn call(gateway: &Gateway, method: &str, path: &str) -> Response {
    let mut connection = Connection::open(gateway.admin());
    connection.send(request(method, path, &[], ""));
    match method {
        "HEAD" => connection.response_head(),
        _ => connection.response(),
    }
}

/// Method, path and description of every call.
fn operations(api: &Value) -> Vec<(String, String, Value)> {
    let paths = api["paths"].as_object().unwrap().iter();
    let operation = |path: &str, (method, operation): (&String, &Value)| {
        (method.to_uppercase(), path.to_owned(), operation.clone())
    };
    paths.flat_map(|(path, item)| item.as_object().unwrap().iter().map(|it| operation(path, it))).collect()
}

#[test]
fn every_call_that_is_documented_is_described_and_no_other() {
    let (gateway, _backend) = forwarding("");
    let api = gateway.admin_get("/openapi.json").json();
    let described: BTreeSet<_> =
        operations(&api).into_iter().map(|(method, path, _)| format!("{method} {path}")).collect();
    let docs = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations.md")).unwrap();
    let section = docs.split_once("## The side port\n").unwrap().1.split_once("\n## ").unwrap().0;
    let documented: BTreeSet<_> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(call, _)| if call.starts_with('/') { format!("GET {call}") } else { call.to_owned() })
        .collect();
    assert_eq!(described, documented);
}

#[test]
fn every_call_that_is_described_is_answered_as_described() {
    let (gateway, _backend) = forwarding("[limits.l]\nrate = \"1/h\"\n---\n---\nlimits = [\"l\"]");
    let api = gateway.admin_get("/openapi.json").json();
    for (method, path, operation) in operations(&api) {
        if operation["responses"]["200"]["content"].get("text/event-stream").is_some() {
            // It has no end.
            continue;
        }
        let target = path.replace("{limit}", "l").replace("{key}", "127.0.0.1");
        let answer = call(&gateway, &method, &target);
        let described = &operation["responses"][answer.status.to_string()];
        assert!(described.is_object(), "{method} {target}: {answer:?}");
        if let Some(kinds) = described.get("content") {
            let kind = answer.header("content-type").unwrap();
            let kind = kind.split(';').next().unwrap();
            assert!(kinds.get(kind).is_some(), "{method} {target}: {kind} is not among {kinds}");
            if kind == "application/json" {
                fits(&api, &kinds[kind]["schema"], &answer.json(), &target);
            }
        }
        assert_eq!(call(&gateway, "PATCH", &target).status, 405, "{target}");
    }
}

/// Checks that a value has all that its schema says, and nothing else.
fn fits(api: &Value, schema: &Value, value: &Value, place: &str) {
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.strip_prefix("#/components/schemas/").unwrap();
        let schema = &api["components"]["schemas"][name];
        assert!(schema.is_object(), "there is no schema {name}");
        return fits(api, schema, value, place);
    }
    if let Some(items) = schema.get("items") {
        return value.as_array().unwrap().iter().for_each(|value| fits(api, items, value, place));
    }
    let (Some(properties), Some(fields)) = (schema["properties"].as_object(), value.as_object()) else {
        return;
    };
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(fields.contains_key(required.as_str().unwrap()), "{place} has no {required}: {value}");
    }
    for (name, value) in fields {
        let schema = properties.get(name).unwrap_or_else(|| panic!("{place}: {name} is not described"));
        fits(api, schema, value, &format!("{place} {name}"));
    }
}

#[test]
fn the_description_is_whole() {
    let (gateway, _backend) = forwarding("");
    let api = gateway.admin_get("/openapi.json").json();
    assert_eq!(api["openapi"], "3.1.0");
    assert_eq!(api["components"]["securitySchemes"]["token"]["scheme"], "bearer");
    let mut names = BTreeSet::new();
    for (method, path, operation) in operations(&api) {
        let name = operation["operationId"].as_str().unwrap().to_owned();
        assert!(names.insert(name), "{path}: two calls have this name");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{path}");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let text = response["description"].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{method} {path} {status} has no description");
        }
        let changes = method != "GET";
        assert_eq!(operation.get("security").is_some(), changes, "{method} {path}");
        assert!(!path.contains('*'), "{path}");
    }
}

#[test]
fn the_page_of_the_api_needs_nothing_but_its_own_origin() {
    let (gateway, _backend) = forwarding("");
    let moved = gateway.admin_get("/docs");
    assert_eq!((moved.status, moved.header("location")), (303, Some("docs/")));
    let page = gateway.admin_get("/docs/");
    assert_eq!(page.status, 200);
    assert!(page.text().contains("<a href=\"../\">"), "there is a way back to the live page");
    assert!(
        page.header("content-security-policy").unwrap().contains("default-src 'none'; script-src 'self';")
    );
    for file in ["swagger-ui-bundle.js", "swagger-ui-standalone-preset.js", "swagger-ui.css", "index.css"] {
        assert_eq!(gateway.admin_get(&format!("/docs/{file}")).status, 200, "{file}");
    }
    let config = gateway.admin_get("/docs/swagger-initializer.js").text();
    assert!(config.contains("\"url\": \"../openapi.json\""), "{config}");
    assert!(config.contains("\"validatorUrl\": \"none\""), "{config}");
    assert_eq!(gateway.admin_get("/docs/..%2f..%2fetc/passwd").status, 404);
}
