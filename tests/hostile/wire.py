"""HTTP/1 and HTTP/2 to the byte, for clients and upstreams that do not keep to them."""

import contextlib
import re
import select
import socket
import struct
import threading
import time

import hpack

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS = 1, 1, 4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CANCEL = 8


def connect(port, source="127.0.0.1", timeout=5, receive_buffer=None):
    connection = socket.socket()
    connection.settimeout(timeout)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_buffer:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    # The port is chosen when it connects, so that it need only be free towards this peer.
    connection.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", port))
    return connection


def reset(connection):
    """Closes with a reset."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read(connection, seconds, enough=lambda data: False):
    """What comes within this time, until it is enough or the peer closes."""
    data, deadline = b"", time.monotonic() + seconds
    while not enough(data):
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        try:
            piece = connection.recv(1 << 16)
        except OSError:
            break
        if not piece:
            break
        data += piece
    return data


def whole(data):
    """Whether an answer has come as a whole: one with a length, or in chunks."""
    head, end, body = data.partition(b"\r\n\r\n")
    if not end:
        return False
    length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
    if length:
        return len(body) >= int(length[1])
    return re.search(rb"(?i)\r\ntransfer-encoding: *chunked", head) is None or body.endswith(b"0\r\n\r\n")


def status(data):
    """The status of an HTTP/1 answer; 0 if there is none."""
    return int(data[9:12]) if data.startswith(b"HTTP/1.") and data[9:12].isdigit() else 0


def exchange(port, request, seconds=5, source="127.0.0.1"):
    """What a request of HTTP/1 is answered with, on a connection of its own."""
    try:
        with connect(port, source, seconds) as connection:
            connection.sendall(request)
            return read(connection, seconds, whole)
    except OSError:
        return b""


def get(port, path, fields=b"", seconds=5, source="127.0.0.1"):
    return exchange(port, b"GET " + path.encode() + b" HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n", seconds, source)


def integer(value, bits, first=0):
    """An integer of HPACK."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value % 128 + 128)
        value //= 128
    return bytes([*out, value])


def literal(name, value, first=b"\x00"):
    """A field of HPACK as it is; it is not kept unless `first` is 0x40."""
    name, value = (text if isinstance(text, bytes) else text.encode() for text in (name, value))
    return first + integer(len(name), 7) + name + integer(len(value), 7) + value


def block(method, path, fields=()):
    named = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "a"), *fields]
    return b"".join(literal(name, value) for name, value in named)


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def frames(data):
    """The whole frames at the beginning of `data`, and what is left of it."""
    found = []
    while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
        length = int.from_bytes(data[:3], "big")
        found.append((data[3], data[4], int.from_bytes(data[5:9], "big") & 0x7FFFFFFF, data[9 : 9 + length]))
        data = data[9 + length :]
    return found, data


class Http2:
    """A client's HTTP/2 connection. Nothing is read but when it is asked for."""

    def __init__(self, port, source="127.0.0.1", settings=(), credit=True, timeout=5):
        self.socket = connect(port, source, timeout)
        listed = b"".join(struct.pack(">HI", key, value) for key, value in settings)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, listed))
        self.credit = credit
        self.next = 1
        self.left = b""
        self.decoder = hpack.Decoder(max_header_list_size=1 << 20)
        self.statuses, self.ended, self.resets, self.data, self.fields = {}, set(), {}, {}, {}
        self.window = {0: 65535}
        self.initial_window = 65535
        self.gone = None
        self.closed = False

    def request(self, method, path, fields=(), end=True, raw=None):
        """Begins a stream."""
        stream, self.next = self.next, self.next + 2
        self.window[stream] = self.initial_window
        flags = END_HEADERS | (END_STREAM if end else 0)
        self.send(frame(HEADERS, flags, stream, raw if raw is not None else block(method, path, fields)))
        return stream

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError:
            self.closed = True

    def cancel(self, stream):
        self.send(frame(RST_STREAM, 0, stream, struct.pack(">I", CANCEL)))

    def read(self, seconds, until=lambda: False):
        """Takes what comes within this time, until that is true."""
        deadline = time.monotonic() + seconds
        while not until() and not self.closed:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self.socket], [], [], left)[0]:
                return
            try:
                piece = self.socket.recv(1 << 18)
            except OSError:
                piece = b""
            if not piece:
                self.closed = True
                return
            found, self.left = frames(self.left + piece)
            for one in found:
                self.take(*one)

    def take(self, kind, flags, stream, payload):
        if kind == HEADERS:
            fields = self.decoder.decode(payload)
            self.fields[stream] = fields
            self.statuses.setdefault(stream, int(dict(fields).get(":status", 0)))
        elif kind == DATA:
            self.data[stream] = self.data.get(stream, b"") + payload
            if self.credit and payload:
                update = struct.pack(">I", len(payload))
                self.send(frame(WINDOW_UPDATE, 0, 0, update) + frame(WINDOW_UPDATE, 0, stream, update))
        elif kind == RST_STREAM:
            self.resets[stream] = int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            for key, value in struct.iter_unpack(">HI", payload):
                if key == 4:
                    for one in self.window:
                        self.window[one] += (value - self.initial_window) if one else 0
                    self.initial_window = value
            self.send(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.send(frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            self.window[stream] = self.window.get(stream, 0) + int.from_bytes(payload, "big")
        elif kind == GOAWAY:
            self.gone = int.from_bytes(payload[4:8], "big")
        if kind in (HEADERS, DATA) and flags & END_STREAM:
            self.ended.add(stream)

    def over(self, stream):
        return stream in self.ended or stream in self.resets or self.closed

    def answer(self, method, path, fields=(), seconds=5, raw=None):
        """The status of a request; 0 if there is none."""
        stream = self.request(method, path, fields, raw=raw)
        self.read(seconds, lambda: self.over(stream))
        return self.statuses.get(stream, 0)

    def upload(self, stream, length, seconds):
        """Sends a body as far as the windows let it."""
        deadline = time.monotonic() + seconds
        while length and not self.over(stream) and time.monotonic() < deadline:
            piece = min(length, 16384, self.window[0], self.window[stream])
            if piece <= 0:
                self.read(0.05)
                continue
            length -= piece
            self.window[0] -= piece
            self.window[stream] -= piece
            self.send(frame(DATA, 0 if length else END_STREAM, stream, bytes(piece)))
        return length

    def close(self):
        self.socket.close()


class Server:
    """A server in a thread for each connection: `serve(connection)` is what one does."""

    def __init__(self, serve, backlog=1024):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(backlog)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.accept, args=(serve,), daemon=True).start()

    def accept(self, serve):
        while True:
            connection, _ = self.listener.accept()
            threading.Thread(target=self.run, args=(serve, connection), daemon=True).start()

    @staticmethod
    def run(serve, connection):
        with connection, contextlib.suppress(OSError):
            serve(connection)


def full_backlog():
    """A port that takes no connection and refuses none, and what keeps it so."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    held = [listener]
    for _ in range(3):
        waiting = socket.socket()
        waiting.setblocking(False)
        waiting.connect_ex(listener.getsockname())
        held.append(waiting)
    return listener.getsockname()[1], held
