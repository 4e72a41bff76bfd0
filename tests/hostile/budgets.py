"""What one client uses up for all: descriptors, and what a shared connection forgives."""

import contextlib
import threading
import time

import lab
import wire


def ask(client, statuses):
    """Sends a request on an open connection, or on one of its own, which a client also tries when the open one turns out to be closed."""
    request = b"GET /users?delay=500ms HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    status = 0
    if client:
        with contextlib.suppress(OSError), client:
            client.sendall(request)
            status = wire.status(wire.read(client, 4, wire.whole))
    statuses.append(status or wire.status(wire.exchange(PORT[0], request, 4)))


# Where the gateway of this item listens.
PORT = [0]


def few_descriptors(table):
    """200 descriptors, 400 idle connections, 60 requests, two healthy servers."""
    mocks = [lab.Mock(), lab.Mock()]
    servers = ", ".join(f'"127.0.0.1:{mock.port}"' for mock in mocks)
    routes = (
        f'[upstreams.main]\nservers = [{servers}]\n[upstreams.main.outlier]\nconsecutive_failures = 5\n'
        '[[routes]]\nname = "all"\npath = "/*"\nupstream = "main"\n'
    )
    for name, early in [("60 who are connected before", True), ("60 who connect after", False)]:
        gateway = lab.Gateway(routes, nofile=200)
        PORT[0] = gateway.port
        clients = [wire.connect(gateway.port) if early else None for _ in range(60)]
        idle = []
        for _ in range(400):
            try:
                idle.append(wire.connect(gateway.port, "127.0.0.2", timeout=0.5))
            except OSError:
                pass
        time.sleep(0.5)
        statuses = []
        threads = [threading.Thread(target=ask, args=(client, statuses)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        told = ", ".join(f"{statuses.count(status)} × {status or 'none'}" for status in sorted(set(statuses)))
        name = f"200 descriptors, 400 idle connections, {name}"
        table.row(f"{name}: answers", told, "60 × 200", statuses.count(200) == 60)
        for client in idle:
            client.close()
        time.sleep(0.3)
        up = int(gateway.metric("gateway_upstream_server_up"))
        table.row(f"{name}: servers in use then", up, 2, up == 2)
        blamed = int(gateway.metric("gateway_upstream_errors_total", kind="bad_response"))
        table.row(f"{name}: errors of kind bad_response", blamed, 0, blamed == 0)
        after = [wire.status(wire.get(gateway.port, "/users", seconds=3)) for _ in range(20)].count(200)
        table.row(f"{name}: the idle ones gone, of 20 requests answered 200", after, 20, after == 20)
        logged = gateway.log.read_text().count("\n")
        table.row(f"{name}: lines in the log", logged, "at most 60", logged <= 60)
        gateway.process.kill()


def aborted_download(port, seconds, rate):
    done = 0
    for done in lab.paced(seconds, rate):
        try:
            client = wire.connect(port, timeout=1)
            client.sendall(b"GET /bytes/1000000 HTTP/1.1\r\nHost: a\r\n\r\n")
            client.recv(1 << 14)
            wire.reset(client)
        except OSError:
            pass
    return done


def short_upload(port, seconds, rate):
    done = 0
    for done in lab.paced(seconds, rate):
        try:
            client = wire.connect(port, timeout=1)
            client.sendall(b"POST /users HTTP/1.1\r\nHost: a\r\nContent-Length: 50\r\n\r\nab")
            client.close()
        except OSError:
            pass
    return done


def innocents(port, seconds):
    """Those who meanwhile ask for a second's stream: how many, and how many do not get it whole."""
    results, until = [], time.monotonic() + seconds

    def one():
        answer = wire.get(port, "/stream?chunks=10&interval=50ms", seconds=5, source="127.0.0.3")
        results.append(b"chunk 10" in answer)

    threads = []
    while time.monotonic() < until:
        threads.append(threading.Thread(target=one))
        threads[-1].start()
        time.sleep(0.02)
    for thread in threads:
        thread.join()
    return len(results), results.count(False)


def shared_connections(table):
    """Many clients on one upstream connection, and many requests on one client's."""
    mock = lab.Mock()
    for name, attack, rate in [("1 MB downloads aborted", aborted_download, 400), ("uploads of 2 bytes of 50", short_upload, 2500)]:
        gateway = lab.Gateway(lab.to(mock.port, "http2 = true\nretries = 0"))
        attacks = [lab.beside(attack, gateway.port, 8, rate) for _ in range(2)]
        asked, failed = lab.beside(innocents, gateway.port, 8).result()
        done = sum(one.result() for one in attacks)
        table.row(f"HTTP/2 upstream, {name}: a second", done // 8)
        table.row(f"of {asked} streams of others, failed", failed, 0, failed == 0)
        gateway.process.kill()

    gateway = lab.Gateway(lab.to(mock.port), server='trusted_proxies = ["127.0.0.1"]')
    for name, field in [("have a Connection field", "connection"), ("have a name in upper case", "X-Upper")]:
        client = wire.Http2(gateway.port)
        innocent = client.request("GET", "/stream?chunks=10&interval=200ms")
        client.read(0.3)
        for number in range(40):
            client.request("GET", "/users", [(field, "1")] if number % 4 == 0 else [])
        client.read(4, lambda: client.over(innocent))
        ended = innocent in client.ended and b"chunk 10" in client.data.get(innocent, b"")
        shown = "whole" if ended else f"broken off (GOAWAY {client.gone})"
        table.row(f"10 of 40 on a trusted proxy's connection {name}: a stream beside them", shown, "whole", ended)

    client = wire.Http2(gateway.port)
    innocent = client.request("GET", "/sse?interval=200ms")
    client.read(0.3)
    for _ in range(201):
        watch = client.request("GET", "/sse?interval=60s")
        client.read(1, lambda: watch in client.data or client.over(watch))
        client.cancel(watch)
        if client.closed:
            break
    had = len(client.data.get(innocent, b""))
    client.read(1)
    lives = len(client.data.get(innocent, b"")) > had
    shown = "goes on" if lives else f"broken off (GOAWAY {client.gone})"
    table.row("201 watches answered and cancelled: a stream beside them", shown, "goes on", lives)
