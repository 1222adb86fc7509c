"""prometheus.py: what a real Prometheus remembers of a fleet is replayed, and what it cannot tell is one sentence."""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ssecast_operator.__main__ import app
from ssecast_operator.history import Subject, measured, trace_of
from ssecast_operator.policies import read_policy
from ssecast_operator.prometheus import PrometheusError, Source, history
from ssecast_operator.results import figures_of
from ssecast_operator.simulation import Run, simulate
from ssecast_operator.traces import built_in
from tests.fleets import spec_of
from tests.harness import free_port
from tests.monitoring.remembered import Scrapes, remembering

HOURS = 3600.0
PAST = built_in("flash-crowd", 30_000)


@pytest.fixture(scope="module")
def ran() -> Run:
    return simulate(PAST, spec_of())


@pytest.fixture(scope="module")
def now() -> float:
    """A whole minute, just passed."""
    return time.time() // 60 * 60


@pytest.fixture(scope="module")
def url(ran: Run, now: float, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One Broadcaster that has run, and one of the same name in two namespaces."""
    began = now - PAST.seconds
    texts = [Scrapes(ran, began, {"namespace": "shop", "broadcaster": "news"}).text]
    short = Run(ran.trace, ran.scaler, ran.spec, 0, ran.series)
    texts += [Scrapes(short, began, {"namespace": each, "broadcaster": "twice"}).text for each in ("one", "other")]
    with remembering(tmp_path_factory.mktemp("prometheus"), merged(texts)) as url:
        yield url


def merged(texts: list[str]) -> str:
    """Lines of one metric stand together in OpenMetrics."""
    families: dict[str, list[str]] = {}
    for text in texts:
        family = ""
        for line in text.splitlines():
            if line.startswith("# TYPE"):
                family = line
            elif line != "# EOF":
                families.setdefault(family, []).append(line)
    return "\n".join(f"{family}\n" + "\n".join(lines) for family, lines in families.items()) + "\n# EOF\n"


def source(url: str, name: str = "news", namespace: str = "", seconds: float = 2 * HOURS) -> Source:
    return Source(url, seconds, Subject(name, namespace))


def command(*arguments: object) -> Result:
    return CliRunner(env={"COLUMNS": "160"}).invoke(app, [str(each) for each in arguments])


def test_what_prometheus_remembers_is_what_happened(url: str, ran: Run, now: float) -> None:
    """The same clients, pods and disconnects, but for what lies between two scrapes."""
    past = history(source(url), 6000, now)
    trace = trace_of(past)
    assert trace.name == "shop-news"
    assert trace.seconds == pytest.approx(PAST.seconds, abs=30)
    seconds = np.arange(0, trace.seconds, 60)
    wanted = np.interp(seconds + (past.began - (now - PAST.seconds)), PAST.times, PAST.clients)
    clients = np.interp(seconds, trace.times, trace.clients)
    assert np.mean(np.abs(clients - wanted)) < 0.02 * max(PAST.clients)
    found, real = figures_of(measured(past, ran.spec), "measured"), figures_of(ran)
    assert found.pod_hours == pytest.approx(real.pod_hours, rel=0.03)
    assert found.refused == pytest.approx(real.refused, rel=0.1)
    assert found.drained == pytest.approx(real.drained, rel=0.1)
    assert found.skew == pytest.approx(real.skew, rel=0.03)


def test_what_happened_stands_beside_what_would_have(url: str, tmp_path: Path) -> None:
    """The command, up to now: what has happened since the fixture was made is a gap of a few seconds at the end."""
    out, plot = tmp_path / "out.json", tmp_path / "{trace}.svg"
    done = command(
        "simulate", "--no-rivals", "--prometheus", url, "--range", "2h", "--broadcaster", "news", "--json", out, "--plot", plot
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    real, ours = json.loads(out.read_text())
    assert (real["label"], ours["label"], real["trace"]) == ("measured", "operator", "shop-news")
    assert ours["pod_hours"] == pytest.approx(real["pod_hours"], rel=0.1)
    assert "<svg" in (tmp_path / "shop-news.svg").read_text()


def test_a_recommendation_follows_from_what_happened(url: str) -> None:
    done = command("recommend", "--prometheus", url, "--range", "2h", "--broadcaster", "news", "--namespace", "shop")
    assert done.exit_code == 0, done.output
    spec = read_policy(done.stdout, "new.yaml").spec
    assert spec.scaling.streams_per_pod.limit == 10_000
    assert "# From shop-news, " in done.stdout
    assert "The pods say that they take 10,000" in done.stdout


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (source("{url}", "old"), "{url} knows no ssecast_streams of a Broadcaster 'old'; expected is the name of one whose"),
        (source("{url}", "news", "barn"), "{url} knows no ssecast_streams of a Broadcaster 'barn/news'; expected"),
        (source("{url}", "twice"), "there is a Broadcaster 'twice' in one, other; expected is --namespace"),
        (source("{url}/elsewhere"), "{url}/elsewhere has answered 404 and no result; expected is the address of a Prometheus"),
        (source("{closed}"), "{closed} does not answer: "),
        (source("ftp://127.0.0.1"), "ftp://127.0.0.1 does not answer: "),
    ],
    ids=["name", "namespace", "twice", "path", "closed", "scheme"],
)  # fmt: skip
def test_what_it_cannot_tell_is_one_sentence(asked: Source, sentence: str, url: str, now: float) -> None:
    where = {"url": url, "closed": f"http://127.0.0.1:{free_port()}"}
    told = Source(asked.url.format(**where), asked.seconds, asked.subject)
    with pytest.raises(PrometheusError) as wrong:
        history(told, 6000, now)
    assert str(wrong.value).startswith(sentence.format(**where))


def test_a_query_that_prometheus_refuses_is_told_in_its_words(url: str, now: float) -> None:
    with pytest.raises(PrometheusError, match=r"says: .*parse"):
        history(source(url), "1)", now)  # type: ignore[arg-type]


def test_before_there_was_a_broadcaster_there_is_no_history(url: str, now: float) -> None:
    with pytest.raises(PrometheusError, match="knows no ssecast_streams"):
        history(source(url), 6000, now - 10 * HOURS)


def test_a_token_is_sent_as_a_bearer(now: float) -> None:
    """To a server that wants one; Prometheus itself leaves that to what stands in front of it."""
    seen: list[str] = []

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(self.headers["Authorization"])
            self.send_response(401)
            self.end_headers()

        def log_request(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_address[1]}"
        with pytest.raises(PrometheusError, match="has answered 401 and no result"):
            history(Source(address, 2 * HOURS, Subject("news"), token="secret"), 6000, now)
        server.shutdown()
    assert seen == ["Bearer secret"]


@pytest.mark.parametrize(("days", "step"), [(1 / 24, 15), (1, 15), (7, 75), (90, 780)])
def test_steps_are_so_long_that_prometheus_answers(days: float, step: int) -> None:
    asked = source("http://127.0.0.1", seconds=days * 24 * HOURS)
    assert asked.step == step
    assert asked.seconds / asked.step <= 11_000


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["simulate", "--prometheus", "http://x"], "--prometheus needs --broadcaster"),
        (["simulate", "--broadcaster", "news"], "no --prometheus that is asked for it"),
        (["simulate", "--prometheus", "http://x", "--broadcaster", "n", "--range", "7y"], "--range is '7y'; expected is a time from 10m to 90d"),
        (["recommend", "--prometheus", "http://x", "--broadcaster", "n", "--range", "1s"], "--range is '1s'; expected"),
        (["recommend"], "expected is one of --trace and --prometheus"),
        (["recommend", "--trace", "no.json"], "no.json cannot be read: No such file or directory"),
        (["recommend", "--trace", "storm"], "there is no trace 'storm'"),
        (["recommend", "--trace", "all"], "--trace all are 9 traces; expected is one to recommend from"),
        (["recommend", "--prometheus", "http://127.0.0.1:1", "--broadcaster", "n"], "http://127.0.0.1:1 does not answer"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_is_one_sentence_and_exit_code_2(arguments: list[str], sentence: str) -> None:
    done = command(*arguments)
    assert done.exit_code == 2
    assert sentence in done.stderr
    assert "Traceback" not in done.output
