"""A proxy, run with the file that docs/proxies/ shows: only addresses, ports, folders and certificates differ."""

import contextlib
import hashlib
import os
import re
import signal
import socket
import ssl
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from tests.harness import PATIENCE, until

DOCUMENTS = Path(__file__).parents[2] / "docs" / "proxies"

PUBLIC_HOST = "127.0.0.1"
POD_HOSTS = ("127.0.1.1", "127.0.1.2")
"""Pods have addresses of their own and the same ports, as in a cluster."""

STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Certificate:
    """Of the public host, from an authority of the tests' own."""

    chain: Path
    key: Path
    both: Path
    authority: Path

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the certificate, as people read it."""
        der = ssl.PEM_cert_to_DER_cert(
            self.chain.read_text().partition("-----END CERTIFICATE-----")[0] + "-----END CERTIFICATE-----"
        )
        return hashlib.sha256(der).digest().hex(":").upper()

    def context(self) -> ssl.SSLContext:
        """For clients: trusts the authority and nobody else."""
        return ssl.create_default_context(cafile=str(self.authority))


@dataclass(frozen=True, slots=True)
class Places:
    """What stands in a documented file's place of the addresses and certificates that it gives as examples."""

    public_port: int
    pod_port: int
    admin_port: int
    application_port: int
    certificate: Certificate

    @property
    def common(self) -> dict[str, str]:
        """What is written in the same way in every file."""
        return {
            "10.0.0.11:8080": f"{POD_HOSTS[0]}:{self.pod_port}",
            "10.0.0.12:8080": f"{POD_HOSTS[1]}:{self.pod_port}",
            "10.0.0.21:3000": f"127.0.0.1:{self.application_port}",
        }


class Proxy(ABC):
    """One program in front of two pods. changes: further texts to replace in its documents, such as time-outs."""

    name: ClassVar[str]
    package: ClassVar[str]
    """The line that installs it."""
    documents: ClassVar[tuple[str, ...]]
    round_robin: ClassVar[Mapping[str, str]]
    """The change that gives pods their streams by turns; as documented, the one with fewer streams gets the next."""
    short_silence: ClassVar[Mapping[str, str]]
    """The change that makes every limit on silence two seconds."""
    short_stop: ClassVar[Mapping[str, str]]
    """The change after which a reload cuts what is open within a second; none where a reload never does."""
    says_when: ClassVar[bool] = True
    """Whether every 503 of its own has a Retry-After."""

    def __init__(self, places: Places, folder: Path, changes: Mapping[str, str]) -> None:
        self.places, self.folder, self.changes = places, folder, changes
        self.binary = self.find()
        self.process: subprocess.Popen[bytes] | None = None

    @classmethod
    @abstractmethod
    def find(cls) -> str:
        """The path of the program; skips where there is none."""

    @property
    @abstractmethod
    def replaced(self) -> dict[str, str]:
        """What is replaced in this program's documents, besides the common places."""

    @property
    @abstractmethod
    def command(self) -> list[str]:
        """Runs in the foreground."""

    @property
    def environ(self) -> dict[str, str]:
        """Ours without proxies."""
        return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}

    @property
    def url(self) -> str:
        return f"https://{PUBLIC_HOST}:{self.places.public_port}"

    async def start(self) -> None:
        """Returns when connections are taken, with the certificate: a program may listen before it has read everything."""
        self.configure()
        with (self.folder / f"{self.name}.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        await until(self._listens, f"{self.name} up: {self.folder}")

    async def reload(self, places: Places) -> None:
        """Takes over other places while it runs; who calls it waits for an effect of them."""
        self.places = places
        self.configure()
        self.signal_reload()

    @abstractmethod
    def signal_reload(self) -> None:
        """Says that the configuration has changed."""

    def stop(self) -> None:
        """By SIGTERM, as a service manager would; nothing of it is left."""
        if self.process is None:
            return
        self.process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
        self.process = None

    def configure(self) -> None:
        """Writes the documents into the folder."""
        texts = {name: (DOCUMENTS / name).read_text() for name in self.documents}
        for name, text in filled(texts, self.places.common | self.replaced | dict(self.changes)).items():
            (self.folder / name).write_text(text)

    def _listens(self) -> bool:
        assert self.process is not None
        log = self.folder / f"{self.name}.log"
        assert self.process.poll() is None, f"{self.name} ended: {log.read_text()}"
        address, context = (PUBLIC_HOST, self.places.public_port), self.places.certificate.context()
        with (
            contextlib.suppress(OSError),
            socket.create_connection(address, PATIENCE) as sock,
            context.wrap_socket(sock, server_hostname=PUBLIC_HOST),
        ):
            return True
        return False


def filled(texts: Mapping[str, str], replaced: Mapping[str, str]) -> dict[str, str]:
    """The texts with every key replaced by its value, at once; each key must be there, and what it stands for with it."""
    together = "\n".join(texts.values())
    missing = [key for key in replaced if key not in together]
    assert not missing, f"not in {', '.join(texts)}: {missing}"
    pattern = re.compile("|".join(re.escape(key) for key in sorted(replaced, key=len, reverse=True)))
    return {name: pattern.sub(lambda found: replaced[found[0]], text) for name, text in texts.items()}
