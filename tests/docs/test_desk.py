"""What is changed in a command before a test types it: no more than the desk says."""

import pytest

from tests.cluster.desk import here
from tests.docs.pages import commands

PORTS = {"8080": 1, "8081": 2, "9090": 3}


@pytest.mark.parametrize(
    ("printed", "typed"),
    [
        ("helm test ssecast --namespace ssecast --logs", "helm test ssecast --namespace live --logs"),
        (
            "kubectl --namespace ssecast port-forward service/ssecast 8080:80",
            "kubectl --namespace live port-forward service/ssecast 1:80",
        ),
        ('kubectl -n "$NS" port-forward "pod/$POD" 9090', 'kubectl -n "$NS" port-forward "pod/$POD" 3:9090'),
        ("curl -s http://127.0.0.1:8081/healthz", "curl -s http://127.0.0.1:2/healthz"),
        (
            "helm install ssecast charts/ssecast --namespace ssecast --create-namespace",
            "helm install ssecast charts/ssecast --values charts/ssecast/ci/local-images-values.yaml "
            "--namespace live --create-namespace",
        ),
        ("kubectl label namespace ssecast a=b", "kubectl label namespace live a=b"),
        (
            "kubectl get --raw /apis/x/namespaces/ssecast/y/ssecast",
            "kubectl get --raw /apis/x/namespaces/live/y/ssecast",
        ),
        ("kubectl delete pod NAME", 'kubectl delete pod "$POD"'),
        ("kubectl delete pod ssecast-test", "kubectl delete pod ssecast-test"),
        (
            'kubectl -n "$NS" scale deployment "$NAME" --replicas=20',
            'kubectl -n "$NS" scale deployment "$NAME" --replicas=3',
        ),
    ],
)
def test_ports_the_namespace_and_what_one_would_choose(printed: str, typed: str) -> None:
    assert here(printed, "live", PORTS) == typed


def test_every_port_of_the_pages_has_its_own_here() -> None:
    changed = [here(command.text, "live", PORTS) for command in commands() if command.program != "nats"]
    assert sum("127.0.0.1:" in text for text in changed) >= 6
