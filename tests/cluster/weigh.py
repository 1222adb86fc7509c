"""Runs inside of an image, as root, and weighs it: prints bytes above its base, and bytes of all of it as a registry keeps it."""

import gzip
import json
import os
import tarfile
from pathlib import Path

OURS = Path("/opt/ssecast")
LEVEL = 6
"""Of gzip, as docker and buildah push."""


class Scale:
    """A file that only knows how long it is."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""


def above() -> int:
    """Of everything that is put above the base."""
    return sum(os.lstat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(OURS) for name in names)


def compressed() -> int:
    """Of all files together, without what the node mounts into the container."""
    mounted = {line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()} - {"/"}
    scale = Scale()
    with (
        gzip.GzipFile(fileobj=scale, mode="wb", compresslevel=LEVEL) as packed,
        tarfile.open(fileobj=packed, mode="w|") as archive,
    ):
        archive.add("/", arcname="", filter=lambda file: None if f"/{file.name}" in mounted else file)
    return scale.bytes


if __name__ == "__main__":
    print(json.dumps({"above": above(), "compressed": compressed()}))
