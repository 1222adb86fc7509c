"""rights.py: no more than is used. tests/cluster compares the rules with the calls that are seen."""

from typing import Any

import pytest

from ssecast_operator.rights import rights


def rules(**options: bool) -> dict[str, list[dict[str, Any]]]:
    made = rights("system", **{"cluster": False, "manage_crd": False} | options)
    return {each["kind"]: each["rules"] for each in made if "rules" in each}


def test_by_default_nothing_reaches_out_of_the_namespace() -> None:
    assert set(rules()) == {"Role"}
    assert {each["metadata"].get("namespace") for each in rights("system", cluster=False, manage_crd=False)} == {
        "system"
    }


def test_the_definition_is_one_by_name() -> None:
    (rule,) = rules(manage_crd=True)["ClusterRole"]
    assert rule["resourceNames"] == ["broadcasters.ssecast.dev"]
    assert rule["verbs"] == ["get", "patch"]


@pytest.mark.parametrize("cluster", [False, True])
def test_secrets_are_read_by_name_and_pods_not_reached_through_the_api_server(cluster: bool) -> None:
    for rule in (rule for of_kind in rules(cluster=cluster).values() for rule in of_kind):
        if "secrets" in rule["resources"]:
            assert not {"list", "watch"} & set(rule["verbs"])
        assert not [resource for resource in rule["resources"] if resource.startswith("pods/")]
        assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"])


def test_the_lease_is_only_in_the_own_namespace() -> None:
    found = rules(cluster=True)
    assert [each["resources"] for each in found["Role"]] == [["leases"]]
    assert "leases" not in [resource for rule in found["ClusterRole"] for resource in rule["resources"]]


def test_bindings_name_their_roles() -> None:
    made = rights("system", cluster=True, manage_crd=True)
    roles = {(each["kind"], each["metadata"]["name"]) for each in made if "rules" in each}
    assert {(each["roleRef"]["kind"], each["roleRef"]["name"]) for each in made if "roleRef" in each} == roles
