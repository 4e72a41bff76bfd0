"""A Redis of its own, which can be stopped, filled, emptied and asked how many calls it had."""

import re
import signal
import subprocess
import time

import lab


class Redis:
    """A server on a socket in a folder of its own."""

    def __init__(self, *arguments):
        self.folder = lab.folder()
        self.socket = self.folder / "redis.sock"
        self.arguments = arguments
        self.start()

    def start(self):
        """Starts it with nothing in its memory."""
        self.socket.unlink(missing_ok=True)
        common = ["--port", "0", "--unixsocket", str(self.socket), "--save", "", "--dir", str(self.folder)]
        self.process = lab.start(["redis-server", *common, *self.arguments], self.folder / "log", "eady to accept")

    @property
    def url(self):
        return f"redis+unix://{self.socket}"

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


class Outage:
    """What happens to a Redis, and how it ends."""

    def __init__(self, name, begin, end, lasts=True):
        """`lasts` says whether the store is away until `end`."""
        self.name, self.begin, self.end, self.lasts = name, begin, end, lasts


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
]
