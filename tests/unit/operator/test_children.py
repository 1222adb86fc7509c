"""children.py: what belongs to a Broadcaster. tests/cluster applies it to a real cluster."""

from typing import Any

import pytest

from ssecast_operator.broadcaster import Broadcaster
from ssecast_operator.budget import budget_of
from ssecast_operator.children import Surroundings, admin_secret, children, grace_period, selector
from ssecast_operator.fleet import SERVING
from tests.unit.operator.test_configuration import FULL, broadcaster

AROUND = Surroundings("ssecast:1", "system", {"app": "ssecast-operator"})


def made(kind: str, name: str = "live", found: Broadcaster | None = None, **spec: Any) -> dict[str, Any]:
    all_of_them = children(found or broadcaster(**spec), AROUND, 3)
    return next(each for each in all_of_them if (each["kind"], each["metadata"]["name"]) == (kind, name))


def pod(**spec: Any) -> dict[str, Any]:
    return dict(made("Deployment", **spec)["spec"]["template"]["spec"])


def container(**spec: Any) -> dict[str, Any]:
    return dict(pod(**spec)["containers"][0])


def test_there_is_one_of_each_and_two_services() -> None:
    kinds = [each["kind"] for each in children(broadcaster(), AROUND, 3)]
    assert sorted(kinds) == [
        "ConfigMap", "Deployment", "NetworkPolicy", "PodDisruptionBudget", "Service", "Service", "ServiceAccount",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "each",
    [*children(broadcaster(), AROUND, 3), admin_secret(broadcaster(), "token")],
    ids=lambda each: f"{each['kind']} {each['metadata']['name']}",
)
def test_everything_goes_with_its_broadcaster_and_says_whose_it_is(each: dict[str, Any]) -> None:
    (owner,) = each["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"], owner["uid"], owner["controller"]) == ("Broadcaster", "live", "u1", True)
    assert not owner["blockOwnerDeletion"], "it would take a right on finalizers"
    assert each["metadata"]["labels"]["ssecast.dev/broadcaster"] == "live"
    assert each["metadata"]["namespace"] == "news"


def test_replicas_are_nobodys_but_scalings() -> None:
    assert "replicas" not in made("Deployment")["spec"]


@pytest.mark.parametrize(("drained", "may"), [(0, 1), (2, 3)])
def test_a_pod_may_be_evicted_also_while_others_are_drained_to_be_removed(drained: int, may: int) -> None:
    """They are not ready, for as long as they are waited for: no node must wait with them."""
    made = children(broadcaster(), AROUND, 3, drained=drained)
    (found,) = (each["spec"] for each in made if each["kind"] == "PodDisruptionBudget")
    assert found["maxUnavailable"] == may


@pytest.mark.parametrize("labelled", [True, False])
def test_the_service_leads_to_pods_that_take_new_streams(labelled: bool) -> None:
    """And to all of them while some do not say whether they do: an older operator has made those."""
    made = children(broadcaster(), AROUND, 3, labelled=labelled)
    services = {each["metadata"]["name"]: each["spec"]["selector"] for each in made if each["kind"] == "Service"}
    assert services == {
        "live": selector("live") | ({SERVING: "true"} if labelled else {}),
        "live-admin": selector("live"),
    }


def test_the_timing_of_a_rollout_is_the_budgets() -> None:
    found = broadcaster(scaling={"maxReconnectsPerSecond": 100})
    spec, budget = made("Deployment", found=found)["spec"], budget_of(found.spec)
    assert spec["minReadySeconds"] == budget.min_ready == 125
    assert spec["progressDeadlineSeconds"] == budget.progress_deadline(3)
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize(("window", "grace"), [(1, 60), (10, 60), (60, 120), (100, 120), (101, 240), (3600, 3840)])
def test_the_grace_period_is_long_enough_and_seldom_another_one(window: int, grace: int) -> None:
    """Each change of it is a rollout."""
    found = broadcaster(drain={"windowSeconds": window, "delaySeconds": 5})
    assert grace_period(found) == grace >= budget_of(found.spec).grace


