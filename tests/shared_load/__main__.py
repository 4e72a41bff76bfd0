"""Limits that three gateways share in a Redis, under load: is what was promised of them kept?

scripts/shared runs it. An item runs in a process of its own, which ends within its time with everything that it has started.
"""

import argparse
import multiprocessing
import sys
import time

import lab
import outages
import paired
import steady
from store import OUTAGES


class Table(lab.Table):
    """A table whose rows also leave figures for a mean over several items."""

    def __init__(self, item, figures):
        super().__init__(item)
        self.figures = figures

    def note(self, figure):
        self.figures.append(figure)


def items(seconds):
    """Each item."""
    known = {name: steady.case(name, seconds) for name in steady.CASES}
    known["refused"] = steady.refused(min(seconds, 30))
    known["uneven"] = steady.uneven(min(seconds, 15))
    known["latency"] = paired.latency
    known |= {f"outage-{number}": outages.outage(what) for number, what in enumerate(OUTAGES, 1)}
    known |= {f"outage-{number}-one": outages.outage(what, outages.ONE) for number, what in enumerate(OUTAGES, 1)}
    return known


def main():
    parser = argparse.ArgumentParser(prog="scripts/shared", description=__doc__.splitlines()[0])
    parser.add_argument("items", nargs="*", metavar="ITEM", help="all of them unless some are named")
    parser.add_argument("--seconds", type=int, default=15, help="how long a steady load lasts (%(default)s)")
    found = parser.parse_args()
    known = items(found.seconds)
    if unknown := [name for name in found.items if name not in known]:
        parser.error(f"no such item: {', '.join(unknown)}; there are {', '.join(known)}")
    fork = multiprocessing.get_context("fork")
    began = time.monotonic()
    print("| item | what is measured | value | promised | |\n| --- | --- | --- | --- | --- |", flush=True)
    with fork.Manager() as manager:
        failed, figures = fork.Value("i", 0), manager.list()
        for name in found.items or known:
            process = fork.Process(target=lab.run_item, args=(known[name], Table(name, figures), failed))
            lab.finish_within(process, 2 * found.seconds + 120, name, failed)
        if len(figures) == len(steady.CASES):
            mean, table = sum(figures) / len(figures), lab.Table("mean")
            table.row("calls a request", f"{mean:.4f}", f"<= {steady.MEAN_CALLS}", mean <= steady.MEAN_CALLS)
            failed.value += table.failed
    print(f"\n{failed.value} rows are not as they should be; it took {time.monotonic() - began:.0f} s")
    sys.exit(failed.value > 0)


main()
