"""The programs that are tried, what is read of them, and the table of what came of it."""

import multiprocessing
import os
import pathlib
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

GATEWAY = os.environ["GATEWAY_BIN"]
MOCK = os.environ["MOCK_BIN"]

# Nothing takes this long to start unless it is broken.
PATIENCE = 20

_running = []
_folders = []


def stop_all():
    """Ends whatever this process has started."""
    for process in _running:
        process.kill()
        process.wait()
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)


def run_item(item, table, failed):
    """Tries an item in a process of its own, which ends with everything that it has started."""
    os.setsid()
    # An item that is ended from outside takes what it has started with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    try:
        item(table)
    except Exception as error:  # Whatever it is, the other items are still to be tried.
        table.row("it could not be tried", repr(error), ok=False)
        traceback.print_exc()
    finally:
        stop_all()
    failed.value += table.failed


def finish_within(process, seconds, name, failed):
    """Starts the process of the item with this name, and ends it when its time is over."""
    process.start()
    process.join(seconds)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()
        Table(name).row("it could not be tried", f"it took more than {seconds} s", ok=False)
        failed.value += 1


def folder():
    """A folder that goes when the item has ended."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="hostile-"))
    _folders.append(path)
    return path


class Table:
    """Prints a row for each thing that is measured."""

    def __init__(self, item):
        self.item = item
        self.failed = 0

    def row(self, measured, value, wanted="", ok=True):
        """`ok` says whether the value is as it should be."""
        self.failed += not ok
        text = str(value).replace("|", "\\|").replace("\n", " ")
        print(f"| {self.item} | {measured} | {text} | {wanted} | {'' if ok else 'NO'} |", flush=True)


def start(arguments, log, ready, nofile=None, env=None):
    """Starts a program, and waits until its log says that it is ready."""

    def bound():
        if nofile:
            resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))

    with log.open("wb") as out:
        environment = {**os.environ, **(env or {})}
        process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=bound, env=environment
        )
    _running.append(process)
    deadline = time.monotonic() + PATIENCE
    while ready and ready not in log.read_text(errors="replace"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"{arguments[0]} does not start: {log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.01)
    return process


class Mock:
    """The mock backend: HTTP/1.1 and HTTP/2."""

    def __init__(self):
        log = folder() / "log"
        self.process = start([MOCK, "--listen", "127.0.0.1:0"], log, "listening on")
        self.port = int(re.search(r"127\.0\.0\.1:(\d+)", log.read_text())[1])


class Gateway:
    """A gateway. `routes` are its upstreams, limits and routes; `server` are more keys of `[server]`."""

    def __init__(self, routes, server="", admin="", access_log='path = "off"', nofile=None, env=None):
        self.folder = folder()
        self.config = self.folder / "gateway.toml"
        self.config.write_text(
            f'[server]\nlisten = "127.0.0.1:0"\nthreads = 2\n{server}\n'
            f'[admin]\nlisten = "127.0.0.1:0"\n{admin}\n[access_log]\n{access_log}\n{routes}'
        )
        self.log = self.folder / "log"
        self.process = start([GATEWAY, "--config", str(self.config)], self.log, "] ready\n", nofile, env)
        text = self.log.read_text()
        self.port = int(re.search(r"listening on http://127\.0\.0\.1:(\d+)", text)[1])
        self.side = int(re.search(r"side port on http://127\.0\.0\.1:(\d+)", text)[1])

    def side_port(self, path):
        """What the side port answers. It may take its time while the gateway is under attack."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.side}{path}", timeout=5) as answer:
            return answer.read().decode()

    def metric(self, name, **labels):
        """The sum of a metric over all series with these labels."""
        total = 0.0
        for line in self.side_port("/metrics").splitlines():
            series, _, value = line.rpartition(" ")
            if series.split("{")[0] == name and all(f'{key}="{text}"' in series for key, text in labels.items()):
                total += float(value)
        return total

    def in_flight(self):
        return int(self.metric("gateway_requests_in_flight"))

    def connections(self):
        return int(self.metric("gateway_connections"))

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def memory(self):
        """Resident bytes."""
        return int(re.search(r"VmRSS:\s+(\d+)", pathlib.Path(f"/proc/{self.process.pid}/status").read_text())[1]) * 1024

    def cpu(self):
        """Seconds of CPU so far."""
        fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def alive(self):
        return self.process.poll() is None


class Watcher:
    """Looks at a gateway several times a second, and remembers the most of everything."""

    def __init__(self, gateway):
        self.gateway = gateway
        self.in_flight = self.descriptors = self.memory = 0

    def look(self):
        self.descriptors = max(self.descriptors, self.gateway.descriptors())
        self.memory = max(self.memory, self.gateway.memory())
        try:
            self.in_flight = max(self.in_flight, self.gateway.in_flight())
        except OSError:
            pass  # The side port is not what is measured.

    def until(self, ended, every=0.25):
        while not ended():
            self.look()
            time.sleep(every)
        self.look()


def beside(function, *arguments):
    """Runs a function in a process beside this one: an attack is not to slow down what measures it. Returns how to wait for its
    result."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work():
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        sender.send(function(*arguments))

    process = context.Process(target=work, daemon=True)
    process.start()
    sender.close()

    class Beside:
        def ended(self):
            return not process.is_alive()

        def result(self):
            try:
                return receiver.recv()
            finally:
                process.join()

    return Beside()


def paced(seconds, rate):
    """Counts up from 1, `rate` a second, for so many seconds."""
    number, began = 0, time.monotonic()
    while (elapsed := time.monotonic() - began) < seconds:
        if number > rate * elapsed:
            time.sleep(0.001)
            continue
        number += 1
        yield number


def check(text):
    """What `gateway check` says of a config, its exit status, and how long it took."""
    config = folder() / "gateway.toml"
    config.write_text(text)
    began = time.monotonic()
    done = subprocess.run([GATEWAY, "check", "--config", str(config)], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr, done.returncode, time.monotonic() - began


def to(port, upstream="", route="", more=""):
    """Everything goes to this server, in the clear, and `/health` is answered by the gateway itself."""
    return (
        f'{more}\n[upstreams.main]\nservers = ["127.0.0.1:{port}"]\n{upstream}\n'
        f'[[routes]]\nname = "health"\npath = "/health"\nrespond = {{ status = 200, body = "ok" }}\n'
        f'[[routes]]\nname = "all"\npath = "/*"\nupstream = "main"\n{route}\n'
    )


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def eventually(true, seconds):
    """Waits until it is true; how long that took, or None."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if true():
            return time.monotonic() - began
        time.sleep(0.05)
    return None
