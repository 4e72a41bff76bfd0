"""Tunnels, logs, and signals."""

import ctypes
import os
import pathlib
import signal
import socket
import struct
import time

import lab
import wire

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def vanish(connection):
    """From now on nothing that is sent to this socket is heard: its peer gets neither an acknowledgement nor a reset."""
    nothing = struct.pack("HBBI", 0x06, 0, 0, 0)  # A filter of one instruction: take no byte of any packet.
    held = ctypes.create_string_buffer(nothing)
    connection.setsockopt(socket.SOL_SOCKET, 26, struct.pack("HL", 1, ctypes.addressof(held)))  # SO_ATTACH_FILTER


def keepalive(port, peer):
    """Whether the kernel probes the gateway's end of a connection (the timer column of /proc/net/tcp)."""
    for line in pathlib.Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1].endswith(f":{port:04X}") and fields[2].endswith(f":{peer:04X}"):
            return fields[5].startswith("02")
    return False


def tunnels(table):
    """WebSockets that outlast a route's timeout, and whose client is no longer there."""
    mock = lab.Mock()
    gateway = lab.Gateway(lab.to(mock.port, route='timeout = "2s"'))
    with wire.connect(gateway.port) as client:
        client.sendall(UPGRADE)
        head = wire.read(client, 3, lambda data: b"\r\n\r\n" in data)
        after = head.partition(b"\r\n\r\n")[2] + wire.read(client, 4)
    ok = wire.status(head) == 101 and not after
    shown = f"{wire.status(head)}, then {len(after)} bytes: {after[:40]!r}"
    table.row("a WebSocket on a route with timeout = 2 s, for 4 s", shown, "101, then 0 bytes", ok)

    # It is a newer key: without it the gateway has no such bound.
    bound = 'tunnel_timeout = "3s"'
    bounded = lab.check(f'[server]\nlisten = "127.0.0.1:0"\n{bound}\n{lab.to(mock.port)}')[1] == 0
    gateway = lab.Gateway(lab.to(mock.port), server=bound if bounded else "")
    client = wire.connect(gateway.port)
    client.sendall(UPGRADE)
    wire.read(client, 3, lambda data: b"\r\n\r\n" in data)
    probed = keepalive(gateway.port, client.getsockname()[1])
    table.row("TCP keepalive on a client's socket", "yes" if probed else "no", "yes", probed)
    vanish(client)
    gone = lab.eventually(lambda: gateway.connections() == 0, 10)
    shown = f"ended after {gone:.1f} s" if gone else "open after 10 s"
    name = "with tunnel_timeout = 3 s" if bounded else "there is no tunnel_timeout"
    table.row(f"a tunnel whose client has vanished, {name}", shown, "ended", gone is not None)


def long_log_lines(table):
    """A User-Agent of 60 KB, every byte of which is escaped."""
    mock = lab.Mock()
    log = lab.folder() / "access.log"
    gateway = lab.Gateway(lab.to(mock.port), access_log=f'path = "{log}"')
    attack = b"GET /health HTTP/1.1\r\nHost: a\r\nUser-Agent: " + b"\xff" * 60000 + b"\r\n\r\n"

    def attacker(seconds):
        sent, began, client = 0, time.monotonic(), None
        while (elapsed := time.monotonic() - began) < seconds:
            if sent > 400 * elapsed:
                time.sleep(0.001)
                continue
            try:
                client = client or wire.connect(gateway.port)
                client.sendall(attack)
                wire.read(client, 1, wire.whole)
            except OSError:
                client = None
            sent += 1
        return sent

    attacks = lab.beside(attacker, 6)
    asked = 0
    others = [wire.connect(gateway.port, "127.0.0.3") for _ in range(4)]
    until = time.monotonic() + 6
    while time.monotonic() < until:
        for other in others:
            other.sendall(b"GET /health?innocent HTTP/1.1\r\nHost: a\r\n\r\n")
        for other in others:
            asked += wire.status(wire.read(other, 2, wire.whole)) == 200
        time.sleep(0.005)
    sent = attacks.result()
    time.sleep(1.5)
    lines = log.read_bytes().split(b"\n")
    longest, logged = max(map(len, lines)), sum(b"?innocent" in line for line in lines)
    table.row("60 KB of \\xff as User-Agent: longest line, bytes", longest, "at most 16384", longest <= 16384)
    lost = asked - logged
    table.row(f"at {sent // 6} a second: of {asked} lines of others, dropped", f"{lost} ({100 * lost / asked:.0f} %)", 0, lost <= 0)


def early_signal(table):
    """SIGHUP while it starts."""
    folder = lab.folder()
    few = lab.to(1)
    many = "".join(
        f'[[routes]]\nname = "r{number}"\npath = "/r{number}"\nrespond = {{ status = 200 }}\n' for number in range(20000)
    )
    for name, routes, delays in [("", few, [3, 4, 5, 6, 8, 10, 15, 20]), (" with 20,000 routes", many, [20, 50, 100, 200])]:
        config = folder / "gateway.toml"
        config.write_text('[server]\nlisten = "127.0.0.1:0"\n[admin]\nlisten = "off"\n' + routes)
        survived = []
        for delay in delays:
            process = lab.start([lab.GATEWAY, "--config", str(config)], folder / "log", None)
            time.sleep(delay / 1000)
            os.kill(process.pid, signal.SIGHUP)
            time.sleep(0.4)
            if process.poll() is None:
                survived.append(delay)
            process.kill()
            process.wait()
        shown = f"{len(survived)} of {len(delays)}"
        spread = f"{delays[0]} to {delays[-1]} ms"
        table.row(f"starts{name} that survive SIGHUP, {spread} after they begin", shown, "all", survived == delays)
