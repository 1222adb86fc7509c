"""broadcaster.py: the object as the API server returns it."""

from typing import Any

import pytest

from ssecast_operator.broadcaster import PAUSED, PAUSED_SCALE_IN, PAUSED_SCALE_OUT, Pause, SpecError, parse, pause_of

BODY: dict[str, Any] = {
    "apiVersion": "ssecast.dev/v1alpha1",
    "kind": "Broadcaster",
    "metadata": {"name": "live", "namespace": "news", "uid": "u1", "generation": 3, "resourceVersion": "77"},
    "spec": {"nats": {"url": "tls://nats:4222"}, "scaling": {"maxReplicas": 9}},
    "status": {"replicas": 2},
}


def sentences(spec: dict[str, Any]) -> list[str]:
    with pytest.raises(SpecError) as wrong:
        parse(BODY | {"spec": spec})
    assert str(wrong.value) == "\n".join(wrong.value.sentences)
    return wrong.value.sentences


def test_an_object_of_the_api() -> None:
    found = parse(BODY)
    assert (found.namespace, found.name, found.uid, found.generation) == ("news", "live", "u1", 3)
    assert (found.spec.nats.url, found.spec.scaling.max_replicas) == ("tls://nats:4222", 9)
    assert found.pause == Pause(scale_in=False, scale_out=False)


def test_an_object_with_next_to_nothing() -> None:
    found = parse({"metadata": {"name": "live"}})
    assert (found.namespace, found.uid, found.generation, found.spec.replicas) == ("", "", 0, 2)


@pytest.mark.parametrize(("given", "name"), [(None, "news-live"), ("mine", "mine"), ("", "")])
def test_the_stream_is_named_after_the_object_unless_it_is_said(given: str | None, name: str) -> None:
    """An empty name is said too: core NATS."""
    stream = {} if given is None else {"name": given}
    assert parse(BODY | {"spec": {"nats": {"stream": stream}}}).stream == name


@pytest.mark.parametrize(
    ("annotations", "pause"),
    [
        ({}, Pause()),
        ({PAUSED: "true"}, Pause(scale_in=True, scale_out=True)),
        ({PAUSED_SCALE_IN: "true"}, Pause(scale_in=True)),
        ({PAUSED_SCALE_OUT: "true"}, Pause(scale_out=True)),
        ({PAUSED: ""}, Pause(scale_in=True, scale_out=True)),
        ({PAUSED: "since monday"}, Pause(scale_in=True, scale_out=True)),
        ({PAUSED: " False "}, Pause()),
        ({PAUSED: "false", PAUSED_SCALE_IN: "yes"}, Pause(scale_in=True)),
    ],
)
def test_whoever_writes_a_pause_means_it(annotations: dict[str, str], pause: Pause) -> None:
    assert pause_of(annotations) == pause


def test_what_this_operator_does_not_know_is_ignored() -> None:
    """A newer CRD may be in the cluster."""
    assert parse(BODY | {"spec": {"colour": "red", "scaling": {"speed": 3}}}).spec.scaling.min_replicas == 2


def test_every_mistake_gets_a_sentence() -> None:
    """Only an object that is older than its CRD can have one."""
    assert sentences({"scaling": {"maxReplicas": 0, "mode": "manual"}, "nats": {"subjects": ["ok", "a..b"]}}) == [
        "spec.nats.subjects[1]: 'a..b' is not allowed: string should match pattern "
        "'^([^\\s.*>]+|\\*)(\\.([^\\s.*>]+|\\*))*(\\.>)?$|^>$'.",
        "spec.scaling.mode: 'manual' is not allowed: input should be 'operator', 'hpa' or 'off'.",
        "spec.scaling.maxReplicas: 0 is not allowed: input should be greater than or equal to 1.",
    ]
    assert sentences({"nats": {"stream": {"maxAge": "ten"}}}) == [
        "spec.nats.stream.maxAge: 'ten' is not allowed: value error, 'ten' is not a duration such as 10m, 90s or 1h30m."
    ]
    assert sentences({"auth": {"keySecret": {"name": "jwt"}}}) == ["spec.auth.keySecret.key is missing."]
    assert sentences({"image": "x" * 2000})[0].startswith("spec.image: 'xxxxxxx")
