"""The limiter under keys without number, and lists without end."""

import ipaddress
import time

import lab
import wire


def flood(port, seconds, number, rate):
    """Requests with a new key each: how many."""
    sent, began = 0, time.monotonic()
    client = wire.connect(port)
    while (elapsed := time.monotonic() - began) < seconds:
        if sent > rate * elapsed:
            time.sleep(0.001)
            continue
        keys = range(sent, sent + 250)
        client.sendall(b"".join(b"GET /a HTTP/1.1\r\nHost: a\r\nX-Api-Key: %d-%d\r\n\r\n" % (number, key) for key in keys))
        answers = 0
        while answers < 250:
            piece = client.recv(1 << 20)
            if not piece:
                return sent
            answers += piece.count(b"HTTP/1.1 ")
        sent += 250
    return sent


def key_flood(table):
    """More new keys than a table holds, and clients with a key each that come meanwhile."""
    limit = '[limits.by_key]\nrate = "6/min"\nburst = 2\nkey = "header:X-Api-Key"\nmax_clients = 100000\nfields = false\n'
    route = '[[routes]]\nname = "a"\npath = "/a"\nrespond = { status = 200 }\nlimits = ["by_key"]\n'
    gateway = lab.Gateway(limit + route)
    newcomer = iter(range(1, 250))

    def refused():
        count = 0
        for _ in range(40):
            number = next(newcomer)
            answer = wire.get(gateway.port, "/a", b"X-Api-Key: innocent%d\r\n" % number, source=f"127.0.1.{number}")
            count += wire.status(answer) != 200
            time.sleep(0.01)
        return count

    before = refused()
    attacks = [lab.beside(flood, gateway.port, 10, number, 20000) for number in range(2)]
    time.sleep(7)
    during = refused()
    sent = sum(attack.result() for attack in attacks)
    table.row("new keys a second from one address, a table of 100,000", sent // 10)
    table.row("of 40 newcomers before, refused", before, 0, before == 0)
    table.row("during", during, 0, during == 0)
    after = refused()
    table.row("at once after", after, 0, after == 0)
    time.sleep(3)
    later = refused()
    table.row("3 s after", later, 0, later == 0)


def networks(count):
    first = int(ipaddress.ip_address("11.0.0.0"))
    return ", ".join(f'"{ipaddress.ip_address(first + 256 * number)}/24"' for number in range(count))


def cost(gateway, fields=b""):
    """Microseconds of CPU that a request costs, and requests a second, on one connection."""
    batch = (b"GET /a HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n") * 100
    client = wire.connect(gateway.port)

    def ask(batches):
        for _ in range(batches):
            client.sendall(batch)
            answers = 0
            while answers < 100:
                answers += client.recv(1 << 20).count(b"HTTP/1.1 200")

    ask(20)
    cpu, began = gateway.cpu(), time.monotonic()
    ask(200)
    return (gateway.cpu() - cpu) / 20000 * 1e6, 20000 / (time.monotonic() - began)


def long_lists(table):
    """Overrides, exempt networks, and trusted proxies by the ten thousand."""
    limit = '[limits.by_client]\nrate = "1000000/s"\nburst = 1000000\n'
    route = '[[routes]]\nname = "a"\npath = "/a"\nrespond = { status = 200 }\nlimits = ["by_client"]\n'
    for count in [10_000, 100_000]:
        first = int(ipaddress.ip_address("11.0.0.0"))
        overrides = "".join(f'"{ipaddress.ip_address(first + number)}" = "unlimited"\n' for number in range(count))
        said, code, took = lab.check(f'{limit}[limits.by_client.overrides]\n{overrides}{route}')
        bound = 10 * count / 100_000
        ok = code == 0 and took <= max(bound, 1)
        table.row(f"check with {count:,} overrides, s", f"{took:.2f}" if code == 0 else said[:80], "linear", ok)
    plain, rate = cost(lab.Gateway(limit + route))
    table.row("a request without lists, µs of CPU", f"{plain:.1f} ({rate:,.0f}/s)")
    exempt = limit + f"exempt = [{networks(10_000)}]\n"
    with_exempt, rate = cost(lab.Gateway(exempt + route))
    shown = f"{with_exempt:.1f} ({rate:,.0f}/s)"
    table.row("with 10,000 exempt networks", shown, "at most 10 more", with_exempt <= plain + 10)
    gateway = lab.Gateway(limit + route, server=f"trusted_proxies = [{networks(10_000)}]")
    with_proxies, rate = cost(gateway, b"X-Forwarded-For: 192.0.2.1, 11.0.1.1\r\n")
    shown = f"{with_proxies:.1f} ({rate:,.0f}/s)"
    table.row("with 10,000 trusted proxies", shown, "at most 10 more", with_proxies <= plain + 10)
