"""Requests whose client has left, and bodies that nobody takes."""

import struct
import time

import lab
import wire


def rapid_reset(port, seconds):
    """One connection: 100 requests, 2 ms, and all taken back, again and again. How many were begun."""
    request, begun, until = wire.block("GET", "/slow"), 0, time.monotonic() + seconds
    while time.monotonic() < until:
        client = wire.Http2(port)
        stream = 1
        try:
            while time.monotonic() < until and not client.closed:
                streams = range(stream, stream + 200, 2)
                both = wire.END_HEADERS | wire.END_STREAM
                client.send(b"".join(wire.frame(wire.HEADERS, both, one, request) for one in streams))
                time.sleep(0.002)
                cancel = struct.pack(">I", wire.CANCEL)
                client.send(b"".join(wire.frame(wire.RST_STREAM, 0, one, cancel) for one in streams))
                stream += 200
                begun += 100
                client.read(0)
        except OSError:
            pass
        client.close()
        time.sleep(0.001)
    return begun


def connect_get_reset(port, seconds, rate=5000):
    """A connection, a request, a reset, and the next."""
    done = 0
    for done in lab.paced(seconds, rate):
        try:
            client = wire.connect(port, timeout=1)
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
            wire.reset(client)
        except OSError:
            time.sleep(0.001)
    return done


def newcomers(port, seconds, pause=0.02):
    """How long each of those who come meanwhile waits for an answer; 5 s if there is none."""
    waits, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        began = time.monotonic()
        good = wire.status(wire.get(port, "/health")) == 200
        waits.append(time.monotonic() - began if good else 5)
        time.sleep(pause)
    return waits


