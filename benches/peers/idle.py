"""How much memory a proxy takes, and how much more for each idle connection.

An idle connection has had one answer, and waits for the next request.
"""

import socket
import ssl
import struct
import time

import answers
import programs

CONNECTIONS = 1_000

# The gateway has its allocator return free memory every two seconds.
SETTLED = 4

KINDS = ("HTTP/1.1", "TLS", "HTTP/2")

_DATA, _HEADERS, _SETTINGS, _GOAWAY = 0, 1, 4, 7
_END_STREAM, _ACK, _END_HEADERS = 1, 1, 4


def measure(start, kind):
    """Bytes of memory without connections, and bytes for each connection, of the proxy that `start` starts."""
    proxy = start()
    connections = []
    try:
        answers.check(proxy)
        time.sleep(SETTLED)
        before = proxy.program.memory()
        connect = {"HTTP/1.1": _http1, "TLS": _tls, "HTTP/2": _http2}[kind]
        for _ in range(CONNECTIONS):
            connections.append(connect(proxy))
        time.sleep(SETTLED)
        after = proxy.program.memory()
        for connection in connections:
            _must_be_open(connection, proxy)
        return before, (after - before) / CONNECTIONS
    finally:
        for connection in connections:
            connection.close()
        proxy.stop()


def _connect(proxy, use):
    return socket.create_connection(("127.0.0.1", proxy.ports[use]), 10)


def _http1(proxy, use="HTTP", wrap=lambda sock: sock):
    sock = wrap(_connect(proxy, use))
    path = proxy.case.path
    sock.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{proxy.ports[use]}\r\n\r\n".encode())
    answer = b""
    while not answer.endswith(b"x" * proxy.case.size):
        piece = sock.recv(65536)
        if not piece:
            raise programs.Failure(f"{proxy.name} closes a connection after {answer!r}")
        answer += piece
    if not answer.startswith(b"HTTP/1.1 200 "):
        raise programs.Failure(f"{proxy.name} answers {answer!r}")
    return sock


# It verifies nothing.
_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
_TLS.check_hostname, _TLS.verify_mode = False, ssl.CERT_NONE


def _tls(proxy):
    return _http1(proxy, "HTTPS", _TLS.wrap_socket)


def _http2(proxy):
    sock = _connect(proxy, "H2C")
    authority, path = f"127.0.0.1:{proxy.ports['H2C']}".encode(), proxy.case.path.encode()
    # :method GET and :scheme http are in HPACK's table; :path and :authority are literals whose names are.
    head = b"\x82\x86" + bytes([0x04, len(path)]) + path + bytes([0x01, len(authority)]) + authority
    frames = _frame(_SETTINGS, 0, 0, b"") + _frame(_HEADERS, _END_HEADERS | _END_STREAM, 1, head)
    sock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frames)
    body = b""
    while True:
        length, kind, flags = struct.unpack(">I", b"\0" + _exactly(sock, 3))[0], *_exactly(sock, 2)
        stream = struct.unpack(">I", _exactly(sock, 4))[0]
        payload = _exactly(sock, length)
        if kind == _SETTINGS and not flags & _ACK:
            sock.sendall(_frame(_SETTINGS, _ACK, 0, b""))
        elif kind == _DATA:
            body += payload
        if kind == _GOAWAY or (stream == 1 and kind in (_DATA, _HEADERS) and flags & _END_STREAM):
            break
    if body != b"x" * proxy.case.size:
        raise programs.Failure(f"{proxy.name} answers {body!r} over HTTP/2")
    return sock


def _frame(kind, flags, stream, payload):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _exactly(sock, count):
    data = b""
    while len(data) < count:
        piece = sock.recv(count - len(data))
        if not piece:
            raise programs.Failure("a connection of HTTP/2 is closed")
        data += piece
    return data


def _must_be_open(connection, proxy):
    connection.setblocking(False)
    try:
        while piece := connection.recv(65536):
            pass
    except (BlockingIOError, ssl.SSLWantReadError):
        return
    raise programs.Failure(f"{proxy.name} has closed a connection that should be idle (last: {piece!r})")
