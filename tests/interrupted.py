"""A long command that somebody ends with Ctrl-C."""

import signal
import subprocess
from pathlib import Path

from loadtest.bench.peers import ROOT
from loadtest.bench.processes import family


def leaves_nothing_behind(command: list[str], results: Path, *, begun: str, processes: int) -> None:
    """Interrupted as soon as it says that it has begun, when it has started so many processes at least: it ends them and
    says so, and there are no results."""
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert any(begun in line for line in process.stderr)
        _, *started = family(process.pid)
        assert len(started) >= processes
        process.send_signal(signal.SIGINT)
        said = process.communicate()[1]
    assert process.returncode == 1
    assert "interrupted" in said
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]
    assert not list(results.iterdir())
