"""Writes the configurations of the gateway and its peers for a case, from the templates beside this file."""

import os
import pathlib
import re

FOLDER = pathlib.Path(__file__).resolve().parent
CERTIFICATES = FOLDER.parent.parent / "tests" / "fixtures" / "tls"

# What says that a number of requests is never reached.
MANY = 1_000_000


def fill(template, words, into):
    """Replaces the words between @, and writes the file."""
    text = (FOLDER / template).read_text()
    pathlib.Path(into).write_text(re.sub(r"@([A-Z0-9_]+)@", lambda found: str(words[found[1]]), text))


def common(folder, ports, backend_port):
    """What the templates of several programs need."""
    return {
        "FOLDER": folder,
        "BACKEND": backend_port,
        "CERTIFICATE": CERTIFICATES / "localhost.pem",
        "KEY": CERTIFICATES / "localhost.key",
        "LOG": folder / "access.log",
        # Workers of an nginx that root starts are nobody's, who may not read the folder.
        "USER": "user root;" if os.getuid() == 0 else "",
        **ports,
    }


def backend(words):
    fill("backend.conf", words | {"SMALL": "x" * 64}, words["FOLDER"] / "backend.conf")


def gateway(words, case):
    quota = {
        "admit": f'rate = "{MANY}/s"',
        "refuse": 'rate = "1/day"',
        "remember": f'rate = "1/min"\nburst = {MANY}',
    }[case.quota]
    key = "header:X-Client" if case.keyed_by_header else "client_ip"
    names = ", ".join(f'"limit_{i}"' for i in range(case.limits))
    limits = "".join(f'[limits.limit_{i}]\n{quota}\nkey = "{key}"\n\n' for i in range(case.limits))
    routes = "".join(
        f'[[routes]]\nname = "route_{i}"\npath = "/routes/{i}"\nupstream = "backend"\nlimits = [{names}]\n\n'
        for i in range(case.routes)
    )
    more = {"WORKERS": case.workers, "LIMITS": limits, "LIMIT_NAMES": names, "ROUTES": routes}
    fill("gateway.toml", words | more, words["FOLDER"] / "gateway.toml")


def nginx(words, case):
    rate, burst = {
        "admit": (f"{MANY}r/s", f" burst={MANY} nodelay"),
        "refuse": ("1r/m", ""),
        "remember": ("1r/m", f" burst={MANY} nodelay"),
    }[case.quota]
    key = "$http_x_client" if case.keyed_by_header else "$binary_remote_addr"
    # nginx remembers a client in 128 bytes at most, of a zone that it is given at the start.
    size = "256m" if case.clients > MANY // 10 else "10m"
    limits = "\n    ".join(f"limit_req_zone {key} zone=limit_{i}:{size} rate={rate};" for i in range(case.limits))
    use = " ".join(f"limit_req zone=limit_{i}{burst};" for i in range(case.limits))
    routes = "\n        ".join(
        f"location = /routes/{i} {{ {use} proxy_pass http://backend; }}" for i in range(case.routes)
    )
    more = {"WORKERS": case.workers, "LIMITS": limits, "USE_LIMITS": use, "ROUTES": routes}
    fill("nginx.conf", words | more, words["FOLDER"] / "nginx.conf")


def haproxy(words, case):
    folder = words["FOLDER"]
    period, most = {"admit": ("1s", MANY), "refuse": ("1h", 1), "remember": ("1h", MANY)}[case.quota]
    kind, key = ("string len 32", "req.hdr(x-client)") if case.keyed_by_header else ("ip", "src")
    tables = "\n".join(
        f"backend limit_{i}\n    stick-table type {kind} size 2m expire 1h store http_req_rate({period})\n"
        for i in range(case.limits)
    )
    limits = "\n    ".join(
        f"http-request track-sc{i} {key} table limit_{i}\n"
        f"    http-request deny deny_status 429 if {{ sc_http_req_rate({i},limit_{i}) gt {most} }}"
        for i in range(case.limits)
    )
    routes = ""
    if case.routes:
        (folder / "routes.map").write_text("".join(f"/routes/{i} backend\n" for i in range(case.routes)))
        routes = f"use_backend %[path,map_str({folder}/routes.map)]"
    combined = folder / "combined.pem"
    combined.write_bytes(words["CERTIFICATE"].read_bytes() + words["KEY"].read_bytes())
    more = {"WORKERS": case.workers, "TABLES": tables, "LIMITS": limits, "ROUTES": routes, "COMBINED": combined}
    fill("haproxy.cfg", words | more, folder / "haproxy.cfg")


def caddy(words, case):
    routes = "\n\t".join(
        f"handle /routes/{i} {{\n\t\treverse_proxy 127.0.0.1:{words['BACKEND']}\n\t}}" for i in range(case.routes)
    )
    fill("Caddyfile", words | {"ROUTES": routes}, words["FOLDER"] / "Caddyfile")
