"""What passes the gateway and should not, or is shown by it."""

import json
import os
import random
import re
import stat
import time

import lab
import wire


def ends_of_messages(table):
    """What an upstream receives for each way in which a body can end."""
    received = []

    def over_http1(connection):
        data = wire.read(connection, 5, lambda data: b"\r\n\r\n" in data)
        # Whatever comes after the end comes at once.
        received.append(data + wire.read(connection, 0.4))
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")

    def over_http2(connection):
        connection.sendall(wire.frame(wire.SETTINGS, 0, 0))
        data = wire.read(connection, 0.6)[len(wire.PREFACE) :]
        named = {wire.DATA: "DATA", wire.HEADERS: "HEADERS", wire.RST_STREAM: "RST_STREAM"}
        received.append(
            " ".join(
                f"{named[kind]}{f'({len(payload)})' if kind == wire.DATA else ''}"
                + ("+END_STREAM" if flags & wire.END_STREAM and kind != wire.RST_STREAM else "")
                for kind, flags, stream, payload in wire.frames(data)[0]
                if stream and kind in named
            )
        )

    hello = wire.frame(wire.DATA, 0, 1, b"hello")
    trailers = wire.frame(wire.HEADERS, wire.END_HEADERS | wire.END_STREAM, 1, wire.literal("x-sum", "1"))
    http2 = {
        "data last": wire.frame(wire.DATA, wire.END_STREAM, 1, b"hello"),
        "empty last": hello + wire.frame(wire.DATA, wire.END_STREAM, 1),
        "pieces, empty last": hello + hello + wire.frame(wire.DATA, wire.END_STREAM, 1),
        "nothing but an empty one": wire.frame(wire.DATA, wire.END_STREAM, 1),
        "trailers": hello + trailers,
        "reset": hello,
    }
    head = b"POST /a HTTP/1.1\r\nHost: a\r\n"
    http1 = {
        "length": head + b"Content-Length: 5\r\n\r\nhello",
        "chunked": head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        "chunked, trailers": head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n",
        "reset": head + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    }

    def from_http2(port, way, rest):
        client = wire.Http2(port)
        client.request("POST", "/a", end=False)
        for piece in wire.frames(rest)[0]:
            client.send(wire.frame(piece[0], piece[1], piece[2], piece[3]))
            time.sleep(0.03)
        if way == "reset":
            client.cancel(1)
        client.read(2, lambda: client.over(1))
        client.close()

    def from_http1(port, way, text):
        with wire.connect(port) as client:
            client.sendall(text)
            if way == "reset":
                time.sleep(0.1)
                wire.reset(client)
            else:
                wire.read(client, 2, wire.whole)

    for version, serve, upstream in [("1.1", over_http1, "retries = 0"), ("2", over_http2, "retries = 0\nhttp2 = true")]:
        gateway = lab.Gateway(lab.to(wire.Server(serve).port, upstream))
        for of, ways, send in [("2", http2, from_http2), ("1.1", http1, from_http1)]:
            for way, text in ways.items():
                received.clear()
                send(gateway.port, way, text)
                lab.eventually(lambda: received, 2)
                time.sleep(0.1)
                got = received[0] if received else ""
                if version == "1.1":
                    body = got.partition(b"\r\n\r\n")[2] if got else b""
                    chunked = re.search(rb"(?i)\ntransfer-encoding: *chunked", got or b"")
                    ends = [b"0\r\n\r\n", b"0\r\nx-sum: 1\r\n\r\n"]
                    whole = chunked and any(body.lower().endswith(end) for end in ends) and body.count(b"0\r\n") == 1
                    ok = not whole if way == "reset" else whole or (not chunked and body in (b"", b"hello"))
                    shown = body.decode().encode("unicode_escape").decode() if got else "nothing"
                else:
                    ok = (got.count("END_STREAM") == (way != "reset")) or (way == "reset" and not got)
                    shown = got or "nothing"
                wanted = "no end" if way == "reset" else "one end"
                table.row(f"HTTP/{of} client, HTTP/{version} upstream, {way}: the body there", shown, wanted, bool(ok))


LIMIT = '[limits.by_key]\nrate = "1/h"\nkey = "{key}"\n{more}'
BY_KEY = 'limits = ["by_key"]'


