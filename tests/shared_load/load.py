"""Requests at a steady rate, each with the time at which it was sent and answered, and what follows of a limit from them."""

import collections
import random
import select
import socket
import time

# An answer takes longer than this only if something is broken.
PATIENCE = 10

Event = collections.namedtuple("Event", "kind client sent answered status")


def send(port, begin, seconds, rate, plan):
    """Sends `rate` requests a second from `begin` on, however long the answers take. `plan` are the requests, each a kind and a
    client, and is gone through again and again. A kind is the path. Returns an event for each; the status of one that failed is 0.

    `sent` is before the request leaves, `answered` after the answer has come, by the clock that the store has too."""
    address = ("127.0.0.1", port)
    poll = select.epoll()
    free, busy, events = [], {}, []
    count = int(rate * seconds)
    texts = [f"GET /{kind} HTTP/1.1\r\nHost: a\r\nX-Key: c{client}\r\n\r\n".encode() for kind, client in plan]
    at = 0
    while at < count or busy:
        now = time.time()
        while at < count and begin + at / rate <= now:
            if free:
                link = free.pop()
            else:
                link = socket.create_connection(address)
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                poll.register(link, select.EPOLLIN)
            index = at % len(plan)
            busy[link.fileno()] = [link, index, time.time(), b""]
            link.sendall(texts[index])
            at += 1
        if at == count and now > begin + seconds + PATIENCE:
            break
        wait = begin + at / rate - time.time() if at < count else 0.1
        for number, _ in poll.poll(max(0, wait)):
            if number not in busy:
                # The gateway has closed an idle connection.
                closed = next(link for link in free if link.fileno() == number)
                poll.unregister(closed)
                free.remove(closed)
                continue
            link, index, sent, before = busy[number]
            try:
                data = link.recv(65536)
            except OSError:
                data = b""
            text = before + data
            if data and not _is_whole(text):
                busy[number][3] = text
                continue
            del busy[number]
            status = int(text[9:12]) if data else 0
            events.append(Event(*plan[index], sent, time.time(), status))
            if data:
                free.append(link)
            else:
                poll.unregister(link)
    events += [Event(*plan[index], sent, time.time(), 0) for _, index, sent, _ in busy.values()]
    return events


def _is_whole(text):
    head, end, body = text.partition(b"\r\n\r\n")
    if not end:
        return False
    length = head.lower().rpartition(b"content-length:")[2].split(b"\r\n")[0]
    return len(body) >= int(length)


def plan(kinds, clients, seed):
    """Each client as often as any other, in an order of its own for each gateway."""
    requests = [(kind, client) for kind in kinds for client in range(clients)]
    random.Random(seed).shuffle(requests)
    return requests


def by_client(events):
    clients = collections.defaultdict(list)
    for event in events:
        clients[event.kind, event.client].append(event)
    return clients


def most_above_rate(events, rate):
    """The most that was admitted in any span of time above what the rate brings in it. No promise is broken as long as it is at most
    the burst. An event that may lie outside of a span, since its time is only known from when it was sent to when it was answered,
    is not counted as inside."""
    admitted = [event for event in events if event.status == 200]
    begins, ends = sorted(event.sent for event in admitted), sorted(event.answered for event in admitted)
    most, least, at = 0.0, float("inf"), 0
    for done, end in enumerate(ends, 1):
        while at < len(begins) and begins[at] <= end:
            least = min(least, at - rate * begins[at])
            at += 1
        most = max(most, done - rate * end - least)
    return most


def one_gateway(events, rate, burst):
    """How many of these requests of one client a bucket would admit that all of them come to when they are sent."""
    tokens, last, admitted = float(burst), None, 0
    for sent in sorted(event.sent for event in events):
        if last is not None:
            tokens = min(burst, tokens + (sent - last) * rate)
        last = sent
        if tokens >= 1:
            tokens -= 1
            admitted += 1
    return admitted
