"""Asks a proxy for one answer before it is timed, and checks it: who answers wrongly is not fast."""

import json
import urllib.request

import programs


def check(proxy):
    """True, or a failure unless the proxy answers as the case says. A quota of one request is used up afterwards."""
    case = proxy.case
    if case.status != 200:
        _ask(proxy)
    status, version, body = _ask(proxy)
    if (status, version) != (case.status, "2" if case.http2 else "1.1"):
        raise programs.Failure(f"{proxy.name} answers {case.name} with {status} over HTTP/{version}")
    if case.status == 200 and body != b"x" * case.size:
        raise programs.Failure(f"{proxy.name} answers {case.name} with another body: {len(body)} bytes, {body[:100]}")
    with urllib.request.urlopen(f"http://127.0.0.1:{proxy.ports['ADMIN']}/metrics", timeout=10) as metrics:
        if not metrics.read():
            raise programs.Failure(f"{proxy.name} has no metrics")
    return True


def _ask(proxy):
    case = proxy.case
    body = proxy.folder / "body"
    protocol = "--http2-prior-knowledge" if case.http2 else "--http1.1"
    arguments = ["curl", "-sk", "--noproxy", "*", "--max-time", "10", protocol, "-H", "X-Client: 0", "-o", body]
    arguments += ["-w", '[%{http_code}, "%{http_version}"]', proxy.url + case.first_path]
    written = programs.run("curl", arguments, {programs.cores()[1]}, proxy.folder / "curl", 20)
    return *json.loads(written), body.read_bytes()