def padded_keys(table):
    """One key in many clothes."""
    mock = lab.Mock()
    limit = LIMIT.format(key="header:X-Api-Key", more="")
    gateway = lab.Gateway(lab.to(mock.port, route=BY_KEY, more=limit))
    dice = random.Random(1)
    statuses = []
    for _ in range(25):
        client = wire.Http2(gateway.port)
        for _ in range(20):
            padding = "".join(dice.choices(" \t", k=dice.randint(12, 20)))
            statuses.append(client.answer("GET", "/echo", [("x-api-key", padding + "k1")], 2))
        client.close()
    passed = statuses.count(200)
    table.row("500 HTTP/2 requests with one padded key under 1/h: answered 200", passed, "at most 1", passed <= 1)
    table.row("buckets after that", int(gateway.metric("gateway_limiter_clients")), "at most 1",
              gateway.metric("gateway_limiter_clients") <= 1)

    gateway = lab.Gateway(lab.to(mock.port, route=BY_KEY, more=limit))
    unseen = 0
    for key in range(10):
        answer = wire.get(gateway.port, "/echo", b"Connection: x-api-key\r\nX-Api-Key: c%d\r\n" % key)
        unseen += wire.status(answer) == 200 and b'"x-api-key"' not in answer
    # A key that the upstream does not get is not counted by: all of these share the bucket of those without one.
    table.row("10 × `Connection: X-Api-Key`, 10 keys: 200, and the upstream sees none", unseen, "at most 1", unseen <= 1)

    gateway = lab.Gateway(lab.to(mock.port, route=BY_KEY, more=LIMIT.format(key="cookie:sid", more="")))
    cookies = [b"sid=zz", b"sid= zz", b'sid="zz"', b"sid=zz ", b"sid=\tzz"]
    passed = [wire.status(wire.get(gateway.port, "/echo", b"Cookie: " + cookie + b"\r\n")) for cookie in cookies].count(200)
    table.row("5 spellings of one cookie under 1/h: answered 200", passed, "1", passed <= 1)

    reject = LIMIT.format(key="header:X-Api-Key", more='missing_key = "reject"\n')
    gateway = lab.Gateway(lab.to(mock.port, route=BY_KEY, more=reject))
    got = wire.Http2(gateway.port).answer("GET", "/echo", [("x-api-key", " ")])
    table.row('HTTP/2, a key of one space, missing_key = "reject"', got or "reset", "400 or a reset", got != 200)


def field_names(table):
    """Fields whose names a server folds into one that the gateway writes."""
    mock = lab.Mock()
    route = 'request_headers = { set = { X-Env = "true" }, remove = ["X-Debug"] }'
    gateway = lab.Gateway(lab.to(mock.port, route=route))
    names = ["X_Forwarded_For", "X.Forwarded.For", "X-Forwarded_For", "X_Real_IP", "X_Request_Id", "X_Env", "X_Debug", "Proxy"]

    def passed(text):
        return [name for name in names if f'"{name.lower()}","6.6.6.6"' in text.replace(" ", "")]

    fields = "".join(f"{name}: 6.6.6.6\r\n" for name in names).encode()
    got = passed(wire.get(gateway.port, "/echo", fields).decode())
    table.row("HTTP/1: names that reach the upstream", ", ".join(got) or "none", "none", not got)
    client = wire.Http2(gateway.port)
    client.answer("GET", "/echo", [(name.lower(), "6.6.6.6") for name in names])
    got = passed(client.data.get(1, b"").decode())
    table.row("HTTP/2: names that reach the upstream", ", ".join(got) or "none", "none", not got)


def spoilt_identity(table):
    """A client whose address is told in two ways."""
    limit = '[limits.by_client]\nrate = "1/h"\nexempt = ["127.0.0.0/8"]\n'
    route = 'limits = ["by_client"]'
    gateway = lab.Gateway(lab.to(lab.Mock().port, route=route, more=limit), server='trusted_proxies = ["127.0.0.1"]')

    def passed(fields):
        return [wire.status(wire.get(gateway.port, "/users", fields)) for _ in range(10)].count(200)

    alone = passed(b"X-Forwarded-For: 203.0.113.9\r\n")
    table.row("10 × X-Forwarded-For under 1/h: answered 200", alone, 1, alone == 1)
    both = passed(b"X-Forwarded-For: 203.0.113.8\r\nForwarded: for=1.2.3.4\r\n")
    table.row("with another address in Forwarded beside it", both, "at most 1", both <= 1)
    broken = passed(b"Forwarded: for\r\n")
    table.row("with a Forwarded that names nobody", broken, "at most 1", broken <= 1)


