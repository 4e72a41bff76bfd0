"""A limit that is shared beside one that is not, in turn on the same machine: how long do requests take?"""

import statistics

import lab
import load
import steady
from outages import Durations
from store import Redis

ROUNDS, SECONDS, RATE = 15, 3, 1000
# Of so many rounds the median of all that there could be lies between these two, the fourth and the fourth to last, in 96 of 100 cases.
BETWEEN = 3
MOST = 1.2


def latency(table):
    """Two gateways that differ in `shared` alone have turns. Nobody comes to the limit."""
    folder = lab.folder()
    paths = {shared: folder / f"{shared}.log" for shared in (False, True)}
    started = {
        shared: steady.gateways(Redis(), 1, steady.limit("l", 2000, 2000, shared=shared), [path])
        for shared, path in paths.items()
    }
    turns = {False: [], True: []}
    for number in range(ROUNDS + 1):
        for shared in (True, False) if number % 2 else (False, True):
            events = steady.run(started[shared], SECONDS, [RATE], [load.plan(["l"], 1, 0)])[0]
            turns[shared].append((min(event.sent for event in events), max(event.answered for event in events), events))
    lab.eventually(lambda: False, 1.5)
    durations = {shared: Durations([path]) for shared, path in paths.items()}

    def p99(shared, turn):
        begin, end, events = turn
        own = lab.percentile(durations[shared].between(begin, end, ["l"]), 0.99)
        return own, 1000 * lab.percentile([event.answered - event.sent for event in events], 0.99)

    # The first turns are to warm up.
    pairs = [(p99(True, shared), p99(False, own)) for shared, own in zip(turns[True][1:], turns[False][1:])]
    for index, whose in enumerate(("the gateway", "the client")):
        ratios = sorted(shared[index] / own[index] for shared, own in pairs)
        median, least, most = statistics.median(ratios), ratios[BETWEEN], ratios[-1 - BETWEEN]
        verdict = "kept" if most <= MOST else "not kept" if least > MOST else "undecided"
        figures = [statistics.median(pair[which][index] for pair in pairs) for which in (0, 1)]
        table.row(
            f"p99 by {whose} with a shared limit : with one that is not, {ROUNDS} rounds",
            f"{median:.2f} ({least:.2f}–{most:.2f}, extremes {ratios[0]:.2f}–{ratios[-1]:.2f}), {figures[0]:.2f} : {figures[1]:.2f} ms",
            f"<= {MOST}: {verdict}",
            verdict != "not kept",
        )
