"""store.py: the newest look at each object, by its Broadcaster."""

from typing import Any

from ssecast_operator.broadcaster import KIND
from ssecast_operator.store import Key, Store

KEY = Key("news", "live")


def body(name: str, version: int = 1, uid: str = "", of: str = "live") -> dict[str, Any]:
    labels = {"ssecast.dev/broadcaster": of} if of else {}
    metadata = {"namespace": "news", "name": name, "uid": uid or f"uid-{name}", "labels": labels}
    return {"metadata": metadata | {"resourceVersion": str(version)}}


def test_an_older_look_does_not_undo_what_was_written() -> None:
    store = Store()
    store.put("Pod", body("a", 5))
    store.put("Pod", body("a", 4))
    assert store.child(KEY, "Pod", "a") == body("a", 5)
    store.put("Pod", body("a", 6))
    assert store.child(KEY, "Pod", "a") == body("a", 6)


def test_the_broadcaster_is_woken_by_what_is_new_and_by_nothing_else() -> None:
    woken: list[Key] = []
    store = Store(woken.append)
    store.put("Pod", body("a", 5))
    store.put("Pod", body("a", 5))
    store.put("Pod", body("nobodys", of=""))
    assert woken == [KEY]
    store.drop("Pod", body("a", 6))
    assert woken == [KEY, KEY]


def test_of_pods_that_is_kept_which_is_looked_at() -> None:
    store = Store()
    store.put("Pod", body("a") | {"spec": {"nodeName": "node-1", "containers": []}})
    store.put("Deployment", body("a") | {"spec": {"template": {}}})
    assert store.child(KEY, "Pod", "a") == body("a") | {"spec": {"nodeName": "node-1"}}
    assert store.child(KEY, "Deployment", "a") == body("a") | {"spec": {"template": {}}}


def test_who_has_the_name_of_one_that_is_gone_stays() -> None:
    store = Store()
    store.put("Pod", body("a", 5, "second"))
    store.drop("Pod", body("a", 6, "first"))
    assert store.children(KEY, "Pod") == [body("a", 5, "second")]


def test_what_a_list_does_not_show_is_gone_unless_it_came_meanwhile() -> None:
    store = Store()
    store.put("Pod", body("gone"))
    store.put("Pod", body("stays"))
    store.put("Service", body("other kind"))
    known = store.known("Pod")
    store.put("Pod", body("came meanwhile"))
    store.replace("Pod", [body("stays", 2), body("missed")], known)
    assert {pod["metadata"]["name"] for pod in store.children(KEY, "Pod")} == {"stays", "missed", "came meanwhile"}
    assert len(store.children(KEY, "Service")) == 1


def test_broadcasters_come_and_go() -> None:
    store = Store()
    store.put(KIND, body("live", of=""))
    assert store.keys == [KEY]
    known = store.known(KIND)
    store.replace(KIND, [], known)
    assert store.broadcaster(KEY) is None
    assert store.keys == []
