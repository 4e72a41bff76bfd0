"""The gateway between programs that others have written: curl, h2load, nginx, and Python's grpcio and websockets.

scripts/check-peers runs it, with the packages that it names. GATEWAY and MOCK_BACKEND say where ours are.
"""

import asyncio
import hashlib
import os
import pathlib
import re
import socket
import ssl
import subprocess
import tempfile
import time
import unittest
from concurrent import futures

import grpc
import websockets

CERTIFICATES = pathlib.Path(__file__).resolve().parent / "fixtures" / "tls"
CA = CERTIFICATES / "ca.pem"
TLS = f'[server.tls]\ncertificates = [{{ cert = "{CERTIFICATES}/localhost.pem", key = "{CERTIFICATES}/localhost.key" }}]\n'

# Nothing here takes this long unless it is broken.
PATIENCE = 20

# What curl calls a connection that is closed instead of answered: nothing came, it could not send, it could not receive.
BROKEN_OFF = [52, 55, 56]


def certificate(name):
    return (CERTIFICATES / name).read_bytes()


def wait_for(port):
    """Waits until somebody listens there."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


class Program:
    """A program that runs, and whose log says when it is ready."""

    def __init__(self, arguments, log, ready):
        self.log = pathlib.Path(log)
        with self.log.open("wb") as out:
            self.process = subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        deadline = time.monotonic() + PATIENCE
        while ready not in self.log.read_text():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError(f"{arguments[0]} does not start: {self.log.read_text()}")
            time.sleep(0.02)

    def addresses(self, pattern):
        return [(host, int(port)) for host, port in re.findall(pattern + r"([\d.]+):(\d+)", self.log.read_text())]

    def stop(self):
        self.process.terminate()
        try:
            status = self.process.wait(PATIENCE)
        finally:
            self.process.kill()
        if status != 0:
            raise AssertionError(f"it ended with {status}: {self.log.read_text()}")


class Peers(unittest.TestCase):
    """A folder for each class, and programs that end with it."""

    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = pathlib.Path(folder.name)
        cls.count = 0

    @classmethod
    def program(cls, arguments, ready):
        cls.count += 1
        program = Program(arguments, cls.folder / f"{cls.count}.log", ready)
        cls.addClassCleanup(program.stop)
        return program

    @classmethod
    def backend(cls):
        backend = cls.program([os.environ["MOCK_BACKEND"], "--listen", "127.0.0.1:0"], "127.0.0.1")
        return "{}:{}".format(*backend.addresses("")[0])

    @classmethod
    def gateway(cls, config):
        """Starts a gateway, and says where it listens, in the order of its listeners."""
        file = cls.folder / f"{cls.count}.toml"
        file.write_text(config + '[admin]\nlisten = "off"\n[access_log]\npath = "off"\n')
        gateway = cls.program([os.environ["GATEWAY"], "--config", str(file)], "] ready\n")
        return gateway.addresses("listening on https?://")


def to(server, upstream="", route=""):
    """Everything goes to this server."""
    return (
        f'[upstreams.main]\nservers = ["{server}"]\n{upstream}\n'
        f'[[routes]]\nname = "all"\npath = "/*"\nupstream = "main"\n{route}\n'
    )


class Curl(Peers):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        listen = ['"127.0.0.1:0"', '{ address = "127.0.0.1:0", tls = true }', '{ address = "127.0.0.1:0", proxy_protocol = true }']
        server = f'[server]\nlisten = [{", ".join(listen)}]\ntrusted_proxies = ["127.0.0.1"]\nmax_body_size = "64MiB"\n'
        backend = cls.backend()
        cls.plain, cls.tls, cls.behind = cls.gateway(server + TLS + to(backend, route='compression = ["gzip", "br", "zstd"]'))
        mutual = TLS + f'client_ca = "{CA}"\n'
        (cls.mutual,) = cls.gateway('[server]\nlisten = { address = "127.0.0.1:0", tls = true }\n' + mutual + to(backend))
        cls.large = cls.folder / "large"
        cls.large.write_bytes(os.urandom(1 << 20) * 32)

    def curl(self, address, target, *options, scheme="http", statuses=(0,)):
        """What curl prints, when it ends with one of these statuses."""
        url = f"{scheme}://localhost:{address[1]}{target}"
        call = ["curl", "--silent", "--show-error", "--ipv4", "--max-time", str(PATIENCE), "--cacert", str(CA), *options, url]
        done = subprocess.run(call, capture_output=True, check=False)
        self.assertIn(done.returncode, statuses, done.stderr.decode())
        return done.stdout

    def said(self, address, target, *options, **more):
        say = ["--output", "/dev/null", "--write-out", "%{http_code} %{http_version} %{size_download}"]
        return self.curl(address, target, *say, *options, **more).decode()

    def test_every_version_of_http(self):
        for option, version in [("--http1.0", "1.1"), ("--http1.1", "1.1"), ("--http2-prior-knowledge", "2"), ("--http2", "1.1")]:
            # An upgrade to h2c is refused by going on as before, and HTTP/1.0 is answered as what the gateway speaks.
            self.assertEqual(self.said(self.plain, "/bytes/1000", option), f"200 {version} 1000", option)
        for option, version in [("--http1.1", "1.1"), ("--http2", "2")]:
            for tls in ["--tlsv1.2", "--tlsv1.3"]:
                self.assertEqual(self.said(self.tls, "/bytes/1000", option, tls, scheme="https"), f"200 {version} 1000", option)

    def test_old_versions_of_tls_are_refused(self):
        old = ["--tls-max", "1.1", "--ciphers", "DEFAULT@SECLEVEL=0"]
        self.curl(self.tls, "/users", *old, scheme="https", statuses=[35])

    def test_client_certificates(self):
        self.curl(self.mutual, "/users", scheme="https", statuses=BROKEN_OFF)
        stranger = ["--cert", str(CERTIFICATES / "stranger.pem"), "--key", str(CERTIFICATES / "stranger.key")]
        self.curl(self.mutual, "/users", *stranger, scheme="https", statuses=BROKEN_OFF)
        known = ["--cert", str(CERTIFICATES / "client.pem"), "--key", str(CERTIFICATES / "client.key")]
        for option, version in [("--http1.1", "1.1"), ("--http2", "2")]:
            self.assertTrue(self.said(self.mutual, "/users", *known, option, scheme="https").startswith(f"200 {version} "))

    def test_large_bodies_both_ways(self):
        for address, scheme, option in [
            (self.plain, "http", "--http1.1"),
            (self.plain, "http", "--http2-prior-knowledge"),
            (self.tls, "https", "--http1.1"),
            (self.tls, "https", "--http2"),
        ]:
            for length in ["Content-Length: " + str(self.large.stat().st_size), "Transfer-Encoding: chunked"]:
                if option.startswith("--http2") and length.startswith("T"):
                    continue
                sent = ["--header", length, "--header", "Expect: 100-continue", "--upload-file", str(self.large), option]
                answer = self.curl(address, "/upload", *sent, scheme=scheme).decode()
                self.assertIn(str(self.large.stat().st_size), answer, (option, length))
            self.assertTrue(self.said(address, "/bytes/33554432", option, scheme=scheme).endswith(" 33554432"), option)

    def test_a_head_has_no_body_and_the_connection_goes_on(self):
        url = f"http://localhost:{self.plain[1]}/users"
        call = ["curl", "--silent", "--ipv4", "--head", url, "--next", "--silent", "--ipv4", "--output", "/dev/null"]
        done = subprocess.run([*call, "--write-out", "%{http_code} %{num_connects}", url], capture_output=True, check=True)
        self.assertTrue(done.stdout.startswith(b"HTTP/1.1 200 OK\r\n"))
        self.assertTrue(done.stdout.endswith(b"\r\n\r\n200 0"), done.stdout)

    def test_compressed_answers(self):
        target = "/echo/" + "x" * 2000
        for coding in ["gzip", "br", "zstd"]:
            fields = ["--header", f"Accept-Encoding: {coding}"]
            head = self.curl(self.plain, target, *fields, "--dump-header", "-", "--output", "/dev/null").decode()
            self.assertIn(f"content-encoding: {coding}", head.lower())
            self.assertIn(target.encode(), self.curl(self.plain, target, "--compressed", *fields))

    def test_the_proxy_protocol(self):
        self.assertIn(b'"127.0.0.1"', self.curl(self.behind, "/echo", "--haproxy-protocol"))
        with socket.create_connection(self.behind) as connection:
            connection.sendall(b"PROXY TCP4 203.0.113.7 127.0.0.1 4711 80\r\nGET /echo HTTP/1.0\r\nHost: localhost\r\n\r\n")
            self.assertIn(b'"203.0.113.7"', connection.makefile("rb").read())
        self.curl(self.behind, "/echo", statuses=BROKEN_OFF)


class H2load(Peers):
    def test_every_request_is_answered(self):
        backend = self.backend()
        listen = '[server]\nlisten = ["127.0.0.1:0", { address = "127.0.0.1:0", tls = true }]\n'
        plain, tls = self.gateway(listen + TLS + to(backend))
        for scheme, address, options in [
            ("http", plain, ["--h1"]),
            ("http", plain, ["-p", "h2c"]),
            ("https", tls, ["--npn-list=h2"]),
            ("https", tls, ["--h1"]),
        ]:
            url = f"{scheme}://127.0.0.1:{address[1]}/bytes/10000"
            call = ["h2load", *options, "-n", "3000", "-c", "10", "-m", "20", "-T", str(PATIENCE), url]
            said = subprocess.run(call, capture_output=True, check=True).stdout.decode()
            self.assertIn("3000 done, 3000 succeeded, 0 failed, 0 errored, 0 timeout", said, options)
            self.assertIn("status codes: 3000 2xx", said, options)


class Nginx(Peers):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.body = b"".join(hashlib.sha256(str(n).encode()).hexdigest().encode() for n in range(4000))
        (cls.folder / "file.txt").write_bytes(cls.body)
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
        ports = [free.getsockname()[1] for free in sockets]
        for free in sockets:
            free.close()
        cls.plain, cls.tls = (f"127.0.0.1:{port}" for port in ports)
        (cls.folder / "nginx.conf").write_text(f"""
            {"user root;" if os.geteuid() == 0 else ""}
            pid {cls.folder}/nginx.pid;
            error_log stderr;
            events {{}}
            http {{
                access_log off;
                client_body_temp_path {cls.folder}/body;
                proxy_temp_path {cls.folder}/proxy;
                fastcgi_temp_path {cls.folder}/fastcgi;
                uwsgi_temp_path {cls.folder}/uwsgi;
                scgi_temp_path {cls.folder}/scgi;
                types {{ text/plain txt; }}
                gzip_types text/plain;
                gzip_proxied any;
                server {{
                    listen {cls.plain};
                    listen {cls.tls} ssl http2;
                    ssl_certificate {CERTIFICATES}/localhost.pem;
                    ssl_certificate_key {CERTIFICATES}/localhost.key;
                    root {cls.folder};
                    location /chunked/ {{ alias {cls.folder}/; gzip on; }}
                    location /none {{ return 204; }}
                }}
            }}
        """)
        arguments = ["nginx", "-e", "stderr", "-c", str(cls.folder / "nginx.conf"), "-p", str(cls.folder), "-g", "daemon off;"]
        nginx = cls.program(arguments, "")
        for port in ports:
            wait_for(port)
        assert nginx.process.poll() is None, nginx.log.read_text()
        tls = f'tls = {{ ca = "{CA}", server_name = "localhost" }}\n'
        listen = '[server]\nlisten = "127.0.0.1:0"\n'
        cls.gateways = {
            "HTTP/1.1": cls.gateway(listen + to(cls.plain))[0],
            "HTTP/1.1 and TLS": cls.gateway(listen + to(cls.tls, tls))[0],
            "HTTP/2 and TLS": cls.gateway(listen + to(cls.tls, tls + "http2 = true\n"))[0],
        }
        (cls.distrustful,) = cls.gateway(listen + to(cls.tls, "tls = true\n"))

    def get(self, address, target, *options):
        call = ["curl", "--silent", "--show-error", "--max-time", str(PATIENCE), *options]
        return subprocess.run([*call, f"http://{address[0]}:{address[1]}{target}"], capture_output=True, check=True).stdout

    def test_answers_of_every_framing(self):
        say = ["--output", "/dev/null", "--write-out", "%{http_code} %{size_download}"]
        for how, address in self.gateways.items():
            for _ in range(3):
                self.assertEqual(self.get(address, "/file.txt"), self.body, how)
                self.assertEqual(self.get(address, "/chunked/file.txt", "--compressed"), self.body, how)
                self.assertEqual(self.get(address, "/none", *say), b"204 0", how)
                self.assertEqual(self.get(address, "/file.txt", "--range", "10-19"), self.body[10:20], how)
                self.assertEqual(self.get(address, "/file.txt", "--head", *say), b"200 0", how)

    def test_a_certificate_of_nobody_it_trusts_is_refused(self):
        say = ["--output", "/dev/null", "--write-out", "%{http_code}"]
        self.assertEqual(self.get(self.distrustful, "/file.txt", *say), b"502")


def identity(message):
    return message


class Service(grpc.GenericRpcHandler):
    """What is called /echo/…, without a schema."""

    def service(self, call):
        one = {"request_deserializer": identity, "response_serializer": identity}
        return {
            "/echo/Unary": grpc.unary_unary_rpc_method_handler(self.unary, **one),
            "/echo/Down": grpc.unary_stream_rpc_method_handler(self.down, **one),
            "/echo/Up": grpc.stream_unary_rpc_method_handler(self.up, **one),
            "/echo/Both": grpc.stream_stream_rpc_method_handler(self.both, **one),
            "/echo/Fail": grpc.unary_unary_rpc_method_handler(self.fail, **one),
        }.get(call.method)

    def unary(self, message, context):
        context.set_trailing_metadata((("said", "last"),))
        return message

    def down(self, message, _):
        for _ in range(100):
            yield message

    def up(self, messages, _):
        return str(sum(len(message) for message in messages)).encode()

    def both(self, messages, _):
        yield from messages

    def fail(self, _, context):
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not today: ä")


class Grpc(Peers):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        server = grpc.server(futures.ThreadPoolExecutor(max_workers=8))
        server.add_generic_rpc_handlers((Service(),))
        plain = server.add_insecure_port("127.0.0.1:0")
        pair = (certificate("localhost.key"), certificate("localhost.pem"))
        encrypted = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([pair]))
        server.start()
        cls.addClassCleanup(lambda: server.stop(None).wait())
        listen = '[server]\nlisten = ["127.0.0.1:0", { address = "127.0.0.1:0", tls = true }]\nmax_body_size = "64MiB"\n' + TLS
        tls = f'tls = {{ ca = "{CA}", server_name = "localhost" }}\n'
        limited = '[limits.few]\nrate = "1/h"\nburst = 1\n'
        gateways = [
            cls.gateway(listen + to(f"127.0.0.1:{plain}", "http2 = true")),
            cls.gateway(listen + to(f"127.0.0.1:{encrypted}", "http2 = true\n" + tls)),
        ]
        cls.refusing = cls.gateway(listen + limited + to(f"127.0.0.1:{plain}", "http2 = true", 'limits = ["few"]'))
        credentials = grpc.ssl_channel_credentials(certificate("ca.pem"))
        cls.channels = []
        for insecure, secure in gateways:
            cls.channels.append(grpc.insecure_channel(f"127.0.0.1:{insecure[1]}"))
            cls.channels.append(grpc.secure_channel(f"localhost:{secure[1]}", credentials))
        for channel in cls.channels:
            cls.addClassCleanup(channel.close)

    def test_unary_with_trailers(self):
        for channel in self.channels:
            for size in [0, 1, 100_000, 3_000_000]:
                answer, call = channel.unary_unary("/echo/Unary").with_call(b"x" * size, timeout=PATIENCE)
                self.assertEqual(len(answer), size)
                self.assertIn(("said", "last"), list(call.trailing_metadata()))

    def test_streams(self):
        messages = [bytes([n]) * 20_000 for n in range(100)]
        for channel in self.channels:
            self.assertEqual(list(channel.unary_stream("/echo/Down")(b"x" * 20_000, timeout=PATIENCE)), [b"x" * 20_000] * 100)
            self.assertEqual(channel.stream_unary("/echo/Up")(iter(messages), timeout=PATIENCE), b"2000000")
            self.assertEqual(list(channel.stream_stream("/echo/Both")(iter(messages), timeout=PATIENCE)), messages)

    def test_each_message_comes_as_soon_as_it_is_sent(self):
        for channel in self.channels:
            answers = []

            def messages(answers=answers):
                for turn in range(10):
                    # The next is sent when the last has come back.
                    deadline = time.monotonic() + PATIENCE
                    while len(answers) < turn and time.monotonic() < deadline:
                        time.sleep(0.001)
                    yield str(turn).encode()

            for answer in channel.stream_stream("/echo/Both")(messages(), timeout=PATIENCE):
                answers.append(answer)
            self.assertEqual(len(answers), 10)

    def test_a_status_arrives_as_it_was_given(self):
        for channel in self.channels:
            with self.assertRaises(grpc.RpcError) as raised:
                channel.unary_unary("/echo/Fail")(b"", timeout=PATIENCE)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.FAILED_PRECONDITION)
            self.assertEqual(raised.exception.details(), "not today: ä")
            with self.assertRaises(grpc.RpcError) as raised:
                channel.unary_unary("/echo/Nothing")(b"", timeout=PATIENCE)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.UNIMPLEMENTED)

    def test_a_limit_is_told_as_a_status(self):
        with grpc.insecure_channel(f"127.0.0.1:{self.refusing[0][1]}") as channel:
            self.assertEqual(channel.unary_unary("/echo/Unary")(b"x", timeout=PATIENCE), b"x")
            with self.assertRaises(grpc.RpcError) as raised:
                channel.unary_unary("/echo/Unary")(b"x", timeout=PATIENCE)
            self.assertEqual(raised.exception.code(), grpc.StatusCode.RESOURCE_EXHAUSTED)
            self.assertIn("too many requests", raised.exception.details())


class WebSockets(Peers):
    def test_a_conversation(self):
        asyncio.run(asyncio.wait_for(self.converse(), PATIENCE))

    async def converse(self):
        async def echo(connection):
            async for message in connection:
                if message == "enough":
                    await connection.close(4000, "as you say")
                    return
                await connection.send(message)

        encrypted = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        encrypted.load_cert_chain(CERTIFICATES / "localhost.pem", CERTIFICATES / "localhost.key")
        trust = ssl.create_default_context(cafile=str(CA))
        listen = '[server]\nlisten = ["127.0.0.1:0", { address = "127.0.0.1:0", tls = true }]\n' + TLS
        for context, settings in [(None, ""), (encrypted, f'tls = {{ ca = "{CA}", server_name = "localhost" }}')]:
            async with websockets.serve(echo, "127.0.0.1", 0, ssl=context, max_size=None) as server:
                port = server.sockets[0].getsockname()[1]
                gateways = await asyncio.to_thread(self.gateway, listen + to(f"127.0.0.1:{port}", settings))
                for (_, port), scheme, client in zip(gateways, ["ws", "wss"], [None, trust]):
                    url = f"{scheme}://localhost:{port}/"
                    async with websockets.connect(url, ssl=client, max_size=None, family=socket.AF_INET) as connection:
                        for message in ["hello", "", b"\x00\xff", "ä" * 100_000, os.urandom(3_000_000)]:
                            await connection.send(message)
                            self.assertEqual(await connection.recv(), message)
                        await (await connection.ping())
                        await connection.send("enough")
                        with self.assertRaises(websockets.ConnectionClosed):
                            await connection.recv()
                        self.assertEqual((connection.close_code, connection.close_reason), (4000, "as you say"))


if __name__ == "__main__":
    unittest.main(verbosity=2)
