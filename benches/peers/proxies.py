"""The gateway and its peers: how each is started for a case, and what it cannot do."""

import os
import pathlib
import re
import shutil
import subprocess

import configs
import programs

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
GATEWAY = os.environ.get("GATEWAY_BIN") or TARGET / "release" / "gateway"


class Proxy:
    """One that runs, with the configuration of a case."""

    name = ""
    configure = None
    version_arguments = ()

    def __init__(self, folder, backend_port, case, wrapper=()):
        self.folder, self.case = pathlib.Path(folder), case
        self.folder.mkdir()
        self.ports = dict(zip(("HTTP", "HTTPS", "H2C", "ADMIN"), programs.free_ports(4)))
        words = configs.common(self.folder, self.ports, backend_port)
        type(self).configure(words, case)
        self.access_log = words["LOG"]
        self.access_log.touch()
        self._log_read = 0
        # How many requests there ought to be lines of in the access log.
        self.unlogged = 0
        first, second = programs.cores()
        arguments, environment = self.command()
        with self.access_log.open("ab") as log:
            self.program = programs.Program(
                self.name,
                [*wrapper, *arguments],
                {first} if case.workers == 1 else {first, second},
                self.folder / "errors",
                stdout=log if self.logs_to_stdout else None,
                environment=environment,
            )
        for port in self.ports.values():
            programs.wait_for(port, self.program)

    logs_to_stdout = False

    def command(self):
        """The arguments with which it stays in the foreground, and what is in its environment."""
        raise NotImplementedError

    @classmethod
    def executable(cls):
        # Debian has nginx and HAProxy where only root looks.
        return shutil.which(cls.name, path=os.environ["PATH"] + ":/usr/sbin:/usr/local/sbin")

    @classmethod
    def cannot(cls, case):
        """Why it has no part in a case, or None."""
        return None

    @classmethod
    def version(cls):
        done = subprocess.run([cls.executable(), *cls.version_arguments], capture_output=True, text=True)
        return f"{cls.name} {re.search(r'[0-9]+[.][0-9][^ ]*', done.stdout + done.stderr)[0].strip()}"

    @property
    def url(self):
        use = "HTTPS" if self.case.tls else "H2C" if self.case.http2 else "HTTP"
        return f"{'https' if self.case.tls else 'http'}://127.0.0.1:{self.ports[use]}"

    def empty_log(self):
        os.truncate(self.access_log, 0)
        self._log_read = 0

    def new_log_lines(self):
        """How many lines have come into its access log since this was last asked, or since the log was emptied."""
        lines = 0
        with self.access_log.open("rb") as log:
            log.seek(self._log_read)
            while piece := log.read(1 << 20):
                lines += piece.count(b"\n")
            self._log_read = log.tell()
        return lines

    def stop(self):
        self.program.stop()
        shutil.rmtree(self.folder)


class Gateway(Proxy):
    name = "gateway"
    configure = configs.gateway
    version_arguments = ["--version"]

    @classmethod
    def executable(cls):
        return GATEWAY if os.access(GATEWAY, os.X_OK) else None

    def command(self):
        return [GATEWAY, "--config", self.folder / "gateway.toml"], {}


class Nginx(Proxy):
    name = "nginx"
    configure = configs.nginx
    version_arguments = ["-v"]

    def command(self):
        return [self.executable(), "-e", "stderr", "-p", self.folder, "-c", self.folder / "nginx.conf"], {}


class Haproxy(Proxy):
    name = "haproxy"
    configure = configs.haproxy
    version_arguments = ["-v"]
    logs_to_stdout = True

    @classmethod
    def cannot(cls, case):
        return "HAProxy 2.6 tracks a request in three tables at most" if case.limits > 3 else None

    def command(self):
        return [self.executable(), "-db", "-f", self.folder / "haproxy.cfg"], {}


class Caddy(Proxy):
    name = "caddy"
    configure = configs.caddy
    version_arguments = ["version"]

    @classmethod
    def cannot(cls, case):
        limited = case.quota != "admit" or case.limits > 1
        return "Caddy as it is released has no rate limits; in the other cases it has none to keep" if limited else None

    def command(self):
        home = {"HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}
        arguments = [self.executable(), "run", "--adapter", "caddyfile", "--config", self.folder / "Caddyfile"]
        return arguments, home | {"GOMAXPROCS": str(self.case.workers)}


class Backend:
    """What answers behind the proxies: an nginx that does nothing else."""

    name = "the backend"

    def __init__(self, folder):
        self.folder = folder
        (folder / "bytes").mkdir(parents=True)
        for size in (65536, 1048576):
            (folder / "bytes" / str(size)).write_bytes(b"x" * size)
        [self.port] = programs.free_ports(1)
        configs.backend(configs.common(folder, {}, self.port))
        arguments = [Nginx.executable(), "-e", "stderr", "-p", folder, "-c", folder / "backend.conf"]
        self.url = f"http://127.0.0.1:{self.port}"
        self.program = programs.Program(self.name, arguments, {programs.cores()[1]}, folder / "errors")
        programs.wait_for(self.port, self.program)


PEERS = [Gateway, Nginx, Haproxy, Caddy]
