"""How large the images are that the cluster has, weighed from inside: no part of a cluster tells what they take in a registry.

There each of their layers is compressed by itself, which makes a few kilobytes of difference.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from loadtest.fleet.objects import Images
from ssecast_operator.conditions import troubles_of
from tests.cluster import weigh
from tests.cluster.parts import Cluster, apply, eventually

ROOT = Path(__file__).parents[2]
ABOVE, COMPRESSED = 80_000_000, 100_000_000

pytestmark = pytest.mark.timeout(300)

each_image = pytest.mark.parametrize("folder", ["service", "operator"])


@pytest.fixture(scope="module")
def weights(cluster: Cluster) -> Mapping[str, Mapping[str, int]]:
    """By folder. Both are weighed at the same time."""
    images = {"service": Images.service, "operator": Images.operator}
    apply(cluster, *(scales(folder, image) for folder, image in images.items()))
    return {folder: weighed(cluster, f"weigh-{folder}") for folder in images}


def scales(folder: str, image: str) -> dict[str, object]:
    """As root, who may read all files."""
    container = {"name": "weigh", "image": image, "command": ["python", "-c", Path(weigh.__file__).read_text()]}
    spec = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "securityContext": {"runAsUser": 0},
        "containers": [container],
    }
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": f"weigh-{folder}"}, "spec": spec}


def weighed(cluster: Cluster, name: str) -> Mapping[str, int]:
    """What it has printed at its end; skips where the cluster lacks the image."""

    def end() -> str:
        pod = cluster.get("pod", name)
        if "Image" in " ".join(troubles_of([pod])):
            pytest.skip(f"the cluster has no {pod['spec']['containers'][0]['image']} (make images builds it)")
        return str(pod["status"]["phase"]) if pod["status"]["phase"] in ("Succeeded", "Failed") else ""

    phase = eventually(end, f"{name}'s end", 180)
    said = cluster("logs", name)
    assert phase == "Succeeded", said
    found: Mapping[str, int] = json.loads(said)
    return found


@each_image
def test_an_image_is_small(folder: str, weights: Mapping[str, Mapping[str, int]]) -> None:
    assert 0 < weights[folder]["above"] <= ABOVE
    assert 0 < weights[folder]["compressed"] <= COMPRESSED


@each_image
def test_what_is_weighed_is_all_that_stands_above_the_base(folder: str) -> None:
    """The last stage makes one layer: the folder that is weighed."""
    last = re.split(r"^FROM ", (ROOT / folder / "Dockerfile").read_text(), flags=re.MULTILINE)[-1]
    making = re.findall(r"^(?:RUN|ADD|COPY|WORKDIR) .*$", last, re.MULTILINE)
    assert making == [f"COPY --from=build {weigh.OURS} {weigh.OURS}"]
