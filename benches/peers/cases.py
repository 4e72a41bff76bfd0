"""What is asked of the proxies: a case is a kind of request, and how the proxy that answers it is configured.

The limits of a case have a quota. `admit` is never used up. `refuse` is used up by the first request. `remember` is
never used up either, but takes a minute to refill a token: so every client's bucket stays in debt, and has to be
remembered.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    name: str
    what: str
    path: str = "/bytes/64"
    size: int = 64
    quota: str = "admit"
    limits: int = 1
    clients: int = 1
    routes: int = 0
    workers: int = 1
    tls: bool = False
    http2: bool = False
    close: bool = False

    @property
    def status(self):
        return 429 if self.quota == "refuse" else 200

    @property
    def keyed_by_header(self):
        """With more than one client, the field X-Client says which; else it is the address."""
        return self.clients > 1

    @property
    def first_path(self):
        return "/routes/0" if self.routes else self.path


CASES = [
    Case("small", "64 bytes, HTTP/1.1"),
    Case("64k", "64 KiB", path="/bytes/65536", size=65536),
    Case("1m", "1 MiB", path="/bytes/1048576", size=1048576),
    Case("refused", "refused with 429", quota="refuse"),
    Case("tls", "64 bytes over TLS, connections kept", tls=True),
    Case("http2", "64 bytes, HTTP/2 in the clear, eight streams", http2=True),
    Case("connections", "64 bytes, a new connection each", close=True),
    Case("routes-10", "10 routes in turn", routes=10),
    Case("routes-10000", "10,000 routes in turn", routes=10_000),
    Case("limits-4", "4 limits", limits=4),
    Case("limits-8", "8 limits", limits=8),
    Case("clients-1k", "1,000 clients by a header, all remembered", quota="remember", clients=1_000),
    Case("clients-1m", "1,000,000 clients by a header, all remembered", quota="remember", clients=1_000_000),
    Case("two-workers", "64 bytes, two workers that share the load's core", workers=2),
]

# What else there is to measure.
OTHERS = {
    "backend": "requests a second of the backend alone, which shares its core with the load",
    "latency": "latency at half of nginx's requests a second",
    "idle": "memory of idle connections",
    "wakeups": "calls of the kernel by which the gateway's two workers wake one another",
}


def named(name):
    return next(case for case in CASES if case.name == name)
