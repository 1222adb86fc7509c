"""Where somebody sits who types what a page says, with a cluster at hand."""

import json
import os
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.cluster.parts import Cluster
from tests.docs.pages import Command, Step
from tests.docs.terminal import Terminal
from tests.harness import free_port

ENDLESS = re.compile(r"\bcurl .*/events\b")
SILENT = re.compile(r"^\w+=|\| grep ")
INSTALL = "helm install ssecast charts/ssecast"

FILLED = {
    INSTALL: f"{INSTALL} --values charts/ssecast/ci/local-images-values.yaml",
    "NAME-adapter-rule": "ssecast-adapter-rule",
    "pod NAME": 'pod "$POD"',
    "--replicas=20": "--replicas=3",
}
"""What stands here for what somebody would choose."""


class Desk:
    """A terminal whose kubectl begins with one namespace.

    In the place of what the pages print stand this namespace, ports that are free here, and what docs/install.md says of a
    version that is not released: the images of a checkout.
    """

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self.cluster = cluster
        self._ports = {printed: free_port() for printed in ("8080", "8081", "9090")}
        config = json.loads(cluster("config", "view", "--raw", "--flatten", "--minify", "--output=json"))
        config["contexts"][0]["context"]["namespace"] = cluster.namespace
        (folder / "kubeconfig").write_text(json.dumps(config))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self._terminal = Terminal(os.environ | {"KUBECONFIG": str(folder / "kubeconfig"), "PATH": path})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._terminal.close()

    def call(self, **names: str) -> None:
        """Gives the names that the runbooks use."""
        for name, value in names.items():
            self._terminal.type(f"{name}={shlex.quote(value)}")

    def follow(self, step: Step) -> str:
        """Types all of a step but what needs more than a cluster, and says what it printed; ends what goes on by itself."""
        try:
            return "\n".join([self._type(command) for command in step if not command.needs])
        finally:
            self._terminal.rest()

    def _type(self, command: Command) -> str:
        bare = self._here(command.bare)
        if bare.endswith(" &"):
            return self._terminal.watch(bare.removesuffix(" &"), "Forwarding from")
        if ENDLESS.search(bare):
            return self._terminal.watch(bare, "event: position")
        printed = self._terminal.type(self._here(command.text))
        assert printed or SILENT.search(bare), f"{bare} prints nothing"
        return printed

    def _here(self, text: str) -> str:
        return here(text, self.cluster.namespace, self._ports)


def here(text: str, namespace: str, ports: Mapping[str, int]) -> str:
    """A command with what stands here in the place of what the page prints."""

    def tunnel(found: re.Match[str]) -> str:
        return f"{found[1]}{ports[found[2]]}:{found[3] or found[2]}"

    text = re.sub(r"(port-forward \S+ )(\d+)(?::(\d+))?", tunnel, text)
    text = re.sub(r"127\.0\.0\.1:(\d+)", lambda found: f"127.0.0.1:{ports[found[1]]}", text)
    text = re.sub(r"(namespaces?[ /])ssecast\b", rf"\g<1>{namespace}", text)
    for printed, ours in FILLED.items():
        text = text.replace(printed, ours)
    return text
