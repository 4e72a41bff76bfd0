"""What a client that takes nothing costs."""

import time

import lab
import wire


def grown(gateway, before, count):
    return (gateway.memory() - before) / 1024 / count


def bomb(port, connections, streams):
    """Streams whose cookie is a reference to one that was sent once, as often as the largest head allows. Returns what holds them."""
    held = []
    for _ in range(connections):
        client = wire.Http2(port)
        client.read(0.1)
        kept = wire.literal("cookie", b"a=" + b"b" * 3900, b"\x40")
        client.request("GET", "/users?delay=20s", raw=wire.block("GET", "/users?delay=20s") + kept)
        for _ in range(streams - 1):
            client.request("GET", "/", raw=wire.block("GET", "/users?delay=20s") + wire.integer(62, 7, 0x80) * 15)
        held.append(client)
    return held


def stalled_downloads(table):
    """Answers that nobody reads."""
    mock = lab.Mock()
    gateway = lab.Gateway(lab.to(mock.port))
    wire.get(gateway.port, "/bytes/10000000")
    before = gateway.memory()
    clients, streams = 5, 100
    held = []
    for _ in range(clients):
        client = wire.Http2(gateway.port, settings=[(4, 0)], credit=False)
        client.read(0.1)
        for _ in range(streams):
            client.request("GET", "/bytes/50000000")
        held.append(client)
    time.sleep(4)
    each = grown(gateway, before, clients * streams)
    answered = gateway.in_flight()
    table.row(f"{clients * streams} HTTP/2 downloads with a zero window: KiB each", f"{each:.0f}", "about 64", each <= 80)
    table.row("of them, in flight", answered)
    for client in held:
        client.close()
    gateway.process.kill()

    gateway = lab.Gateway(lab.to(mock.port))
    wire.get(gateway.port, "/bytes/10000000")
    before = gateway.memory()
    held = []
    for _ in range(500):
        client = wire.connect(gateway.port, receive_buffer=4096)
        client.sendall(b"GET /bytes/50000000 HTTP/1.1\r\nHost: a\r\n\r\n")
        held.append(client)
    time.sleep(4)
    each = grown(gateway, before, 500)
    table.row("500 HTTP/1 downloads that are not read: KiB each", f"{each:.0f}", "about 64", each <= 80)
    for client in held:
        client.close()
    gateway.process.kill()

    gateway = lab.Gateway(lab.to(mock.port))
    wire.get(gateway.port, "/users")
    before = gateway.memory()
    held = bomb(gateway.port, 5, 100)
    time.sleep(3)
    running = max(1, gateway.in_flight())
    each = grown(gateway, before, 500)
    table.row("500 HTTP/2 requests whose cookie is one reference 15 times: KiB each", f"{each:.0f}", "about 64", each <= 80)
    table.row("of them, in flight", running)
    del held
