"""Tables of what was measured, in Markdown: medians, with the lowest and the highest."""

import statistics

MISSING = "–"


def spread(values, digits=1, scale=1):
    """The median, and the lowest and highest where there are several."""
    values = [value * scale for value in values]
    if not values:
        return MISSING
    median = f"{statistics.median(values):,.{digits}f}"
    return median if len(values) == 1 else f"{median} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def ratios(ours, theirs):
    """What a round's pair of figures has as ratio, for all rounds."""
    return spread([one / other for one, other in zip(ours, theirs)], 2)


def table(heads, rows):
    lines = ["| " + " | ".join(heads) + " |", "| --- |" + " ---: |" * (len(heads) - 1)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows]) + "\n"


def saturated(cases, names, samples):
    """Tables of the samples of saturation.py, a list of them for each case and proxy."""

    def rows(figure):
        """A row for each case, with what `figure` makes of each proxy's samples."""
        found = ((case, [samples.get((case.name, name), []) for name in names]) for case in cases)
        return [[case.what, *(figure(each) if each else MISSING for each in of_case)] for case, of_case in found]

    def times(case, name):
        return [sample.cpu for sample in samples.get((case.name, name), [])]

    def cpu(found):
        return spread([sample.cpu for sample in found], 1, 1e-3)

    def rate(found):
        busy = statistics.median(sample.busy for sample in found)
        waiting = statistics.median(sample.waiting for sample in found)
        return f"{spread([sample.rate for sample in found], 0)}, {busy:.0%} + {waiting:.0%}"

    def memory(found):
        return spread([sample.memory for sample in found], 1, 2**-20)

    others = [name for name in names if name != "gateway"] if "gateway" in names else []
    pairs = [[ratios(times(case, "gateway"), times(case, other)) for other in others] for case in cases]
    compared = [row + more for row, more in zip(rows(cpu), pairs)]
    parts = [
        "CPU time for a request, in microseconds, and the gateway's as a multiple of the others':\n",
        table(["", *names, *(f"gateway : {other}" for other in others)], compared),
        "Requests a second, and the share of its cores' time that the proxy had + waited for:\n",
        table(["", *names], rows(rate)),
        "Memory under that load, in MiB:\n",
        table(["", *names], rows(memory)),
    ]
    return "\n".join(parts)


def alone(rates):
    """A table of the backend's requests a second, by what it is asked."""
    rows = [[what, spread(values, 0)] for what, values in rates.items()]
    return "\n".join(["Requests a second of the backend alone:\n", table(["", "backend"], rows)])


def latencies(names, rate, samples):
    """A table of the samples of latency.py, a list of them for each proxy."""
    rows = []
    for name in names:
        found = samples.get(name, [])
        if not found:
            continue
        columns = [[sample.percentiles[percentile] for sample in found] for percentile in found[0].percentiles]
        against = samples.get("nginx", [])
        p99 = ratios([sample.percentiles["p99"] for sample in found], [sample.percentiles["p99"] for sample in against])
        rows.append(
            [
                name,
                spread([sample.achieved for sample in found], 0),
                *(spread(column, 2, 1e3) for column in columns),
                p99,
            ]
        )
    title = f"Latency at {rate:,} requests a second, in milliseconds from the time at which each was due:\n"
    return "\n".join([title, table(["", "a second", "p50", "p99", "p99.9", "p99 : nginx's"], rows)])


def idle(names, kinds, samples):
    """A table of what idle.py measured: (bytes without connections, bytes for a connection) for each proxy and kind."""
    rows = []
    for name in names:
        found = [samples[name, kind] for kind in kinds if (name, kind) in samples]
        if found:
            rows.append([name, spread([before for before, _ in found], 1, 2**-20)])
            rows[-1] += [
                spread([samples[name, kind][1]], 1, 2**-10) if (name, kind) in samples else MISSING for kind in kinds
            ]
    return "\n".join(
        ["Memory without connections in MiB, and of an idle connection in KiB:\n", table(["", "without", *kinds], rows)]
    )
