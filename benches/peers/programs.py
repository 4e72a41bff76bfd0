"""Programs that run for the benchmark: started on one core, measured from /proc, and ended however the run ends."""

import functools
import os
import pathlib
import signal
import socket
import subprocess
import time

# Nothing takes so long to start or to end unless it is broken. nginx reads 10,000 locations in a few seconds.
PATIENCE = 30

_running = []


class Failure(Exception):
    """Why there is no figure."""


@functools.cache
def cores():
    """The core of the proxy, and that of everything else: of those on which this process may run when it first asks."""
    available = sorted(os.sched_getaffinity(0))
    if len(available) < 2:
        raise Failure("this takes two cores: one for the proxy, one for the load and the backend")
    return available[0], available[1]


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [sock.getsockname()[1] for sock in sockets]
    for sock in sockets:
        sock.close()
    return ports


def wait_for(port, program):
    """Waits until somebody listens there."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            program.must_run()
            if time.monotonic() > deadline:
                raise Failure(f"{program.name} does not listen") from None
            time.sleep(0.02)


class Program:
    """A process and its children, in a session of their own so that all of them can be ended."""

    def __init__(self, name, arguments, on, log, stdout=None, environment=None):
        self.name, self.log = name, pathlib.Path(log)
        with self.log.open("ab") as out:
            self.process = subprocess.Popen(
                [str(argument) for argument in arguments],
                stdin=subprocess.DEVNULL,
                stdout=stdout or out,
                stderr=out,
                env=os.environ | (environment or {}),
                start_new_session=True,
                preexec_fn=lambda: os.sched_setaffinity(0, on),
            )
        _running.append(self)

    def must_run(self):
        if self.process.poll() is not None:
            raise Failure(f"{self.name} ended with {self.process.returncode}: {self.log.read_text()[-2000:]}")

    def processes(self):
        """The process, and its children's children."""
        found = [self.process.pid]
        for pid in found:
            for children in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
                found += [int(child) for child in children.read_text().split()]
        return found

    def cpu(self):
        """Nanoseconds that its threads have been on a core, and have waited for one that was taken."""
        self.must_run()
        files = [file for pid in self.processes() for file in pathlib.Path(f"/proc/{pid}/task").glob("*/schedstat")]
        times = [file.read_text().split() for file in files]
        return sum(int(on) for on, _, _ in times), sum(int(waiting) for _, waiting, _ in times)

    def memory(self):
        """Bytes of its memory; what several of its processes share counts once (Pss)."""
        self.must_run()
        rollups = [pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.processes()]
        return sum(
            int(line.split()[1]) * 1024 for rollup in rollups for line in rollup.splitlines() if line.startswith("Pss:")
        )

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(PATIENCE / 3)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()
        if self in _running:
            _running.remove(self)


def stop_all():
    for program in reversed(_running[:]):
        program.stop()


def run(name, arguments, on, log, seconds, at=None):
    """Runs a program to its end, which has to come within these seconds, and returns what it wrote.

    `at` is a time in seconds and what to do then, if the program still runs.
    """
    pathlib.Path(log).write_bytes(b"")
    program = Program(name, arguments, on, log)
    try:
        if at:
            try:
                program.process.wait(at[0])
            except subprocess.TimeoutExpired:
                at[1]()
        status = program.process.wait(seconds)
    except subprocess.TimeoutExpired:
        raise Failure(f"{name} takes more than {seconds} seconds: {program.log.read_text()[-2000:]}") from None
    finally:
        program.stop()
    text = program.log.read_text()
    if status != 0:
        raise Failure(f"{name} ended with {status}: {text[-2000:].strip()}")
    return text