def abandoned_requests(table):
    """Requests that are taken back while the gateway connects, or waits for an answer."""
    port, held = wire.full_backlog()
    for attackers, seconds in [(1, 20), (4, 8)]:
        gateway = lab.Gateway(lab.to(port))
        before = gateway.memory()
        watcher = lab.Watcher(gateway)
        attacks = [lab.beside(rapid_reset, gateway.port, seconds) for _ in range(attackers)]
        others = lab.beside(newcomers, gateway.port, seconds)
        watcher.until(lambda: all(attack.ended() for attack in attacks))
        begun = sum(attack.result() for attack in attacks)
        waits = others.result()
        p99 = lab.percentile(waits, 0.99)
        name = f"HTTP/2 {{100 HEADERS, 2 ms, 100 RST}}, a full backlog, {seconds} s, {attackers} at a time"
        most = attackers * 128 * 2
        table.row(f"{name}: requests begun", begun)
        table.row(f"{name}: most in flight", watcher.in_flight, f"at most {most}", watcher.in_flight <= most)
        table.row(f"{name}: most descriptors", watcher.descriptors, "at most 2000", watcher.descriptors <= 2000)
        grown = (watcher.memory - before) >> 20
        table.row(f"{name}: memory grows by MB", grown, "at most 64", grown <= 64)
        table.row(f"{name}: p99 of new connections, ms", f"{p99 * 1000:.0f}", "at most 100", p99 <= 0.1)
        gateway.process.kill()

    gateway = lab.Gateway(lab.to(port))
    watcher = lab.Watcher(gateway)
    attacks = [lab.beside(connect_get_reset, gateway.port, 6, 2500) for _ in range(2)]
    watcher.until(lambda: all(attack.ended() for attack in attacks))
    done = sum(attack.result() for attack in attacks)
    name = "HTTP/1 connect, GET, RST, a full backlog, 6 s"
    table.row(f"{name}: connections a second", done // 6)
    table.row(f"{name}: most in flight", watcher.in_flight, "at most 1000", watcher.in_flight <= 1000)
    table.row(f"{name}: most descriptors", watcher.descriptors, "at most 2000", watcher.descriptors <= 2000)
    gateway.process.kill()
    del held

    mock = lab.Mock()
    for extra in [b"", b"x"]:
        gateway = lab.Gateway(lab.to(mock.port))
        for _ in range(3000):
            client = wire.connect(gateway.port)
            client.sendall(b"GET /users?delay=15s HTTP/1.1\r\nHost: a\r\n\r\n" + extra)
            wire.reset(client)
        time.sleep(4)
        left = gateway.in_flight()
        name = "GET, one byte more, RST" if extra else "GET, RST"
        table.row(f"3,000 × {name}, on a slow route: in flight 4 s later", left, 0, left == 0)
        gateway.process.kill()


def no_window(connection):
    """An HTTP/2 server that takes no body."""
    connection.sendall(wire.frame(wire.SETTINGS, 0, 0, struct.pack(">HI", 4, 0)))
    left = b""
    while data := connection.recv(1 << 16):
        left = (left + data).removeprefix(wire.PREFACE)
        found, left = wire.frames(left)
        for kind, flags, _, payload in found:
            if kind == wire.SETTINGS and not flags & wire.ACK:
                connection.sendall(wire.frame(wire.SETTINGS, wire.ACK, 0))
            if kind == wire.PING and not flags & wire.ACK:
                connection.sendall(wire.frame(wire.PING, wire.ACK, 0, payload))


def reads_nothing(connection):
    time.sleep(60)


def blocked_bodies(table):
    """Upstreams that take nothing of a body."""
    timeouts = 'response_timeout = "1s"\nread_timeout = "8s"\nretries = 0\n'
    size = 9 << 20
    head = f"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: {size}\r\n\r\n".encode()
    for version, serve, upstream in [("2", no_window, "http2 = true\n"), ("1.1", reads_nothing, "")]:
        server = wire.Server(serve)
        gateway = lab.Gateway(lab.to(server.port, upstream + timeouts, 'limits = ["slots"]',
                                     "[limits.slots]\nmax_in_flight = 100\n"))
        client, began = wire.Http2(gateway.port), time.monotonic()
        client.read(0.1)
        stream = client.request("POST", "/a", end=False)
        client.upload(stream, size, 10)
        client.read(10 - (time.monotonic() - began), lambda: client.over(stream))
        took = time.monotonic() - began
        name = f"HTTP/{version} upstream that takes no body, HTTP/2 client"
        shown = f"{client.statuses.get(stream, 'no answer')} after {took:.1f} s"
        table.row(f"{name}: the answer", shown, "504 after 1 s", client.statuses.get(stream) == 504 and took < 3)
        client.close()

        began = time.monotonic()
        with wire.connect(gateway.port) as client:
            client.setblocking(False)
            sent, answer = head, b""
            body = bytes(1 << 16)
            while time.monotonic() - began < 10 and not wire.whole(answer):
                try:
                    client.send(sent or body)
                    sent = b""
                except BlockingIOError:
                    time.sleep(0.01)
                except OSError:
                    break
                try:
                    answer += client.recv(1 << 16)
                except BlockingIOError:
                    pass
                except OSError:
                    break
        took = time.monotonic() - began
        shown = f"{wire.status(answer) or 'no answer'} after {took:.1f} s"
        name = f"HTTP/{version} upstream that takes no body, HTTP/1 client"
        table.row(f"{name}: the answer", shown, "504 after 1 s", wire.status(answer) == 504 and took < 3)

        # Clients that leave before they could be answered.
        slow = timeouts.replace("1s", "20s").replace("8s", "20s")
        gateway = lab.Gateway(lab.to(server.port, upstream + slow))
        client = wire.Http2(gateway.port)
        client.read(0.1)
        for _ in range(5):
            stream = client.request("POST", "/a", end=False)
            client.upload(stream, size, 0.3)
            client.cancel(stream)
        client.read(1.5)
        left = gateway.in_flight()
        table.row(f"HTTP/{version} upstream, 5 HTTP/2 streams reset: in flight 1.5 s later", left, 0, left == 0)
        window = client.window[0]
        table.row(f"HTTP/{version} upstream, after that: window of the client's connection", window, "more than 0", window > 0)
        client.close()
        for _ in range(5):
            client = wire.connect(gateway.port)
            client.setblocking(False)
            client.send(head)
            for _ in range(100):
                try:
                    client.send(bytes(1 << 16))
                except OSError:
                    time.sleep(0.003)
            wire.reset(client)
        time.sleep(1.5)
        left = gateway.in_flight()
        table.row(f"HTTP/{version} upstream, 5 HTTP/1 clients reset: in flight 1.5 s later", left, 0, left == 0)
        gateway.process.kill()


def lingering_sockets(table):
    """Bodies for a route that does not exist."""
    route = '[[routes]]\nname = "a"\npath = "/a"\nrespond = { status = 200 }\n'
    gateway = lab.Gateway(route, server="max_connections_per_client = 2")
    before, refused, held = gateway.descriptors(), 0, []
    for _ in range(200):
        try:
            client = wire.connect(gateway.port)
            client.sendall(b"POST /nothing HTTP/1.1\r\nHost: a\r\nContent-Length: 9000000\r\n\r\n")
            refused += wire.status(wire.read(client, 2, wire.whole)) == 0
            held.append(client)
        except OSError:
            refused += 1
    descriptors, counted = gateway.descriptors() - before, gateway.connections()
    table.row("200 × POST with a body to come, 404: descriptors held", descriptors, "at most 10", descriptors <= 10)
    table.row("gateway_connections then", counted, "as many", abs(counted - descriptors) <= 5)
    table.row("refused by max_connections_per_client = 2", refused, "about 198", refused >= 150)
