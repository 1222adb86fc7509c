"""Who may reach whom by NetworkPolicies, as their specification says. Small: what our policies use, and no more."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

Policy = Mapping[str, Any]


@dataclass(frozen=True)
class Party:
    """A pod, or whoever else has an address: then without a namespace."""

    name: str
    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = "10.0.0.1"


def allowed(policies: Iterable[Policy], source: Party, target: Party, port: int, protocol: str = "TCP") -> bool:
    """Whether a connection comes through: whom the source may call, and who may call the target."""
    policies = list(policies)
    return _one_way(policies, "Egress", source, target, port, protocol) and _one_way(
        policies, "Ingress", target, source, port, protocol
    )


def _one_way(policies: list[Policy], way: str, bound: Party, other: Party, port: int, protocol: str) -> bool:
    """A pod that no policy of this kind selects is free; else one rule of any of them must allow it."""
    binding = [
        policy["spec"]
        for policy in policies
        if way in policy["spec"]["policyTypes"]
        and bound.namespace == policy["metadata"]["namespace"]
        and _selects(policy["spec"]["podSelector"], bound.labels)
    ]
    if not binding:
        return True
    peers = "to" if way == "Egress" else "from"
    return any(
        _port(rule, port, protocol) and _peer(rule.get(peers), other, bound.namespace)
        for spec in binding
        for rule in spec.get(way.lower(), ())
    )


def _port(rule: Mapping[str, Any], port: int, protocol: str) -> bool:
    return not rule.get("ports") or any(
        each["port"] == port and each.get("protocol", "TCP") == protocol for each in rule["ports"]
    )


def _peer(peers: list[Mapping[str, Any]] | None, other: Party, own_namespace: str) -> bool:
    return not peers or any(_is(peer, other, own_namespace) for peer in peers)


def _is(peer: Mapping[str, Any], other: Party, own_namespace: str) -> bool:
    if "ipBlock" in peer:
        return ip_address(other.address) in ip_network(peer["ipBlock"]["cidr"])
    if not other.namespace:
        return False
    if "namespaceSelector" in peer:
        there = _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": other.namespace})
    else:
        there = other.namespace == own_namespace
    return there and _selects(peer.get("podSelector", {}), other.labels)


def _selects(selector: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels") or {}
    return all(labels.get(name) == value for name, value in wanted.items()) and all(
        _meets(each, labels) for each in selector.get("matchExpressions", ())
    )


def _meets(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values", ())
    return {
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
        "In": labels.get(key) in values,
        "NotIn": labels.get(key) not in values,
    }[expression["operator"]]
