"""Every way in which the chart is installed, as Helm's own engine renders it."""

from typing import Any

import pytest
from helm_python import lint

from charts.make.engine import CHART, Manifest, rendered
from tests.chart.parts import APIS, NAMESPACE, SCENARIOS, fleet, made, one, pod_templates, values

of_each_scenario = pytest.mark.parametrize("scenario", SCENARIOS)


def test_the_scenarios_are_those_that_were_promised() -> None:
    assert {
        "cluster-wide", "default", "external-nats", "gateway", "gateway-envoy", "hpa", "ingress", "ingress-haproxy",
        "ingress-nginx", "monitoring", "production",
    } <= set(SCENARIOS)  # fmt: skip


def test_helm_has_nothing_to_say_against_it() -> None:
    report = lint(CHART, values("default"), strict=True, namespace=NAMESPACE)
    assert not report["errors"]
    assert [each["error"] for each in report["messages"]] == ["icon is recommended"]


@of_each_scenario
def test_no_object_stands_twice_and_each_is_in_the_releases_namespace(scenario: str) -> None:
    manifests = made(scenario)
    names = [(each["kind"], each["metadata"]["name"]) for each in manifests]
    assert len(names) == len(set(names))
    for each in manifests:
        expected = None if each["kind"].startswith("ClusterRole") else NAMESPACE
        assert each["metadata"].get("namespace") == expected, each["metadata"]["name"]


@of_each_scenario
def test_every_pod_may_run_where_pod_security_is_restricted(scenario: str) -> None:
    for name, template in pod_templates(made(scenario)):
        spec = template["spec"]
        security = spec["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["runAsUser"] > 0, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec), name
        assert all(set(volume) - {"name"} <= ALLOWED_VOLUMES for volume in spec.get("volumes", ())), name
        for container in spec["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name
            assert container["resources"]["requests"]["memory"], name
            assert container["resources"]["limits"]["memory"], name


ALLOWED_VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}


@of_each_scenario
def test_no_variable_stands_twice(scenario: str) -> None:
    """Helm 4 applies on the server's side, where that is an error."""
    for name, template in pod_templates(made(scenario)):
        for container in template["spec"]["containers"]:
            names = [each["name"] for each in container.get("env", ())]
            assert len(names) == len(set(names)), name


@of_each_scenario
def test_each_selector_finds_its_own_pods_and_no_others(scenario: str) -> None:
    manifests = made(scenario)
    pods = {name: template["metadata"]["labels"] for name, template in pod_templates(manifests)}
    selectors = {each["metadata"]["name"]: selector for each in manifests if (selector := _selector(each))}
    if any(each["kind"] == "Broadcaster" for each in manifests):
        streams = one(fleet(manifests), "Deployment")
        pods["streams"] = streams["spec"]["template"]["metadata"]["labels"]
        selectors["streams"] = streams["spec"]["selector"]["matchLabels"]
    for name, selector in selectors.items():
        found = {pod for pod, labels in pods.items() if selector.items() <= labels.items()}
        assert found == {name}, f"{name} selects {found}"


def _selector(manifest: Manifest) -> dict[str, str]:
    """Of what sends to pods or makes them."""
    if manifest["kind"] not in ("Deployment", "Service", "StatefulSet"):
        return {}
    selector = manifest["spec"]["selector"]
    return dict(selector.get("matchLabels", selector))


@of_each_scenario
def test_an_upgrade_of_the_chart_alone_restarts_no_pod(scenario: str) -> None:
    for name, template in pod_templates(made(scenario)):
        assert not {"helm.sh/chart", "app.kubernetes.io/version"} & set(template["metadata"]["labels"]), name


def test_whoever_scales_owns_the_number() -> None:
    """Neither the HPA's number nor the Deployment's is ever written by the chart."""
    for scenario in SCENARIOS:
        for each in made(scenario):
            if each["kind"] == "Broadcaster":
                assert "replicas" not in each["spec"]
    manifests = made("hpa")
    assert one(manifests, "Broadcaster")["spec"]["scaling"]["mode"] == "hpa"
    scaler = one(manifests, "HorizontalPodAutoscaler")["spec"]
    assert scaler["scaleTargetRef"] == {"apiVersion": "ssecast.dev/v1alpha1", "kind": "Broadcaster", "name": "ssecast"}
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 30)
    (metric,) = scaler["metrics"]
    assert metric["object"]["describedObject"] == scaler["scaleTargetRef"]
    assert metric["object"]["target"] == {"type": "AverageValue", "averageValue": "5000"}
    assert scaler["behavior"]["scaleDown"]["stabilizationWindowSeconds"] == 300, "the spec's own default"


