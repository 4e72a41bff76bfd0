"""Keeps a proxy as busy as can be for some seconds: wrk, which is the fastest to speak HTTP/1.1, and h2load for HTTP/2.

Each connection asks again as soon as it has been answered. What is measured is how many requests that makes a second,
and how long the proxy's threads were on a core for each of them, in user space and in the kernel.
"""

import re
import time
from dataclasses import dataclass

import configs
import programs

CONNECTIONS = 64
STREAMS = 8

# A bucket with a quota of one request may refill once or twice while this runs.
REFILLED = 3


@dataclass
class Sample:
    requests: int
    cpu: float  # nanoseconds for a request
    rate: float  # requests a second
    busy: float  # the share of its cores' time that the proxy had
    waiting: float  # the share in which it waited, since another program had the core
    memory: int  # bytes, in the middle of the run


def measure(proxy, seconds):
    """A sample of the proxy, or a failure when not every answer is as the case says."""
    case = proxy.case
    memory = []
    all_logged(proxy)
    before, began = proxy.program.cpu(), time.monotonic()
    load = _h2load if case.http2 else _wrk
    requests, as_expected, rate = load(proxy, seconds, (seconds * 0.7, lambda: memory.append(proxy.program.memory())))
    after, elapsed = proxy.program.cpu(), (time.monotonic() - began) * 1e9
    cpu, waited = (later - earlier for later, earlier in zip(after, before))
    wrong = requests - as_expected
    if requests == 0:
        raise programs.Failure(f"{proxy.name}, {case.name}: no answer came in {seconds} seconds")
    if wrong > (REFILLED if case.status != 200 else 0):
        raise programs.Failure(f"{proxy.name}, {case.name}: {wrong} of {requests} answers are not as they should be")
    proxy.unlogged = requests
    return Sample(
        requests=requests,
        cpu=cpu / requests,
        rate=rate,
        busy=cpu / elapsed / case.workers,
        waiting=waited / elapsed / case.workers,
        memory=memory[0] if memory else proxy.program.memory(),
    )


def alone(backend, case, seconds):
    """Requests a second of the backend, asked without a proxy."""
    backend.case = case
    return _wrk(backend, seconds, None)[2]


def all_logged(proxy):
    """Fails unless the requests of the last measurement are in the access log, which is then emptied.

    They are looked for when their turn is long over, since logs are written in pieces, up to a second later.
    """
    deadline = time.monotonic() + 5
    logged = 0
    while (logged := logged + proxy.new_log_lines()) < proxy.unlogged:
        if time.monotonic() > deadline:
            raise programs.Failure(
                f"{proxy.name}, {proxy.case.name}: {logged} of {proxy.unlogged} requests are in the access log"
            )
        time.sleep(0.1)
    proxy.unlogged = 0
    proxy.empty_log()
    return logged


def _wrk(proxy, seconds, at):
    """How many requests, how many answers of the status that they should have, and requests a second."""
    case = proxy.case
    arguments = ["wrk", "-t", 1, "-c", CONNECTIONS, "-d", f"{seconds}s", "--timeout", "10s"]
    arguments += ["-H", "Connection: close"] if case.close else []
    varying = ["routes", case.routes] if case.routes else ["clients", case.clients] if case.keyed_by_header else []
    arguments += ["-s", configs.FOLDER / "requests.lua"] if varying else []
    arguments += [proxy.url + case.path] + (["--", *varying] if varying else [])
    text = programs.run("wrk", arguments, {programs.cores()[1]}, proxy.folder / "wrk", seconds + 20, at)
    errors = re.search(r"Socket errors: (.*)", text)
    if errors and re.search(r"[1-9]", errors[1]):
        raise programs.Failure(f"{proxy.name}, {case.name}: {errors[0]}")
    total = int(re.search(r"(\d+) requests in ", text)[1])
    rate = float(re.search(r"Requests/sec: *([\d.]+)", text)[1])
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
    refused = int(refused[1]) if refused else 0
    return total, total - refused if case.status == 200 else refused, rate


def _h2load(proxy, seconds, at):
    arguments = [
        "h2load",
        "-t",
        1,
        "-c",
        CONNECTIONS // STREAMS,
        "-m",
        STREAMS,
        "-D",
        seconds,
        proxy.url + proxy.case.path,
    ]
    text = programs.run("h2load", arguments, {programs.cores()[1]}, proxy.folder / "h2load", seconds + 20, at)
    done, failed, errored = re.search(r"(\d+) done, \d+ succeeded, (\d+) failed, (\d+) errored", text).groups()
    if int(failed) + int(errored):
        raise programs.Failure(
            f"{proxy.name}, {proxy.case.name}: {failed} requests failed, {errored} of them by errors"
        )
    right = re.search(r"status codes: (\d+) 2xx", text)[1]
    return int(done), int(right), int(done) / seconds
