"""The operator as its own ServiceAccount: what it may do is what it does, no more and no less."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from ssecast_operator.rights import WORK
from tests.cluster.parts import Cluster, Operator, apply, broadcaster, condition, eventually, ready

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def kubeconfig(nats: Cluster, tmp_path: Path) -> Path:
    """Of the ServiceAccount that `ssecast-operator rbac` makes."""
    command = [sys.executable, "-m", "ssecast_operator", "rbac", "--namespace", nats.namespace]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    apply(nats, *yaml.safe_load_all(made))
    token = nats("create", "token", "ssecast-operator", "--duration=1h").strip()
    config = json.loads(nats("config", "view", "--raw", "--minify", "--output=json"))
    config["users"] = [{"name": config["contexts"][0]["context"]["user"], "user": {"token": token}}]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


@pytest.fixture
def restricted(nats: Cluster, kubeconfig: Path, tmp_path: Path) -> Iterator[Operator]:
    running = Operator(nats, tmp_path / "operator.log", str(kubeconfig)).start()
    yield running
    running.stop()
    nats("delete", "broadcasters", "--all", "--wait=true")


def test_it_does_all_that_it_may_and_is_refused_nothing(nats: Cluster, restricted: Operator) -> None:
    apply(nats, broadcaster())
    eventually(lambda: ready(nats, 1), "a pod", 120)
    eventually(lambda: condition(nats, "Available")["status"] == "True", "word of it")
    nats("patch", "broadcaster", "live", "--type=merge", '--patch={"spec": {"networkPolicy": {"enabled": false}}}')
    eventually(lambda: nats.run("get", "networkpolicy", "live").returncode, "no NetworkPolicy")
    calls = restricted.samples("ssecast_operator_api_calls_total")
    refused = [labels for labels in calls if dict(labels)["code"] in ("401", "403")]
    assert not refused
    assert "forbidden" not in restricted.log.read_text().lower()
    seen = {(dict(labels)["resource"], dict(labels)["verb"]) for labels in calls}
    may = {
        (resource.partition("/")[0], verb) for rule in WORK for resource in rule["resources"] for verb in rule["verbs"]
    }
    # kopf watches and lists on its own; creating is how server-side apply makes what is not there; marks need a drain.
    unseen = {(resource, verb) for resource, verb in may - seen if verb not in ("watch", "list", "create", "get")}
    assert unseen <= {("pods", "patch")}
    assert seen - {("leases", verb) for verb in ("get", "create", "patch")} <= may