def test_pods_are_restricted() -> None:
    spec = pod()
    assert not spec["automountServiceAccountToken"]
    assert not spec["enableServiceLinks"]
    assert spec["securityContext"]["runAsNonRoot"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_image_is_the_specs_or_the_operators() -> None:
    assert container()["image"] == "ssecast:1"
    assert container(image="mine:2")["image"] == "mine:2"


def test_every_file_that_a_setting_names_is_mounted() -> None:
    settings = made("ConfigMap", "live-settings", **FULL)["data"]
    folders = {each["mountPath"]: each["name"] for each in container(**FULL)["volumeMounts"]}
    volumes = {each["name"]: each for each in pod(**FULL)["volumes"]}
    files = [value for name, value in settings.items() if name.endswith("_FILE")]
    files += [each["value"] for each in container(**FULL)["env"] if each["name"] == "SSECAST_ADMIN_TOKEN_FILE"]
    assert len(files) == 6
    for file in files:
        folder, _, name = file.rpartition("/")
        assert name in [item["path"] for item in volumes[folders[folder]]["secret"]["items"]]
    assert volumes["settings"]["configMap"]["name"] == "live-settings"


def test_an_environment_cannot_say_otherwise_than_a_field() -> None:
    env = [{"name": "SSECAST_MAX_STREAMS", "value": "7"}, {"name": "SSECAST_LOG_MAX_BYTES", "value": "9Mi"}]
    names = [each["name"] for each in container(podTemplate={"env": env})["env"]]
    assert "SSECAST_LOG_MAX_BYTES" in names
    assert "SSECAST_MAX_STREAMS" not in names
    assert len(names) == len(set(names))


def test_what_the_template_says_is_handed_on_but_not_our_own_labels() -> None:
    template: dict[str, Any] = {
        "labels": {"team": "news", "ssecast.dev/broadcaster": "other"},
        "annotations": {"a": "b"},
        "nodeSelector": {"disk": "fast"},
        "tolerations": [{"key": "x"}],
        "affinity": {"podAntiAffinity": {}},
        "topologySpreadConstraints": [{"maxSkew": 2}],
        "priorityClassName": "high",
        "imagePullSecrets": [{"name": "pull"}],
        "resources": {"requests": {"cpu": "2"}, "limits": {}},
    }
    found = made("Deployment", podTemplate=template)["spec"]["template"]
    assert found["metadata"]["labels"] == {"team": "news", SERVING: "true"} | selector("live")
    assert found["metadata"]["annotations"]["a"] == "b"
    spec = found["spec"]
    for name in (
        "nodeSelector",
        "tolerations",
        "affinity",
        "topologySpreadConstraints",
        "priorityClassName",
        "imagePullSecrets",
    ):
        assert spec[name] == template[name]
    assert spec["containers"][0]["resources"] == {"requests": {"cpu": "2"}}


def test_the_admin_port_is_for_operator_and_monitoring_and_streams_for_all() -> None:
    """tests/cluster says what a network makes of it."""
    monitoring = {"namespaceSelector": {"matchLabels": {"name": "monitoring"}}}
    spec = made("NetworkPolicy", networkPolicy={"monitoring": [monitoring]})["spec"]
    streams, admin = spec["ingress"]
    assert streams == {"ports": [{"port": 8080, "protocol": "TCP"}]}
    assert admin["ports"] == [{"port": 9090, "protocol": "TCP"}]
    assert admin["from"][0]["podSelector"] == {"matchLabels": {"app": "ssecast-operator"}}
    assert admin["from"][0]["namespaceSelector"] == {"matchLabels": {"kubernetes.io/metadata.name": "system"}}
    assert admin["from"][1:] == [monitoring]
    assert spec["policyTypes"] == ["Ingress"]


def test_egress_and_clients_are_limited_where_it_is_said() -> None:
    clients, egress = {"podSelector": {"matchLabels": {"app": "ingress"}}}, {"ports": [{"port": 4222}]}
    spec = made("NetworkPolicy", networkPolicy={"clients": [clients], "egress": [egress]})["spec"]
    assert spec["ingress"][0]["from"] == [clients]
    assert (spec["policyTypes"], spec["egress"]) == (["Ingress", "Egress"], [egress])


def test_no_network_policy_where_none_is_wanted() -> None:
    kinds = [each["kind"] for each in children(broadcaster(networkPolicy={"enabled": False}), AROUND, 3)]
    assert "NetworkPolicy" not in kinds


def test_the_service_is_as_it_is_said() -> None:
    service = {"type": "NodePort", "port": 8000, "annotations": {"x": "y"}}
    found = made("Service", service=service)
    assert found["metadata"]["annotations"] == {"x": "y"}
    assert (found["spec"]["type"], found["spec"]["ports"][0]["port"]) == ("NodePort", 8000)


def test_the_admin_service_shows_pods_that_drain() -> None:
    spec = made("Service", "live-admin")["spec"]
    assert spec["publishNotReadyAddresses"]
    assert spec["clusterIP"] == "None"
