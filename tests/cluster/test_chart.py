"""The chart in a real cluster, from the first install to the last trace, where pods must be `restricted`.

The tests of this module go from one to the next: they are what a release lives through.
"""

import asyncio
import json
import time
import uuid
from collections.abc import Callable, Iterator

import pytest
import yaml

from charts.make.__main__ import K8S
from charts.make.engine import objects
from tests.chart.parts import APIS, SCENARIOS, values
from tests.cluster.helm import (
    CHART,
    CLAIM,
    RELEASE,
    Browsers,
    Helm,
    Publishing,
    available,
    images,
    node,
    others,
    pod_uids,
    receive,
    tunnel,
    volume,
)
from tests.cluster.parts import Cluster, eventually, pods, ready

pytestmark = pytest.mark.timeout(900)

CRD = "customresourcedefinition/broadcasters.ssecast.dev"
STREAMS = 100


@pytest.fixture(scope="module")
def site() -> Iterator[Cluster]:
    """A namespace of its own in which only what Pod Security calls restricted may run."""
    found = Cluster(f"ssecast-chart-{uuid.uuid4().hex[:6]}")
    found("create", "namespace", found.namespace)
    found("label", "namespace", found.namespace, "pod-security.kubernetes.io/enforce=restricted")
    try:
        with volume(found):
            yield found
    finally:
        found("delete", "namespace", found.namespace, "--wait=false")


@pytest.fixture(scope="module")
def helm(site: Cluster) -> Iterator[Helm]:
    """Afterwards nothing is left of the release, in the cluster neither."""
    running = Helm(site)
    yield running
    running.run("uninstall", RELEASE, "--ignore-not-found")


def test_a_missing_secret_is_told_before_anything_is_made(helm: Helm, site: Cluster) -> None:
    spec = {"auth": {"keySecret": {"name": "no-such-secret", "key": "key.pem"}}}
    refused = helm.run("install", RELEASE, str(CHART), given=images() | {"broadcaster": {"spec": spec}})
    assert refused.returncode
    assert (
        f'broadcaster.spec.auth.keySecret names the Secret "no-such-secret", which does not exist in namespace '
        f'"{site.namespace}": create it first.'
    ) in refused.stderr
    assert (
        not site("get", "all,configmaps,leases,networkpolicies", "--output=name")
        .replace("configmap/kube-root-ca.crt", "")
        .strip()
    )


def test_a_secret_without_the_key_is_told_with_those_that_it_has(helm: Helm, site: Cluster) -> None:
    site("create", "secret", "generic", "keys", "--from-literal=other.pem=x")
    spec = {"auth": {"keySecret": {"name": "keys", "key": "key.pem"}}}
    refused = helm.run("install", RELEASE, str(CHART), given=images() | {"broadcaster": {"spec": spec}})
    site("delete", "secret", "keys")
    assert 'names the key "key.pem" of the Secret "keys"' in refused.stderr
    assert "which it has not got: it has other.pem." in refused.stderr


def test_an_old_kubernetes_is_told(helm: Helm) -> None:
    refused = helm.run("template", RELEASE, str(CHART), "--kube-version", "v1.29.3")
    assert refused.returncode
    assert "requires kubeVersion: >=1.30.0-0 which is incompatible with Kubernetes v1.29.3" in refused.stderr


def test_an_hpa_without_metrics_is_told(helm: Helm, site: Cluster) -> None:
    if "custom.metrics.k8s.io" in site("api-versions"):
        pytest.skip("this cluster has custom metrics")
    refused = helm.run("install", RELEASE, str(CHART), given={"autoscaling": {"mode": "hpa"}})
    assert "this cluster has no custom.metrics.k8s.io: install prometheus-adapter" in refused.stderr


def test_a_fresh_cluster_streams_within_two_minutes(helm: Helm, site: Cluster) -> None:
    """By default values alone, but for the images; where nobody else uses it, on a cluster that has never seen the resource."""
    if not others(site):
        site("delete", CRD, "--ignore-not-found")
    began = time.monotonic()
    notes = helm.install(images())
    assert f"helm test {RELEASE} --namespace {site.namespace}" in notes
    available(site)
    with tunnel(site, "service/ssecast", 80) as web, tunnel(site, "service/ssecast-nats", 4222) as bare:
        assert asyncio.run(receive(web, bare)) == "hello"
    assert time.monotonic() - began < 120


def test_helm_test_receives_an_event(helm: Helm, site: Cluster) -> None:
    said = helm("test", RELEASE, "--logs", "--timeout", "3m")
    assert "published to events.helm-test by NATS, received by SSE" in said
    assert not site("get", "pods", "--selector=app.kubernetes.io/name=ssecast-test", "--output=name"), "it cleans up"


def test_a_setting_that_pods_take_while_they_run_is_no_rollout(helm: Helm, site: Cluster) -> None:
    before = pod_uids(site)
    spec = {"stream": {"heartbeatSeconds": 7}, "service": {"type": "NodePort"}}
    helm.upgrade(images() | {"broadcaster": {"spec": spec}})
    eventually(
        lambda: site.get("configmap", "ssecast-settings")["data"]["SSECAST_HEARTBEAT_SECONDS"] == "7", "the setting"
    )
    eventually(lambda: site.get("service", "ssecast")["spec"]["type"] == "NodePort", "the Service")
    eventually(lambda: ready(site, 2, "ssecast"), "two pods")
    assert pod_uids(site) == before


