"""What three gateways admit together, and how often they ask the store."""

import time

import lab
import load
from store import Redis

GATEWAYS = 3

# A case: so many clients, so many requests a second of all of them together, and the limit of each.
CASES = {
    "one-above": (1, 1000, 100, 200),
    "one-below": (1, 1000, 2000, 2000),
    "hundred-above": (100, 3000, 20, 40),
    "hundred-below": (100, 3000, 60, 120),
    "many-above": (10_000, 3000, 0.1, 2),
    "many-below": (10_000, 3000, 1, 60),
}

# Of a client that is alone and busy.
MOST_CALLS = 0.05
MEAN_CALLS = 0.1
LEAST_ADMITTED = 0.97


def limit(name, rate, burst, more="", shared=True):
    """A limit of each value of X-Key, and a route of its name that answers by itself."""
    per, unit = (rate, "s") if rate >= 1 else (rate * 60, "min")
    return (
        f'[limits.{name}]\nrate = "{per:.0f}/{unit}"\nburst = {burst}\nkey = "header:X-Key"\nshared = {str(shared).lower()}\n{more}\n'
        f'[[routes]]\nname = "{name}"\npath = "/{name}"\nlimits = ["{name}"]\nrespond = {{ status = 200, body = "ok" }}\n'
    )


def gateways(redis, count, limits, access_log=None):
    """Gateways that know of each other. They log requests into these files."""
    shared = f'[limiter.shared]\n{redis.settings}\nsecret = "a secret of a measurement"\n'
    logs = [f'path = "{path}"' for path in access_log or ["off"] * count]
    started = [lab.Gateway(shared + limits, access_log=log) for log in logs]
    knows = lambda: all(gateway.metric("gateway_shared_gateways") == count for gateway in started)
    if lab.eventually(knows, lab.PATIENCE) is None:
        raise RuntimeError("the gateways do not know of each other")
    return started


def run(started, seconds, rates, plans, meanwhile=lambda begin: None):
    """Loads each gateway with its rate and plan; the events of each."""
    begin = time.time() + 0.3
    senders = [
        lab.beside(load.send, gateway.port, begin, seconds, rate, plan)
        for gateway, rate, plan in zip(started, rates, plans)
    ]
    meanwhile(begin)
    return [sender.result() for sender in senders]


def calls(started, outcome=None):
    made = ["answered", "timed_out", "failed"] if outcome is None else [outcome]
    return sum(gateway.metric("gateway_shared_calls_total", outcome=name) for gateway in started for name in made)


def alone(started):
    return sum(gateway.metric("gateway_shared_alone_total") for gateway in started)


def given_up(started):
    return sum(gateway.log.read_text().count(" is down: ") for gateway in started)


class Judged:
    """What became of the requests of a limit."""

    def __init__(self, events, rate, burst):
        clients = load.by_client(events).values()
        self.count = len(events)
        self.others = sum(event.status not in (200, 429) for event in events)
        self.admitted = sum(event.status == 200 for event in events)
        self.above_rate = max(load.most_above_rate(client, rate) for client in clients)
        self.one_gateway = sum(load.one_gateway(client, rate, burst) for client in clients)
        self.time = max(event.answered for event in events) - min(event.sent for event in events)
        self.bound = len(clients) * (burst + rate * self.time)


def case(name, seconds):
    clients, demand, rate, burst = CASES[name]

    def measure(table):
        redis = Redis()
        started = gateways(redis, GATEWAYS, limit("l", rate, burst))
        plans = [load.plan(["l"], clients, seed) for seed in range(GATEWAYS)]
        scripts, begun = redis.scripts_run(), time.time()
        events = run(started, seconds, [demand / GATEWAYS] * GATEWAYS, plans)
        scripts, took = redis.scripts_run() - scripts, time.time() - begun
        judged = Judged(sum(events, []), rate, burst)
        made, alone_count = calls(started), alone(started)
        table.row(
            f"{clients} clients, {demand}/s in all, each may {rate}/s and {burst} at once: requests of {judged.time:.0f} s",
            judged.count,
            f"all answered by the limit ({judged.others} are not)",
            judged.others == 0,
        )
        table.row(
            "most that a client got in any span of time above rate · T", f"{judged.above_rate:.2f}", f"<= burst = {burst}",
            judged.above_rate <= burst,
        )
        table.row("admitted in all", judged.admitted, f"<= {judged.bound:.0f}", judged.admitted <= judged.bound)
        share = judged.admitted / judged.one_gateway
        table.row(
            "of what one gateway would admit at these times", f"{share:.2%} of {judged.one_gateway}",
            f">= {LEAST_ADMITTED:.0%}", share >= LEAST_ADMITTED,
        )
        asked = made / judged.count
        bound = MOST_CALLS if clients == 1 else None
        table.row(
            "calls a request", f"{asked:.4f} ({made:.0f} calls)", f"<= {bound}" if bound else "see the mean",
            not bound or asked <= bound,
        )
        beats = scripts - made
        most_beats = 2 * GATEWAYS * (took + 2)
        table.row(
            "scripts that Redis has run beyond these calls", f"{beats:.0f}", f"<= {most_beats:.0f}, for heartbeats",
            beats <= most_beats,
        )
        table.row(
            "with a healthy Redis: requests decided alone; calls not answered in time; times that it was given up",
            f"{alone_count:.0f} ({alone_count / judged.count:.3%}); {calls(started, 'timed_out'):.0f}; {given_up(started)}",
        )
        table.note(asked)

    return measure


def refused(seconds):
    """A client that is refused for long."""

    def measure(table):
        redis = Redis()
        started = gateways(redis, GATEWAYS, limit("l", 1 / 60, 10))
        plans = [load.plan(["l"], 1, 0)] * GATEWAYS
        run(started, 2, [100] * GATEWAYS, plans)
        before = calls(started)
        events = sum(run(started, seconds, [1000 / GATEWAYS] * GATEWAYS, plans), [])
        made, most = calls(started) - before, GATEWAYS * (seconds // 60 + 1)
        table.row(
            f"calls for {len(events)} requests of a client that is refused for {seconds} s, 1/min", f"{made:.0f}",
            f"<= {most}: one of each gateway when there is a token", made <= most,
        )

    return measure


def uneven(seconds):
    """One gateway gets most of the requests of a client: what do the others get?"""

    def measure(table):
        for rates in ([950, 25, 25], [980, 10, 10]):
            redis = Redis()
            started = gateways(redis, GATEWAYS, limit("l", 100, 200))
            events = run(started, seconds, rates, [load.plan(["l"], 1, 0)] * GATEWAYS)
            # The burst is not what is asked about.
            begin = min(event.sent for event in events[0]) + seconds / 3
            late = [[event for event in some if event.sent > begin] for some in events]
            shares = [sum(event.status == 200 for event in some) / len(some) for some in late]
            admitted = sum(event.status == 200 for some in late for event in some)
            table.row(
                f"one client, 100/s, {rates[0]} + {rates[1]} + {rates[2]} requests a second: the share that each gateway admits",
                ", ".join(f"{share:.1%}" for share in shares) + f"; {admitted / (seconds * 2 / 3):.0f}/s in all",
                "no gateway admits nothing",
                min(shares) > 0,
            )

    return measure
