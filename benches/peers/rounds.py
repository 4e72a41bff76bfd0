"""Has the proxies take turns, round by round, and collects what was measured in each turn.

A failure of one proxy ends its part in a case and makes the run a failed one; the others go on.
"""

import functools
import statistics
import sys
import time

import answers
import cases
import idle
import latency
import programs
import proxies
import report
import saturation
import wakeups


def say(text):
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Rounds:
    def __init__(self, peers, rounds, seconds, oha, folder):
        self.peers, self.rounds, self.seconds = peers, rounds, seconds
        self.oha, self.folder = oha, folder
        self.failures = []
        # Lists of saturation.Sample, by the names of case and proxy.
        self.saturated = {}
        self.started = 0
        self.backend = proxies.Backend(folder / "backend")

    def tables(self, wanted):
        """Measures what is wanted, and returns it as Markdown."""
        chosen = [case for case in cases.CASES if case.name in wanted]
        for case in chosen:
            self._saturate(case)
        names = [peer.name for peer in self.peers]
        found = [report.saturated(chosen, names, self.saturated)] if chosen else []
        if "backend" in wanted:
            found.append(self._backend_alone())
        if "latency" in wanted:
            found.append(self._latency(names))
        if "idle" in wanted:
            found.append(self._idle(names))
        if "wakeups" in wanted:
            found.append(self._wakeups())
        return "\n".join(found)

    def _attempt(self, what, *arguments):
        """What the function returns, or None when it fails."""
        try:
            return what(*arguments)
        except programs.Failure as failure:
            say(f"FAILED: {failure}")
            self.failures.append(str(failure))
            return None

    def _start(self, peer, case, wrapper=()):
        self.started += 1
        return peer(self.folder / f"{self.started}-{peer.name}", self.backend.port, case, wrapper)

    def _take_turns(self, case, warm_up, measure):
        """Lists of what `measure` returns for each proxy, by name, of those that have never failed."""
        running, samples = {}, {}

        def attempt(what, name):
            result = self._attempt(what, running[name])
            if result is None:
                running.pop(name).stop()
                samples.pop(name, None)
            return result

        try:
            for peer in self.peers:
                if not peer.cannot(case) and (proxy := self._attempt(self._start, peer, case)):
                    running[peer.name] = proxy
                    attempt(answers.check, peer.name) and attempt(warm_up, peer.name)
            for _ in range(self.rounds):
                for name in list(running):
                    if sample := attempt(measure, name):
                        samples.setdefault(name, []).append(sample)
            for name in list(running):
                attempt(saturation.all_logged, name)
        finally:
            for proxy in running.values():
                proxy.stop()
        return samples

    def _saturate(self, case):
        say(f"{case.name}: {case.what}")
        measured = self._take_turns(case, self._meet_everybody, lambda proxy: saturation.measure(proxy, self.seconds))
        self.saturated |= {(case.name, name): samples for name, samples in measured.items()}

    def _meet_everybody(self, proxy):
        """Lets a proxy run for a second, or until every client has come, before it is measured."""
        sample = saturation.measure(proxy, 1)
        if proxy.case.keyed_by_header and sample.requests < proxy.case.clients:
            saturation.measure(proxy, int(proxy.case.clients / sample.rate * 1.1) + 1)
        return sample

    def _backend_alone(self):
        say("backend: without a proxy")
        asked = [cases.named(name) for name in ("small", "64k", "1m")]
        rates = {case.what: [saturation.alone(self.backend, case, 1) for _ in range(self.rounds)] for case in asked}
        return report.alone(rates)

    def _latency(self, names):
        small = cases.named("small")
        if ("small", "nginx") not in self.saturated:
            self._saturate(small)
        if not (nginx := self.saturated.get(("small", "nginx"))):
            self.failures.append("there is no latency without the requests a second of nginx")
            return ""
        rate = int(statistics.median(sample.rate for sample in nginx) / 2)
        say(f"latency: {rate} requests a second")
        samples = self._take_turns(
            small,
            lambda proxy: latency.measure(proxy, self.oha, rate, 1),
            lambda proxy: latency.measure(proxy, self.oha, rate, self.seconds * 2),
        )
        return report.latencies(names, rate, samples)

    def _idle(self, names):
        samples = {}
        for kind in idle.KINDS:
            say(f"idle: {idle.CONNECTIONS} connections, {kind}")
            for peer in self.peers:
                start = functools.partial(self._start, peer, cases.named("small"))
                if sample := self._attempt(idle.measure, start, kind):
                    samples[peer.name, kind] = sample
        return report.idle(names, idle.KINDS, samples)

    def _wakeups(self):
        say("wakeups: two workers under strace")
        start = functools.partial(self._start, proxies.Gateway, cases.named("two-workers"))
        turns = range(self.rounds)
        found = [self._attempt(wakeups.measure, start, self.folder / f"strace-{turn}", self.seconds) for turn in turns]
        found = [value for value in found if value is not None]
        return f"Writes into an eventfd for a request, with two workers of the gateway: {report.spread(found, 4)}\n"
