"""Which test types which commands of the pages, and in which order. `test_commands.py` holds it against the pages."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from tests.docs.pages import PAGES, Command, Step, commands, step, steps

CHART, INSTALL, K8S, OPERATIONS = "charts/ssecast/README.md", "docs/install.md", "k8s/README.md", "docs/operations.md"
SECURITY, TROUBLE, UPGRADE = "docs/security.md", "docs/troubleshooting.md", "docs/upgrade.md"
RUNBOOK_PAGES = tuple(page for page in PAGES if page.startswith("docs/runbooks/"))

NAMES = {
    "helm install --force-conflicts …",
    "helm rollback",
    "helm template --api-versions",
    "helm test",
    "helm upgrade",
    "helm upgrade --install",
    "kubectl apply",
    "kubectl drain --grace-period=-1",
    "kubectl port-forward",
    "kubectl rollout undo",
    "nats server …",
    "nats stream edit",
    "ssecast-operator explain",
    "ssecast-operator simulate",
}
"""Commands that a sentence names, without saying all that there is to type."""

QUICK_START = (step("README.md", "kind create cluster"), step("README.md", "helm test ssecast"))

WITHOUT_A_VOLUME = (step(INSTALL, "helm install ssecast charts/ssecast --set"),)

A_LIFE = (
    step(INSTALL, "kind create cluster"),
    step(INSTALL, "kubectl --namespace ssecast port-forward"),
    step(INSTALL, "helm test ssecast"),
    step(SECURITY, "kubectl label namespace ssecast pod-security.kubernetes.io/enforce=restricted"),
    step("docs/dashboards.md", "helm upgrade --install"),
    step(UPGRADE, "helm upgrade ssecast"),
    step(UPGRADE, "helm rollback ssecast --namespace ssecast"),
    step(UPGRADE, "kubectl apply --server-side --force-conflicts"),
    step(TROUBLE, "kubectl --namespace ssecast describe"),
    step(
        TROUBLE,
        "kubectl apply --server-side --field-manager=helm --filename charts/ssecast/crds/broadcasters.yaml",
    ),
    step(TROUBLE, "kubectl logs deployment/ssecast"),
    step(TROUBLE, "kubectl --namespace default get endpointslices --selector kubernetes.io/service-name=kubernetes"),
    step(TROUBLE, "kubectl get networkpolicy"),
    step(CHART, "kubectl explain broadcaster.spec"),
    step(CHART, "kubectl explain broadcaster.spec --recursive"),
    step(OPERATIONS, "kubectl get broadcaster ssecast --output jsonpath='{.status.budget}'"),
    step(OPERATIONS, "kubectl describe broadcaster ssecast"),
    step(OPERATIONS, "ssecast-operator explain ssecast --namespace ssecast"),
    step(OPERATIONS, "kubectl get pods --selector app.kubernetes.io/name=ssecast --label-columns ssecast.dev/serving"),
    step(OPERATIONS, "kubectl annotate broadcaster ssecast ssecast.dev/paused=true"),
    step(OPERATIONS, "kubectl annotate broadcaster ssecast ssecast.dev/paused-"),
    step(
        OPERATIONS,
        "kubectl label pods --selector app.kubernetes.io/name=ssecast ssecast.dev/serving=true --overwrite",
    ),
    step(SECURITY, "ssecast-operator rbac"),
    step(K8S, "helm template ssecast charts/ssecast"),
)
"""Of one release, from its installation on."""

RESTARTS = (
    step("docs/runbooks/SsecastRefusals.md", 'kubectl -n "$NS" scale deployment "$NAME" --replicas=20'),
    step("docs/runbooks/SsecastHeadSkew.md", 'kubectl -n "$NS" delete pod "$POD"'),
    step("docs/runbooks/SsecastPhaseStuck.md", 'kubectl -n "$NS" delete pod "$POD" --force'),
    step(OPERATIONS, "kubectl delete pod NAME"),
    step(TROUBLE, "kubectl delete pod ssecast-test"),
    step(
        "docs/runbooks/SsecastOperatorStalled.md",
        'kubectl -n "$OPNS" rollout restart deploy/ssecast-operator',
    ),
)
"""Those after which pods are other ones."""

REMOVAL = (step(INSTALL, "helm uninstall"), step(INSTALL, "kubectl delete customresourcedefinition"))

PLAIN_MANIFESTS = (step(K8S, "kubectl create namespace"),)

BY_HPA = (
    step(OPERATIONS, r"kubectl get configmap ssecast-adapter-rule --output jsonpath='{.data.rules\.yaml}'"),
    step(CHART, "kubectl get configmap NAME-adapter-rule"),
    step(
        TROUBLE,
        'kubectl get --raw "/apis/custom.metrics.k8s.io/v1beta2/namespaces/ssecast/broadcasters.ssecast.dev/ssecast/'
        'ssecast_demand_streams"',
    ),
)

SIMULATE = "docs/simulate.md"
SIMULATION = (step(SIMULATE, "pip install"),)

HISTORY = (
    step(SIMULATE, "ssecast-operator simulate broadcaster.yaml --prometheus"),
    step(SIMULATE, "curl -s http://prometheus:9090"),
    step(SIMULATE, "ssecast-operator recommend"),
)
"""Of one Prometheus."""

NATS_LINES = tuple(
    {each.bare: each for each in commands() if each.program == "nats" and each.text not in NAMES}.values()
)
"""Of all pages, each once."""


def of_runbook(page: str) -> Iterator[Step]:
    """What a runbook asks of the cluster, without what restarts pods."""
    later = {each.bare for each in flat(RESTARTS)}
    for each in steps(page):
        asked = tuple(one for one in each if one.program != "nats" and one.bare not in NAMES | later)
        if asked:
            yield asked


def flat(these: Iterable[Step]) -> list[Command]:
    return [command for each in these for command in each]


RUNBOOKS = {page: found for page in RUNBOOK_PAGES if (found := tuple(of_runbook(page)))}

DOCS, HPA = Path("tests/cluster/test_chart_docs.py"), Path("tests/cluster/test_chart_hpa.py")
PLAIN, HERE = Path("tests/cluster/test_k8s.py"), Path("tests/docs/test_here.py")

SHARES: Mapping[tuple[Path, str], list[Command]] = {
    (DOCS, "test_the_quick_start_shows_the_stream"): flat(QUICK_START),
    (DOCS, "test_a_release_without_a_volume"): flat(WITHOUT_A_VOLUME),
    (DOCS, "test_a_release_lives_by_the_pages"): flat(A_LIFE),
    (DOCS, "test_a_runbook_can_be_typed"): [one for found in RUNBOOKS.values() for one in flat(found)],
    (DOCS, "test_what_restarts_pods_leaves_a_fleet"): flat(RESTARTS),
    (DOCS, "test_nothing_is_left_after_the_last_lines"): flat(REMOVAL),
    (PLAIN, "test_the_lines_of_the_page_lead_to_a_stream"): flat(PLAIN_MANIFESTS),
    (HPA, "test_pods_follow_streams_by_the_charts_hpa_and_rule"): flat(BY_HPA),
    (HERE, "test_what_is_asked_of_nats"): list(NATS_LINES),
    (HERE, "test_a_policy_is_tried"): flat(SIMULATION),
    (HERE, "test_what_really_happened_is_replayed"): flat(HISTORY),
}
"""By the test that types them."""
