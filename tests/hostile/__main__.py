"""Hostile clients and upstreams against the gateway, each bounded in time and number, on loopback alone.

scripts/hostile runs it. An item runs in a process of its own, which ends within its time with everything that it has started.
"""

import multiprocessing
import sys
import time

import abandoned
import budgets
import lab
import limits
import memory
import passing
import running

# Each item, and how many seconds it may take.
ITEMS = {
    "A1": (passing.ends_of_messages, 40),
    "A2": (passing.padded_keys, 20),
    "A3": (passing.field_names, 15),
    "A4": (passing.spoilt_identity, 10),
    "A5": (passing.secrets, 15),
    "A7": (passing.named_costs, 10),
    "B9": (abandoned.abandoned_requests, 90),
    "B10": (abandoned.blocked_bodies, 60),
    "B11": (budgets.few_descriptors, 30),
    "B12": (budgets.shared_connections, 60),
    "B13": (abandoned.lingering_sockets, 15),
    "B14": (memory.stalled_downloads, 60),
    "B15": (running.tunnels, 30),
    "B16": (running.long_log_lines, 25),
    "B17": (running.early_signal, 20),
    "B18": (limits.key_flood, 40),
    "B19": (limits.long_lists, 90),
}


def main():
    wanted = sys.argv[1:] or list(ITEMS)
    unknown = [name for name in wanted if name not in ITEMS]
    if unknown:
        sys.exit(f"no such item: {', '.join(unknown)}; there are {', '.join(ITEMS)}")
    fork = multiprocessing.get_context("fork")
    failed = fork.Value("i", 0)
    began = time.monotonic()
    print("| item | what is measured | value | should be | |\n| --- | --- | --- | --- | --- |", flush=True)
    for name in wanted:
        item, patience = ITEMS[name]
        process = fork.Process(target=lab.run_item, args=(item, lab.Table(name), failed))
        lab.finish_within(process, patience, name, failed)
    print(f"\n{failed.value} rows are not as they should be; it took {time.monotonic() - began:.0f} s")
    sys.exit(failed.value > 0)


main()
