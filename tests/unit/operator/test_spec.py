"""spec.py, scaling.py: defaults that fit together, and which setting of the pods a field becomes."""

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ssecast.settings import VARIABLES, Settings
from ssecast_operator.budget import budget_of
from ssecast_operator.spec import RESERVED_ENV, Spec, settings_of
from ssecast_operator.wire import Model
from tests.fleets import spec_of

README = Path(__file__).parents[3] / "operator" / "README.md"

NOT_YET_SETTINGS = {
    "ADMIN_TOKEN_FILE",
    "CORS_ORIGINS",
    "JWKS_URL",
    "JWT_ALGORITHMS",
    "JWT_AUDIENCE",
    "JWT_COOKIE",
    "JWT_ISSUER",
    "JWT_KEY_FILE",
    "JWT_LEEWAY_SECONDS",
    "JWT_QUERY",
    "MAX_STREAMS_PER_CLIENT",
}
"""Names that are fixed, of settings that pods need not have yet."""


def test_the_defaults_fit_together() -> None:
    """What the CEL rules ask for holds without a word from anybody."""
    spec = Spec()
    scaling, budget = spec.scaling, budget_of(spec)
    assert scaling.min_replicas <= scaling.max_replicas
    assert scaling.streams_per_pod.target <= scaling.streams_per_pod.limit
    assert scaling.burst <= scaling.max_replicas * scaling.streams_per_pod.target
    assert spec.nats.stream.max_age > budget.pod_window + budget.longest_retry
    assert spec.stream.heartbeat_seconds < spec.stream.max_age_seconds


def test_three_pods_at_their_target_survive_the_death_of_one() -> None:
    """The other two can take all of its streams."""
    per_pod = Spec().scaling.streams_per_pod
    assert 3 * per_pod.target <= 2 * per_pod.limit


def test_sections_may_be_left_out_or_given_in_part() -> None:
    assert spec_of() == Spec()
    found = spec_of({"streamsPerPod": {"target": 5}, "behavior": {"scaleDown": {"stabilizationWindowSeconds": 0}}})
    assert (found.scaling.streams_per_pod.target, found.scaling.streams_per_pod.limit) == (5, 10_000)
    assert found.scaling.behavior.scale_down.policies == Spec().scaling.behavior.scale_down.policies


def test_the_behavior_of_an_hpa_can_be_copied_as_it_is() -> None:
    """The example of Kubernetes' own documentation."""
    behavior: dict[str, Any] = {
        "scaleDown": {
            "stabilizationWindowSeconds": 300,
            "policies": [
                {"type": "Percent", "value": 100, "periodSeconds": 15},
                {"type": "Pods", "value": 4, "periodSeconds": 60},
            ],
            "selectPolicy": "Min",
        },
        "scaleUp": {
            "stabilizationWindowSeconds": 0,
            "policies": [{"type": "Percent", "value": 100, "periodSeconds": 15}],
        },
    }
    found = spec_of({"behavior": behavior}).scaling.behavior
    assert found.scale_down.select_policy == "Min"
    assert [policy.value for policy in found.scale_down.policies] == [100, 4]
    assert found.scale_up.select_policy == "Max"


def test_a_spec_is_frozen() -> None:
    with pytest.raises(ValidationError):
        Spec().replicas = 5


def test_durations_and_sizes_are_numbers_inside() -> None:
    assert (Spec().nats.stream.max_age, Spec().nats.stream.max_bytes, Spec().stream.max_payload) == (
        600.0,
        2**30,
        2**20,
    )


def models(of: type[Model] = Spec) -> set[type[Model]]:
    nested = {each for field in of.model_fields.values() for each in parts(field.annotation)}
    return {of}.union(*(models(each) for each in nested))


def parts(annotation: Any) -> set[type[Model]]:
    inner = set().union(*(parts(each) for each in getattr(annotation, "__args__", ())))
    return inner | {annotation} if isinstance(annotation, type) and issubclass(annotation, Model) else inner


@pytest.mark.parametrize("model", sorted(models(), key=str))
def test_every_field_is_described_in_sentences(model: type[Model]) -> None:
    for name, field in model.model_fields.items():
        assert field.description, f"{model.__name__}.{name}"
        assert field.description.endswith("."), f"{model.__name__}.{name}"
    assert (model.__doc__ or "").endswith("."), model.__name__


def test_every_setting_that_a_field_becomes_is_one() -> None:
    named = [name for _, name in settings_of()] + [
        name.removeprefix("SSECAST_") for name in RESERVED_ENV if name.startswith("SSECAST_")
    ]
    assert len(named) == len(set(named)), "no setting has two sources"
    assert {name for name in named if f"SSECAST_{name}" not in VARIABLES} <= NOT_YET_SETTINGS


def test_a_default_that_is_meant_to_be_the_pods_own_is() -> None:
    """Whoever reads one of both pages must not be wrong about the other; where fleets differ, it is on purpose."""
    spec, pod = Spec(), Settings()
    assert spec.scaling.streams_per_pod.limit == pod.max_streams
    assert spec.stream.heartbeat_seconds == pod.heartbeat_seconds
    assert spec.stream.max_age_seconds == pod.max_age_seconds
    assert spec.stream.retry_milliseconds == pod.retry_ms
    assert (spec.stream.overload, spec.stream.slow_client) == (pod.overload, pod.slow_client)
    assert spec.stream.stall_seconds == pod.stall_seconds
    assert spec.stream.max_payload == pod.max_payload_bytes
    assert spec.nats.subjects == pod.subjects
    assert spec.nats.stream.max_age == pod.stream_max_age_seconds
    assert spec.nats.stream.max_bytes == pod.stream_max_bytes
    assert (spec.nats.stream.replicas, spec.nats.stream.storage) == (pod.stream_replicas, pod.stream_storage)
    assert spec.drain.delay_seconds == pod.drain_delay_seconds
    assert (spec.publish, spec.page) == (pod.publish, pod.page)


def test_the_readme_says_what_every_field_becomes() -> None:
    rows = re.findall(r"^\| `(spec\.[\w.]+)` \| `SSECAST_(\w+)` \|$", README.read_text(), re.MULTILINE)
    assert rows == list(settings_of())
