"""Settings that change while a pod runs, as Kubernetes changes a ConfigMap that is mounted."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ssecast.dev import EmbeddedNats
from tests.harness import Client, Pod, until

MakePod = Callable[..., Pod]


class Folder:
    """Files in a folder that a link leads to, which is swapped: what is in it changes all at once, as the kubelet does it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._version = 0
        path.mkdir()

    def hold(self, **settings: object) -> None:
        self._version += 1
        data = self.path / f"..version-{self._version}"
        data.mkdir()
        for name, value in settings.items():
            (data / f"SSECAST_{name.upper()}").write_text(f"{value}\n")
        link = self.path / "..new"
        link.symlink_to(data.name)
        link.rename(self.path / "..data")
        for name in settings:
            file = self.path / f"SSECAST_{name.upper()}"
            if not file.is_symlink():
                file.symlink_to(Path("..data") / file.name)
        for file in self.path.glob("SSECAST_*"):
            if not file.exists():
                os.unlink(file)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "settings")


async def test_limits_heartbeats_and_origins_change_while_streams_are_open(
    nats_server: EmbeddedNats, make_pod: MakePod, folder: Folder
) -> None:
    folder.hold(max_streams=1, heartbeat_seconds=3600)
    pod = await make_pod(nats_server.url, settings_dir=folder.path).start()
    client = await Client.open(pod.port)
    await until(lambda: bool(client.events), "the first block")
    assert (pod.load["capacity"], pod.load["restart_needed"]) == (1, [])
    folder.hold(max_streams=3, heartbeat_seconds=0.5, cors_origins="https://app.example", max_streams_per_client=1)
    await until(lambda: pod.load["capacity"] == 3, "the new limit")
    assert pod.metric("ssecast_capacity_streams") == 3
    comments = client.parser.comments
    await until(lambda: client.parser.comments > comments + 2, "heartbeats of the old stream")
    other = await Client.open(pod.port, origin="https://app.example")
    await until(lambda: bool(other.events), "room for another one")
    assert other.headers["access-control-allow-origin"] == "https://app.example"
    assert pod.request("GET", "/events", headers={"accept": "*/*"})[0] == 429, (
        "the first one was not counted when it came"
    )
    assert not client.ended
    await client.close()
    await other.close()


async def test_what_only_a_new_pod_takes_is_told(nats_server: EmbeddedNats, make_pod: MakePod, folder: Folder) -> None:
    folder.hold(subjects="events.>", retry_ms=300)
    pod = await make_pod(nats_server.url, settings_dir=folder.path).start()
    folder.hold(subjects="orders.>", retry_ms=300)
    await until(lambda: pod.load["restart_needed"] == ["SSECAST_SUBJECTS"], "word of it")
    assert pod.request("GET", "/info")[1]["subjects"] == ["events.>"]
    folder.hold(subjects="events.>", retry_ms=300)
    await until(lambda: pod.load["restart_needed"] == [], "all as it was")


async def test_settings_that_cannot_be_change_nothing_and_are_told(
    nats_server: EmbeddedNats, make_pod: MakePod, folder: Folder
) -> None:
    folder.hold(max_streams=5)
    pod = await make_pod(nats_server.url, settings_dir=folder.path).start()
    folder.hold(max_streams=0)
    await until(lambda: bool(pod.load["problem"]), "word of it")
    assert (
        pod.load["problem"]
        == "SSECAST_MAX_STREAMS='0' is not allowed: it must be a whole number from 1 to 1000000 streams."
    )
    assert pod.load["capacity"] == 5
    folder.hold(max_streams=7)
    await until(lambda: pod.load["capacity"] == 7, "the limit that can be")
    assert pod.load["problem"] == ""


async def test_the_environment_wins(nats_server: EmbeddedNats, make_pod: MakePod, folder: Folder) -> None:
    folder.hold(max_streams=5, page="true")
    pod = await make_pod(nats_server.url, settings_dir=folder.path, max_streams=6).start()
    assert pod.load["capacity"] == 6
    assert "<html" in pod.request("GET", "/")[1]
