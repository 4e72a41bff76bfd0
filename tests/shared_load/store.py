"""A Redis of its own, which can be stopped, filled, emptied and asked how many calls it had."""

import re
import signal
import socket
import subprocess
import time

import lab


def free_port():
    """A port of 127.0.0.1 that nobody uses."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


class Redis:
    """A server on a socket in a folder of its own."""

    def __init__(self, *arguments):
        self.folder = lab.folder()
        self.socket = self.folder / "redis.sock"
        self.arguments = arguments
        # Where it is, for `[limiter.shared]`.
        self.settings = f'url = "redis+unix://{self.socket}"'
        self.start()

    def start(self):
        """Starts it with nothing in its memory."""
        self.socket.unlink(missing_ok=True)
        common = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self.folder)]
        self.process = lab.start(["redis-server", *common, *self.arguments], self.folder / "log", "eady to accept")

    def ask(self, *command):
        """What redis-cli prints for a command."""
        run = ["redis-cli", "-s", str(self.socket), *command]
        return subprocess.run(run, capture_output=True, text=True, check=True, timeout=lab.PATIENCE).stdout

    def scripts_run(self):
        """How many scripts it has run: those of buckets, and two for each heartbeat of a gateway."""
        stats = self.ask("INFO", "commandstats")
        return sum(int(calls) for calls in re.findall(r"cmdstat_(?:eval|evalsha):calls=(\d+)", stats))

    def signal(self, name):
        self.process.send_signal(getattr(signal, name))

    def kill(self):
        self.process.kill()
        self.process.wait()


class Watched(Redis):
    """A server with a replica, and a Sentinel that makes the replica the master when the server has not answered for half a second."""

    def __init__(self):
        port, other, watcher = free_port(), free_port(), free_port()
        super().__init__("--port", str(port), "--bind", "127.0.0.1")
        self.replica = Redis("--port", str(other), "--bind", "127.0.0.1", "--replicaof", "127.0.0.1", str(port))
        self.settings = f'urls = ["redis://127.0.0.1:{watcher}"]\nsentinel = "store"'
        lab.eventually(lambda: "master_link_status:up" in self.replica.ask("INFO", "replication"), lab.PATIENCE)
        file = self.folder / "sentinel.conf"
        file.write_text(
            f"port {watcher}\nbind 127.0.0.1\ndir {self.folder}\nsentinel monitor store 127.0.0.1 {port} 1\n"
            "sentinel down-after-milliseconds store 500\nsentinel failover-timeout store 3000\n"
        )
        lab.start(["redis-server", str(file), "--sentinel"], self.folder / "sentinel.log", "+monitor")
        knows = lambda: "slaves=1" in self._of_sentinel(watcher)
        if lab.eventually(knows, lab.PATIENCE) is None:
            raise RuntimeError("the Sentinel does not know the replica")

    def _of_sentinel(self, port):
        run = ["redis-cli", "-p", str(port), "INFO", "sentinel"]
        return subprocess.run(run, capture_output=True, text=True, check=True, timeout=lab.PATIENCE).stdout


class Outage:
    """What happens to a Redis, and how it ends."""

    def __init__(self, name, begin, end, lasts=True, store=Redis):
        """`lasts` says whether the store is away until `end`."""
        self.name, self.begin, self.end, self.lasts, self.store = name, begin, end, lasts, store


def _fill(redis):
    redis.ask("CONFIG", "SET", "maxmemory", "1")


def _cut(redis, seconds=3):
    """Cuts all connections of clients again and again."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        redis.ask("CLIENT", "KILL", "TYPE", "normal")
        time.sleep(0.2)


def _restart(redis):
    redis.kill()
    redis.start()


OUTAGES = [
    Outage("stands still (SIGSTOP)", lambda redis: redis.signal("SIGSTOP"), lambda redis: redis.signal("SIGCONT")),
    Outage("killed, and away", Redis.kill, Redis.start),
    Outage("memory full", _fill, lambda redis: redis.ask("CONFIG", "SET", "maxmemory", "0")),
    Outage("connections cut five times a second", _cut, lambda redis: None, lasts=False),
    Outage("restarted empty", _restart, lambda redis: None, lasts=False),
    Outage("killed, and failed over by Sentinel", Redis.kill, lambda redis: None, lasts=False, store=Watched),
]