async def test_rollout_and_rollback_lose_no_event_of_a_hundred_streams(helm: Helm, site: Cluster) -> None:
    port = site.get("service", "ssecast")["spec"]["ports"][0]["nodePort"]
    browsers = Browsers(node(site), port)
    with tunnel(site, "service/ssecast-nats", 4222) as bare:
        async with Publishing.to(bare) as publishing:
            browsers.come(STREAMS)
            await seen(browsers, publishing.number + 1)
            await replaced(site, lambda: helm.upgrade(images() | {"broadcaster": {"spec": changed()}}))
            await seen(browsers, publishing.number)
            assert "SSECAST_LOG_MAX_EVENTS" in str(pods(site, "ssecast")[0]["spec"])
            rolled_out = browsers.reconnects
            assert rolled_out >= STREAMS, "every pod was replaced, and every stream came back"
            await replaced(site, lambda: helm("rollback", RELEASE, "--wait", "--timeout", "5m"))
            await seen(browsers, publishing.number)
            assert "SSECAST_LOG_MAX_EVENTS" not in str(pods(site, "ssecast")[0]["spec"])
    await browsers.leave()
    assert not browsers.wrong
    assert not browsers.gaps
    assert browsers.reconnects > rolled_out


def changed() -> dict[str, object]:
    """A spec with a variable that pods read when they start."""
    env = [{"name": "SSECAST_LOG_MAX_EVENTS", "value": "5000"}]
    return {"stream": {"heartbeatSeconds": 7}, "service": {"type": "NodePort"}, "podTemplate": {"env": env}}


async def replaced(site: Cluster, change: Callable[[], str]) -> None:
    """Until none of the pods of before is left, and two others are ready."""
    before = pod_uids(site)
    await asyncio.to_thread(change)
    await asyncio.to_thread(
        eventually, lambda: not before & pod_uids(site) and ready(site, 2, "ssecast"), "two other pods", 400
    )


async def seen(browsers: Browsers, number: int) -> None:
    await asyncio.to_thread(eventually, lambda: browsers.all_have(number), f"event {number} at every browser")


def test_an_operator_brings_an_older_definition_up_to_date(helm: Helm, site: Cluster) -> None:
    """Helm installs what is in crds/, and never touches it again."""
    path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/page"
    site("patch", CRD, "--type=json", f'--patch=[{{"op": "remove", "path": "{path}"}}]')
    helm.upgrade(images() | {"operator": images()["operator"] | {"podAnnotations": {"example.com/version": "2"}}})

    def field() -> bool:
        body = json.loads(site("get", CRD, "--output=json"))
        return "page" in body["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]

    eventually(field, "the field")
    known = json.loads(site("get", CRD, "--output=json", "--show-managed-fields"))["metadata"]["managedFields"]
    assert "ssecast-operator" not in {each["manager"] for each in known}, "the next chart would be refused"


def test_uninstall_leaves_the_definition_and_the_events_and_nothing_else(helm: Helm, site: Cluster) -> None:
    helm("uninstall", RELEASE, "--wait", "--timeout", "3m")
    kinds = (
        "all,broadcasters,configmaps,ingresses,leases,networkpolicies,persistentvolumeclaims,poddisruptionbudgets,roles,"
        "rolebindings,secrets,serviceaccounts"
    )
    own = {"configmap/kube-root-ca.crt", "serviceaccount/default"}

    def left() -> set[str]:
        return set(site("get", kinds, "--output=name").split()) - own

    eventually(lambda: left() == {f"persistentvolumeclaim/{CLAIM}"}, "nothing but the claim", 240)
    role = f"{site.namespace}-ssecast-operator"
    for kind in ("clusterrole", "clusterrolebinding"):
        assert not site("get", kind, role, "--ignore-not-found", "--output=name")
    assert (
        site("get", CRD, "--output=name").strip()
        == "customresourcedefinition.apiextensions.k8s.io/broadcasters.ssecast.dev"
    )
    site("delete", "persistentvolumeclaim", CLAIM)


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_api_server_accepts_every_scenario(cluster: Cluster, scenario: str) -> None:
    """As far as it knows the kinds; the Broadcaster's own rules are among what it checks."""
    known = cluster("api-versions").split()
    for body in objects(values(scenario), namespace=cluster.namespace, apis=APIS):
        if body["apiVersion"] not in known:
            continue
        done = cluster.run("apply", "--server-side", "--dry-run=server", "--filename", "-", given=body)
        assert done.returncode == 0, f"{body['kind']} {body['metadata']['name']}: {done.stderr}"


@pytest.mark.parametrize("overlay", ["embedded-nats", "external-nats", "hpa"])
def test_the_api_server_accepts_the_plain_manifests(cluster: Cluster, overlay: str) -> None:
    """In another namespace than theirs: that is one line of a kustomization."""
    text = cluster("kustomize", str(K8S / "overlays" / overlay))
    text = text.replace("namespace: ssecast\n", f"namespace: {cluster.namespace}\n")
    for body in yaml.safe_load_all(text):
        done = cluster.run(
            "apply", "--server-side", "--force-conflicts", "--dry-run=server", "--filename", "-", given=body
        )
        assert done.returncode == 0, f"{body['kind']} {body['metadata']['name']}: {done.stderr}"
