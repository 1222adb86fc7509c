"""The commands of an example's README, run as printed but for ports, and what the pod beside them is told."""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tests.harness import PATIENCE, Pod, free_port, until

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
FOLDERS = sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))


class Example:
    """A folder of examples, with ports of this test in the place of those that its README prints."""

    def __init__(self, folder: str, nats_url: str, home: Path) -> None:
        """home: where its commands run, if not in the checkout: for files that they make."""
        self.text = (EXAMPLES / folder / "README.md").read_text()
        self.page_port = free_port()
        self.home = home
        self.nats_url = nats_url
        self.pod: Pod | None = None

    @property
    def page(self) -> str:
        return f"http://127.0.0.1:{self.page_port}"

    @property
    def lines(self) -> list[str]:
        """Every line of its shell blocks."""
        return [line for block in re.findall(r"```sh\n(.*?)```", self.text, re.DOTALL) for line in block.splitlines()]

    def line(self, *words: str) -> str:
        """The one line with these words, ready to be run here."""
        (found,) = [line for line in self.lines if all(word in line for word in words)]
        return self.here(found)

    def here(self, line: str) -> str:
        ports = {"8000": self.page_port} | ({"8080": self.pod.port} if self.pod else {})
        for printed, ours in ports.items():
            line = re.sub(rf"\b{printed}\b", str(ours), line)
        return line.replace(".venv/bin/", f"{Path(sys.executable).parent}/")

    @property
    def settings(self) -> dict[str, str]:
        """What its line with `ssecast dev` says, for a pod of ours."""
        line = self.line("ssecast dev")
        given = {name.lower(): value for name, value in re.findall(r"SSECAST_(\w+)=(\S+)", line)}
        subjects = re.search(r"--subjects '(.*?)'", line)
        return given | ({"subjects": subjects[1]} if subjects else {})

    @property
    def environ(self) -> dict[str, str]:
        pod = {"STREAMS_URL": self.pod.url} if self.pod else {}
        return os.environ | {"NATS_URL": self.nats_url, "PYTHONPATH": str(ROOT)} | pod

    async def run(self, line: str) -> str:
        """What a command prints; it must succeed."""
        process = await asyncio.create_subprocess_shell(
            line, cwd=self.home, env=self.environ, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == 0, err.decode()
        return out.decode()

    @contextlib.asynccontextmanager
    async def running(self, line: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A command that goes on until the block ends."""
        process = await asyncio.create_subprocess_shell(
            f"exec {line}", cwd=self.home, env=self.environ | environ, stdout=asyncio.subprocess.PIPE
        )
        try:
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGINT)
            await asyncio.wait_for(process.communicate(), PATIENCE)

    @contextlib.asynccontextmanager
    async def serving(self, line: str, **environ: str) -> AsyncIterator[None]:
        """The same for a command that serves the page, once it does."""
        async with self.running(line, **environ) as process:

            async def answers() -> bool:
                assert process.returncode is None, "it ended"
                with contextlib.suppress(OSError):
                    _, writer = await asyncio.open_connection("127.0.0.1", self.page_port)
                    writer.close()
                    return True
                return False

            await until(answers, f"the server of: {line}")
            yield
