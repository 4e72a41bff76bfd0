"""Sends a fixed number of requests a second, evenly, and says how long after each was due its answer was there.

oha does it, with --latency-correction. For example, a proxy that stops for 100 ms at 10,000 requests a second delays
1,000 of them, and each is counted from the time at which it was due. wrk would not have sent them: its 64 connections
ask again when they have been answered, so it would see 64 slow answers.

A timer that wakes each millisecond hands out what is due, so requests come in crowds: at 10,000 a second ten at a
time.
"""

import json
from dataclasses import dataclass

import programs
import saturation

PERCENTILES = ("p50", "p99", "p99.9")


@dataclass
class Sample:
    achieved: float  # requests a second
    percentiles: dict  # seconds


def measure(proxy, oha, rate, seconds):
    arguments = [
        oha,
        "--no-tui",
        "--output-format",
        "json",
        "--latency-correction",
        "--wait-ongoing-requests-after-deadline",
    ]
    arguments += [
        "-q",
        rate,
        "-z",
        f"{seconds}s",
        "-c",
        saturation.CONNECTIONS,
        "-t",
        "10s",
        proxy.url + proxy.case.path,
    ]
    result = json.loads(programs.run("oha", arguments, {programs.cores()[1]}, proxy.folder / "oha", seconds + 30))
    statuses, errors = result["statusCodeDistribution"], result["errorDistribution"]
    if set(statuses) != {"200"} or errors:
        raise programs.Failure(f"{proxy.name}, latency: answers {statuses}, errors {errors}")
    achieved = statuses["200"] / result["summary"]["total"]
    return Sample(achieved, {name: result["latencyPercentiles"][name] for name in PERCENTILES})
