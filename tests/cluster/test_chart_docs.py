"""The commands of the pages, typed as they stand there, on releases of the chart. Which ones: tests/docs/shares.py.

From `test_a_release_lives_by_the_pages` on the tests go from one to the next.
"""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from loadtest.fleet.objects import SECURE, SECURE_POD, Images
from tests.chart.definitions import PROMETHEUS_OPERATOR, definitions_of
from tests.cluster.desk import Desk
from tests.cluster.helm import CLAIM, RELEASE, Helm, definitions, others, volume
from tests.cluster.parts import CRD, Cluster, apply, eventually, is_ready, pods
from tests.docs.pages import Step
from tests.docs.shares import A_LIFE, QUICK_START, REMOVAL, RESTARTS, RUNBOOKS, WITHOUT_A_VOLUME
from tests.issuer import key_server, signer

pytestmark = pytest.mark.timeout(600)

OF_PODS = "--selector=ssecast.dev/broadcaster"


@contextlib.contextmanager
def desks(folder: Path, *, made: bool = True) -> Iterator[Desk]:
    """In a namespace of its own; afterwards nothing is left of what was installed there. made: whether the namespace is there
    already."""
    site = Cluster(f"ssecast-docs-{uuid.uuid4().hex[:6]}")
    helm = Helm(site)
    if made:
        site("create", "namespace", site.namespace)
    try:
        with volume(site), contextlib.closing(Desk(site, folder)) as desk:
            yield desk
    finally:
        helm.run("uninstall", RELEASE, "--ignore-not-found")
        site("delete", "namespace", site.namespace, "--ignore-not-found", "--wait=false")


def test_the_quick_start_shows_the_stream(tmp_path: Path) -> None:
    with desks(tmp_path) as desk:
        shown, tested = map(desk.follow, QUICK_START)
    assert "condition met" in shown
    assert "retry: " in shown
    assert "Succeeded" in tested


def test_a_release_without_a_volume(tmp_path: Path) -> None:
    """That such a one broadcasts is seen elsewhere."""
    (step,) = WITHOUT_A_VOLUME
    with desks(tmp_path) as desk:
        assert "deployed" in desk.follow(step)
        assert "volumeClaimTemplates" not in desk.cluster.get("statefulset", "ssecast-nats")["spec"]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with desks(tmp_path_factory.mktemp("desk"), made=False) as desk:
        yield desk


@pytest.fixture(scope="module")
def prometheus_operator(desk: Desk) -> Iterator[None]:
    """Its definitions."""
    with definitions(desk.cluster, *definitions_of(PROMETHEUS_OPERATOR)):
        yield


@pytest.mark.parametrize("step", A_LIFE, ids=[step[0].text for step in A_LIFE])
def test_a_release_lives_by_the_pages(step: Step, desk: Desk, request: pytest.FixtureRequest) -> None:
    if "monitoring" in step[0].text:
        request.getfixturevalue("prometheus_operator")
    desk.follow(step)


@pytest.mark.parametrize("page", RUNBOOKS, ids=[Path(page).stem for page in RUNBOOKS])
async def test_a_runbook_can_be_typed(page: str, desk: Desk, request: pytest.FixtureRequest) -> None:
    site = desk.cluster
    site("rollout", "status", "deployment/ssecast", "--timeout=55s")
    asked = " ".join(command.bare for step in RUNBOOKS[page] for command in step)
    if "podmonitors" in asked:
        request.getfixturevalue("prometheus_operator")
    if " top " in asked:
        metrics_of_pods(site)
    async with contextlib.AsyncExitStack() as stack:
        name = await stack.enter_async_context(keys(site)) if "jwksUrl" in asked else RELEASE
        desk.call(NS=site.namespace, NAME=name, OPNS=site.namespace, POD=ready_pod(site))
        for step in RUNBOOKS[page]:
            await asyncio.to_thread(desk.follow, step)


def metrics_of_pods(site: Cluster) -> None:
    """Waits until there are some; skips where nobody measures."""
    if "metrics.k8s.io/v1beta1" not in site("api-versions").split():
        pytest.skip("this cluster has no metrics-server")
    eventually(lambda: not site.run("top", "pods", OF_PODS).returncode, "the pods' metrics")


@contextlib.asynccontextmanager
async def keys(site: Cluster) -> AsyncIterator[str]:
    """The name of a Broadcaster that is to have no pods, and whose keys are to be had at an address of this machine."""
    async with key_server(signer()) as server:
        spec = {
            "nats": {"url": "nats://ssecast-nats:4222", "subjects": ["keys.>"]},
            "auth": {"jwksUrl": server.url},
            "scaling": {"mode": "off"},
            "replicas": 0,
        }
        body = {
            "apiVersion": "ssecast.dev/v1alpha1",
            "kind": "Broadcaster",
            "metadata": {"name": "keys"},
            "spec": spec,
        }
        apply(site, body)
        try:
            yield "keys"
            assert server.requests
        finally:
            site("delete", "broadcaster", "keys")


def ready_pod(site: Cluster) -> str:
    found = eventually(lambda: list(filter(is_ready, pods(site, RELEASE))), "a pod that is ready")
    return str(found[0]["metadata"]["name"])


def test_what_restarts_pods_leaves_a_fleet(desk: Desk) -> None:
    site = desk.cluster
    apply(site, a_test_that_failed())
    for step in RESTARTS:
        desk.call(NS=site.namespace, NAME=RELEASE, OPNS=site.namespace, POD=ready_pod(site))
        desk.follow(step)
    site("rollout", "status", "deployment/ssecast-operator", "--timeout=55s")
    # A pod that was asked for by hand stays until the autoscaler's window is over.
    eventually(lambda: len(found := pods(site, RELEASE)) >= 2 and all(map(is_ready, found)), "the fleet")
    assert site.run("get", "pod", "ssecast-test").returncode


def a_test_that_failed() -> dict[str, object]:
    """What it leaves: a pod of that name. No node has the label."""
    container = {"name": "receive", "image": Images.service, "securityContext": SECURE}
    spec = {"nodeSelector": {"ssecast.dev/here": "no"}, "securityContext": SECURE_POD, "containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ssecast-test"}, "spec": spec}


def test_nothing_is_left_after_the_last_lines(desk: Desk) -> None:
    site = desk.cluster
    uninstall, remove = REMOVAL
    desk.follow(uninstall)
    if found := others(site):
        pytest.skip(f"the definition is not removed, for others use it: {', '.join(found)}")
    desk.follow(remove)
    assert site.run("get", CRD).returncode
    assert site.run("get", "persistentvolumeclaim", CLAIM).returncode
