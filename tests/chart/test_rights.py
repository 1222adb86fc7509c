"""What the chart lets the operator do is what `ssecast-operator rbac` prints, object by object."""

from typing import Any

import pytest

from ssecast_operator.rights import rights
from tests.chart.parts import NAMESPACE, made

KINDS = {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}


def by_name(manifests: list[dict[str, Any]]) -> dict[tuple[str, str, str], dict[str, Any]]:
    """What matters of each: everything but labels."""
    return {
        (each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): {
            key: value for key, value in each.items() if key != "metadata"
        }
        for each in manifests
        if each["kind"] in KINDS
    }


@pytest.mark.parametrize("manage_crd", [False, True])
@pytest.mark.parametrize("cluster", [False, True])
def test_the_chart_gives_what_the_operator_asks_for(cluster: bool, manage_crd: bool) -> None:
    given = {"operator": {"clusterWide": cluster, "manageCRD": manage_crd}}
    asked = rights(NAMESPACE, cluster=cluster, manage_crd=manage_crd)
    assert by_name(made(given=given)) == by_name(asked)


def test_the_operator_runs_as_whom_the_rights_are_given_to() -> None:
    (pod,) = [
        each["spec"]["template"]["spec"]
        for each in made()
        if each["metadata"]["name"] == "ssecast-operator" and each["kind"] == "Deployment"
    ]
    assert pod["serviceAccountName"] == "ssecast-operator"


def test_nobody_else_gets_a_token_of_the_api_server() -> None:
    for each in made("ingress"):
        spec = each.get("spec", {}).get("template", {}).get("spec") or (each["spec"] if each["kind"] == "Pod" else None)
        if spec is not None and each["metadata"]["name"] != "ssecast-operator":
            assert spec["automountServiceAccountToken"] is False, each["metadata"]["name"]