def secrets(table):
    """What is told to whoever reaches the side port."""
    folder = lab.folder()
    log = folder / "access.log"
    old = os.umask(0)
    gateway = lab.Gateway(lab.to(1), admin='token = "${ADMIN_TOKEN:-hunter2}"', access_log=f'path = "{log}"')
    os.umask(old)
    shown = "hunter2" in gateway.side_port("/config")
    table.row("/config shows the default of the token", "yes" if shown else "no", "no", not shown)
    mode = stat.S_IMODE(log.stat().st_mode)
    table.row("mode of the access log, umask 0", f"{mode:04o}", "0640", mode == 0o640)
    text = gateway.config.read_text()
    gateway.config.chmod(0o666)
    done = os.popen(f"{lab.GATEWAY} check --config {gateway.config} 2>&1").read()
    warned = "writ" in done.lower() and "warn" in done.lower()
    table.row("check warns of a config that all may write", "yes" if warned else "no", "yes", warned)
    said = lab.check(text.replace("[admin]", "[admin]\ntoken2 = 1"))[0]
    table.row("check shows the token beside a mistake", "yes" if "hunter2" in said else "no", "no", "hunter2" not in said)
    token = b"POST /reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer hunter2\r\nContent-Length: 0\r\n\r\n"
    wire.exchange(gateway.side, token, source="127.0.0.9")
    guess = b"POST /reload HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %d\r\nContent-Length: 0\r\n\r\n"
    answers, until = {}, time.monotonic() + 2
    while time.monotonic() < until:
        with wire.connect(gateway.side) as client:
            for number in range(200):
                client.sendall(guess % number)
                got = wire.status(wire.read(client, 2, wire.whole))
                answers[got] = answers.get(got, 0) + 1
                if not got or time.monotonic() > until:
                    break
    compared = sum(count for code, count in answers.items() if code in (401, 403))
    table.row("guesses of the token that are compared, a second", compared // 2, "at most 50", compared // 2 <= 50)
    after = wire.status(wire.exchange(gateway.side, token, source="127.0.0.9"))
    table.row("the right token then, from an address that has shown it before", after, "200 or 422", after in (200, 422))


def named_costs(table):
    """An upstream that names a price."""

    def serve(connection):
        while data := wire.read(connection, 10, lambda data: b"\r\n\r\n" in data):
            costs = json.loads("[" + data.split(b" ")[1].decode().strip("/") + "]")
            fields = "".join(f"X-Request-Cost: {cost}\r\n" for cost in costs)
            connection.sendall(f"HTTP/1.1 200 OK\r\n{fields}Content-Length: 0\r\n\r\n".encode())

    server = wire.Server(serve)
    limit = '[limits.by_client]\nrate = "10/s"\nburst = 20\ncost_header = "X-Request-Cost"\n'
    for costs, bound in [("4294967295", 60), ("4294967296", 60), ("-1", 60), ("15,1", 60)]:
        gateway = lab.Gateway(lab.to(server.port, route='limits = ["by_client"]', more=limit))
        wire.get(gateway.port, f"/{costs}")
        answer = wire.get(gateway.port, "/1")
        wait = re.search(rb"(?i)retry-after: (\d+)", answer)
        left = re.search(rb'(?i)\r\nratelimit: [^\r]*?r=(\d+)', answer)
        shown = f"Retry-After {wait[1].decode()}" if wait else f"{left[1].decode() if left else '?'} of 20 tokens left"
        ok = not wait or int(wait[1]) <= bound * 60
        logged = "cost" in gateway.log.read_text().lower()
        if costs != "4294967295":
            ok = logged
        table.row(f"after X-Request-Cost {costs}", shown + (", logged" if logged else ", not logged"), "bounded, and logged", ok)
