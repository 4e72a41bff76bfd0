"""How often the gateway's workers wake one another: writes into an eventfd, counted by strace, for each request.

strace stops a thread at each write and at no other call (--seccomp-bpf). That still slows down whoever writes.
"""

import re

import answers
import programs
import saturation

# A write that another thread's interrupts is in the trace twice, but only once with its descriptor.
_WAKE_UP = re.compile(r"\bwrite\(\d+<anon_inode:\[eventfd\]>")


def measure(start, trace, seconds):
    """Writes into an eventfd for a request of the gateway, which `start` starts under the program that it is given."""
    proxy = start(["strace", "-f", "--seccomp-bpf", "-qq", "-y", "-e", "trace=write", "-e", "signal=none", "-o", trace])
    try:
        answers.check(proxy)
        before = _wake_ups(trace)
        requests = saturation.measure(proxy, seconds).requests
        return (_wake_ups(trace) - before) / requests
    finally:
        proxy.stop()


def _wake_ups(trace):
    lines = trace.read_text().splitlines()
    if not lines:
        raise programs.Failure("strace has seen no write at all")
    return sum(bool(_WAKE_UP.search(line)) for line in lines)
