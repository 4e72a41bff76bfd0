"""The store fails in the middle of the load: does any request fail, or wait, or get more than was promised?"""

import datetime
import json
import time

import lab
import load
import steady

# A limit for each `on_error`, and one that the gateways do not share: what its requests take is what a request takes otherwise.
KINDS = ("local", "allow", "refuse", "own")
# How many clients of each limit there are, and what each may, a second and at once.
MANY, ONE = (100, 2, 10), (1, 100, 200)
# What a request may take beyond that, in milliseconds: the time that it waits for the store, and as much again.
BEYOND = 5 + 5
# A second, of all together.
REQUESTS = 2000
BEFORE, AWAY, AFTER = 6, 4, 6
# A store that fails is noticed, and one that is back is found, within this.
NOTICED = 1.5


class Durations:
    """How long requests of these kinds took in the gateway, in milliseconds, and when they came."""

    def __init__(self, paths):
        self.lines = []
        for path in paths:
            for line in map(json.loads, path.read_text().splitlines()):
                at = datetime.datetime.fromisoformat(line["time"]).timestamp()
                self.lines.append((at, line["route"], line["duration_ms"]))

    def between(self, begin, end, kinds):
        return [took for at, kind, took in self.lines if begin <= at <= end and kind in kinds]


def outage(what, crowd=MANY):
    clients, rate, burst = crowd

    def measure(table):
        limits = "".join(
            steady.limit(kind, rate, burst, f'on_error = "{kind}"' if kind != "own" else "", kind != "own")
            for kind in KINDS
        )
        redis, folder = what.store(), lab.folder()
        logs = [folder / f"{index}.log" for index in range(steady.GATEWAYS)]
        started = steady.gateways(redis, steady.GATEWAYS, limits, logs)
        plans = [load.plan(KINDS, clients, seed) for seed in range(steady.GATEWAYS)]
        times = {}

        def meanwhile(begin):
            time.sleep(max(0, begin + BEFORE - time.time()))
            times["alone before"] = steady.alone(started)
            times["begin"] = time.time()
            what.begin(redis)
            time.sleep(max(0, begin + BEFORE + AWAY - time.time()))
            times["end"] = time.time()
            what.end(redis)

        rates = [REQUESTS / steady.GATEWAYS] * steady.GATEWAYS
        events = sum(steady.run(started, BEFORE + AWAY + AFTER, rates, plans, meanwhile), [])
        up = sum(gateway.metric("gateway_shared_store_up") for gateway in started)
        # Lines are written within a second.
        time.sleep(1.5)
        name = what.name + (", one client" if clients == 1 else "")
        judge(lambda measured, *rest: table.row(f"{name}: {measured}", *rest), what, crowd, events, times, Durations(logs))
        table.row(f"{name}: gateways that ask the store again", f"{up:.0f}", steady.GATEWAYS, up == steady.GATEWAYS)

    return measure


def judge(row, what, crowd, events, times, durations):
    _, rate, burst = crowd
    begin, end = times["begin"], times["end"]
    of = {kind: [event for event in events if event.kind == kind] for kind in KINDS}
    failed = [e for kind in KINDS for e in of[kind] if e.status not in (200, 429) and (kind, e.status) != ("refuse", 503)]
    row(f"of {len(events)} requests failed", len(failed), 0, not failed)

    shared = durations.between(begin, end + NOTICED, KINDS[:3])
    own = durations.between(begin, end + NOTICED, KINDS[3:])
    bound = max(own) + BEYOND
    row(
        f"slowest of {len(shared)} from then to {NOTICED} s after, in ms (p99.9)",
        f"{max(shared):.1f} ({lab.percentile(shared, 0.999):.1f})",
        f"<= {bound:.1f}: that of a limit that is not shared, {max(own):.1f} ({lab.percentile(own, 0.999):.1f}), + {BEYOND}",
        max(shared) <= bound,
    )
    quiet = durations.between(begin - BEFORE + 1, begin, KINDS[:3])
    row("slowest before that, in ms (p99.9)", f"{max(quiet):.1f} ({lab.percentile(quiet, 0.999):.1f})")

    # More than that in any span of time would be more than twice what the rate brings, and twice the burst.
    above = max(load.most_above_rate(client, 2 * rate) for client in load.by_client(of["local"]).values())
    row(
        "local: most that a client got in any span of time above 2 · rate · T", f"{above:.1f}", f"<= 2 · burst = {2 * burst}",
        above <= 2 * burst,
    )
    if what.lasts:
        away = lambda kind: [event.status for event in of[kind] if begin + NOTICED < event.sent and event.answered < end]
        passed = away("allow")
        row("allow: refused meanwhile", passed.count(429), f"0 of {len(passed)}", 429 not in passed)
        refused = away("refuse")
        known = len(refused) - refused.count(503)
        row("refuse: not answered with 503 meanwhile", known, f"0 of {len(refused)}", known == 0)
    healthy = [e.status for e in of["refuse"] if e.answered < begin or e.sent > end + NOTICED]
    row("refuse: answered with 503 before and after", f"{healthy.count(503)} of {len(healthy)}")
    row("decided alone before", f"{times['alone before']:.0f}")
