"""policies.py: what the API server would refuse is refused here, in its words, with file and line."""

import pytest

from ssecast_operator.broadcaster import Pause
from ssecast_operator.crd import structural
from ssecast_operator.policies import HOLDS, PolicyError, read_policy, rules
from ssecast_operator.spec import Spec

HEAD = "apiVersion: ssecast.dev/v1alpha1\nkind: Broadcaster\nmetadata: {name: prices}\n"


def test_a_broadcaster_is_read_with_its_defaults_also_from_among_others() -> None:
    policy = read_policy(f"kind: ConfigMap\n---\n{HEAD}spec:\n  scaling:\n    maxReplicas: 9\n", "a.yaml")
    assert policy.name == "prices"
    assert policy.spec.scaling.max_replicas == 9
    assert policy.spec.scaling.min_replicas == 2


@pytest.mark.parametrize(
    ("annotations", "pause"),
    [
        ("", Pause()),
        ("  annotations: {ssecast.dev/paused: 'true'}\n", Pause(scale_in=True, scale_out=True)),
        ("  annotations: {ssecast.dev/paused-scale-in: 'yes', other: x}\n", Pause(scale_in=True)),
        ("  annotations: {ssecast.dev/paused-scale-out: 'false'}\n", Pause()),
    ],
)
def test_annotations_that_ask_for_a_pause_are_read(annotations: str, pause: Pause) -> None:
    body = f"kind: Broadcaster\nmetadata:\n  name: prices\n{annotations}spec: {{}}\n"
    assert read_policy(body, "a.yaml").pause == pause


def test_an_annotation_that_is_no_text_is_refused_as_kubernetes_does() -> None:
    body = "kind: Broadcaster\nmetadata:\n  annotations:\n    ssecast.dev/paused: true\nspec: {}\n"
    with pytest.raises(PolicyError) as wrong:
        read_policy(body, "a.yaml")
    assert str(wrong.value) == "a.yaml, line 4: the annotation ssecast.dev/paused is True; expected is text, in quotes"


def test_every_rule_of_the_definition_about_one_object_is_checked_here() -> None:
    assert {message for _, message in rules(structural(Spec))} == set(HOLDS)


@pytest.mark.parametrize(
    ("spec", "line", "words"),
    [
        ("spec:\n  scaling:\n    minReplicas: 9\n    maxReplicas: 3\n", 5, "spec.scaling: minReplicas must not exceed maxReplicas."),
        ("spec:\n  scaling:\n    burst: 0\n    streamsPerPod: {target: 2, limit: 1}\n", 7, "target must not exceed limit"),
        ("spec:\n  nats: {stream: {maxAge: 24h}}\n  scaling:\n    maxReconnectsPerSecond: 1\n", 6, "draining one full pod would take more than an hour"),
        ("spec:\n  scaling:\n    burst: 9999999\n", 5, "burst is more than maxReplicas pods"),
        ("spec:\n  scaling:\n    fallback: {replicas: 99}\n", 5, "fallback.replicas must not exceed maxReplicas"),
        ("spec:\n  nats:\n    stream:\n      maxAge: 60s\n", 7, "nats.stream.maxAge must exceed the drain window"),
        ("spec:\n  nats:\n    stream:\n      maxBytes: 1k\n", 6, "maxBytes must be at least 1Mi"),
        ("spec:\n  stream: {heartbeatSeconds: 20, maxAgeSeconds: 10}\n", 5, "heartbeatSeconds must be less"),
        ("spec:\n  scaling:\n    minReplicas: 0\n", 6, "spec.scaling.minReplicas: 0 is not allowed"),
        ("spec:\n  scaling:\n    minReplica: 3\n", 6, "unknown field spec.scaling.minReplica; expected is one of mode, minReplicas"),
        ("spec:\n  podTemplate:\n    env:\n    - name: A\n      wert: 1\n", 8, "unknown field spec.podTemplate.env.0.wert; expected is one of name"),
        ("spec:\n  auth: {}\n", 5, "exactly one of keySecret and jwksUrl must be given"),
        ("spec:\n  cors: {origins: ['*', 'http://a.example']}\n", 5, "'*' allows every origin and must stand alone"),
        ("spec:\n  podTemplate:\n    env:\n    - name: POD_UID\n", 6, "this variable is the operator's own"),
        ("spec: 7\n", 4, "spec is missing; expected is an object"),
    ],
)  # fmt: skip
def test_a_policy_that_would_be_refused_gets_one_sentence_with_its_line(spec: str, line: int, words: str) -> None:
    with pytest.raises(PolicyError) as wrong:
        read_policy(HEAD + spec, "a.yaml")
    assert str(wrong.value).startswith(f"a.yaml, line {line}: ")
    assert words in str(wrong.value)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "a.yaml, line 1: there is no Broadcaster; expected is an object with kind: Broadcaster"),
        ("kind: Pod\n", "a.yaml, line 1: there is no Broadcaster; expected is an object with kind: Broadcaster"),
        ("a: [\n", "a.yaml, line 2: "),
    ],
)
def test_a_file_without_a_broadcaster_is_said_to_be_one(text: str, sentence: str) -> None:
    with pytest.raises(PolicyError) as wrong:
        read_policy(text, "a.yaml")
    assert str(wrong.value).startswith(sentence)