def test_what_the_spec_says_of_rates_is_what_the_hpa_does() -> None:
    behavior = {"scaleDown": {"stabilizationWindowSeconds": 60}}
    given = {"autoscaling": {"mode": "hpa"}, "broadcaster": {"spec": {"scaling": {"behavior": behavior}}}}
    found = one(made(given=given), "HorizontalPodAutoscaler")["spec"]["behavior"]
    assert found["scaleDown"]["stabilizationWindowSeconds"] == 60
    assert found["scaleUp"]["policies"], "what was not said is as by default"


def test_the_embedded_nats_goes_where_there_is_another_one() -> None:
    names = {each["metadata"]["name"] for each in made("external-nats")}
    assert not [name for name in names if "nats" in name]
    assert one(made("external-nats"), "Broadcaster")["spec"]["nats"]["url"].startswith("tls://nats-0.")


def test_nats_keeps_events_in_a_claim_of_its_own_an_existing_one_or_none() -> None:
    def kept(**persistence: Any) -> tuple[list[Any], list[Any]]:
        given = {"nats": {"embedded": {"persistence": persistence}}}
        spec = one(made(given=given), "StatefulSet")["spec"]
        return spec.get("volumeClaimTemplates", []), spec["template"]["spec"]["volumes"]

    claims, volumes = kept(size="5Gi", storageClass="-")
    assert claims[0]["spec"]["resources"] == {"requests": {"storage": "5Gi"}}
    assert claims[0]["spec"]["storageClassName"] == ""
    assert [volume["name"] for volume in volumes] == ["config"]
    claims, volumes = kept(existingClaim="old")
    assert not claims
    assert {"name": "data", "persistentVolumeClaim": {"claimName": "old"}} in volumes
    claims, volumes = kept(enabled=False)
    assert not claims
    assert {"name": "data", "emptyDir": {"sizeLimit": "2Gi"}} in volumes


def test_images_are_pulled_by_digest_and_with_secrets_where_they_are_given() -> None:
    manifests = made("production")
    operator = one(manifests, "Deployment", "ssecast-operator")["spec"]["template"]["spec"]
    assert operator["containers"][0]["image"] == f"ghcr.io/ssecast/ssecast-operator@sha256:{'2' * 64}"
    assert operator["imagePullSecrets"] == [{"name": "registry"}]
    streams = one(fleet(manifests), "Deployment")["spec"]["template"]["spec"]
    assert streams["containers"][0]["image"] == f"ghcr.io/ssecast/ssecast@sha256:{'1' * 64}"
    assert streams["imagePullSecrets"] == [{"name": "registry"}]


@pytest.mark.parametrize(
    ("release", "expected"),
    [("ssecast", "ssecast"), ("live", "live-ssecast"), ("x" * 53, f"{'x' * 40}")],
)
def test_names_begin_with_the_release_and_fit(release: str, expected: str) -> None:
    texts = rendered({}, name=release, namespace=NAMESPACE)
    assert f"name: {expected}-operator\n" in texts["ssecast/templates/operator.yaml"]


@of_each_scenario
def test_the_notes_name_the_next_command(scenario: str) -> None:
    notes = rendered(values(scenario), namespace=NAMESPACE, apis=APIS)["ssecast/templates/NOTES.txt"]
    assert "kubectl delete customresourcedefinition broadcasters.ssecast.dev" in notes, "what uninstall leaves"
    assert all(len(line) <= 130 for line in notes.splitlines())
    if scenario == "cluster-wide":
        assert "kubectl explain broadcaster.spec" in notes
        return
    assert "wait broadcaster/ssecast --for=condition=Available" in notes
    assert f"helm test ssecast --namespace {NAMESPACE}" in notes
    exposed = values(scenario).get("exposure", {}).get("type", "none")
    assert ("port-forward service/ssecast" in notes) is (exposed == "none")
    assert "curl --no-buffer" in notes
    assert ("://events.example.com/events" in notes) is (exposed != "none")
    assert ("persistentvolumeclaim data-ssecast-nats-0" in notes) is ("url" not in values(scenario).get("nats", {}))


def test_helm_test_asks_with_the_credentials_of_the_pods() -> None:
    pod = one(made("external-nats"), "Pod")["spec"]
    env = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert env["NATS_CREDS_FILE"] == "/etc/nats/credentials/user.creds"
    assert env["NATS_CERT_FILE"] == "/etc/nats/certificate/tls.crt"
    assert env["SUBJECT"] == "orders.helm-test"
    assert [mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]] == [
        "/etc/nats/ca",
        "/etc/nats/certificate",
        "/etc/nats/credentials",
    ]
    assert {volume["secret"]["secretName"] for volume in pod["volumes"]} == {
        "nats-credentials",
        "nats-ca",
        "nats-client",
    }
