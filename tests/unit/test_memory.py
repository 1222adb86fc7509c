"""The memory room over trees of files as the kernel shows them: both versions, nested, without a limit, in a container."""

from pathlib import Path

import pytest

from ssecast.memory import (
    CRITICAL,
    HIGH,
    LOW,
    PAYLOADS_BYTES,
    SHARE,
    STREAM_BYTES,
    UNLIMITED,
    Memory,
    NoRoom,
    Payloads,
    cgroups,
)

MI = 2**20
V2 = "30 23 0:26 {root} /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate"
V1 = "35 31 0:32 {root} /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory"
OTHERS = [
    "22 28 0:20 / /proc rw,relatime - proc proc rw",
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu,cpuacct",
    "31 23 0:28 / /tmp rw - tmpfs tmpfs rw,mode=755",
]
NO_LIMIT_V1 = 9223372036854771712


class Tree:
    """A root with /proc/self and the mounts that it names."""

    def __init__(self, root: Path, mounts: list[str], own: list[str]) -> None:
        self.root = root
        self.write("proc/self/mountinfo", "\n".join([*OTHERS, *mounts, ""]))
        self.write("proc/self/cgroup", "\n".join([*own, ""]))

    def write(self, path: str, text: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(str(text))

    def v2(self, path: str, limit: object, used: int, inactive: int = 0) -> None:
        place = f"sys/fs/cgroup{path}"
        self.write(f"{place}/memory.max", f"{limit}\n")
        self.write(f"{place}/memory.current", f"{used + inactive}\n")
        self.write(
            f"{place}/memory.stat", f"anon 1\nfile 2\ninactive_anon 7\ninactive_file {inactive}\nactive_file 9\n"
        )

    def v1(self, path: str, limit: object, used: int, inactive: int = 0) -> None:
        place = f"sys/fs/cgroup/memory{path}"
        self.write(f"{place}/memory.limit_in_bytes", f"{limit}\n")
        self.write(f"{place}/memory.usage_in_bytes", f"{used + inactive}\n")
        self.write(
            f"{place}/memory.stat", f"inactive_file 1\nhierarchical_memory_limit 5\ntotal_inactive_file {inactive}\n"
        )

    def memory(self, streams: int = 0) -> Memory:
        memory = Memory(cgroups(self.root))
        memory.look(streams)
        return memory


def test_a_container_of_version_2_sees_its_own_cgroup_as_the_root(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [V2.format(root="/")], ["0::/"])
    tree.v2("", 512 * MI, 100 * MI, inactive=300 * MI)
    memory = tree.memory()
    assert (memory.limit, memory.used) == (512 * MI, 100 * MI)


def test_a_container_of_version_1_has_the_path_of_the_node_and_a_mount_of_its_own(tmp_path: Path) -> None:
    tree = Tree(tmp_path, [V1.format(root="/kubepods/pod1/abc")], ["4:memory:/kubepods/pod1/abc", "1:cpu:/", "0::/"])
    tree.v1("", 512 * MI, 100 * MI, inactive=50 * MI)
    memory = tree.memory()
    assert (memory.limit, memory.used) == (512 * MI, 100 * MI)


@pytest.mark.parametrize(
    ("mount_root", "own"), [("/kubepods/abc", "/kubepods/abcd"), ("/../..", "/"), ("/", "/../other"), ("/", "/gone")]
)
def test_a_path_that_cannot_be_seen_from_here_means_the_mount(tmp_path: Path, mount_root: str, own: str) -> None:
    tree = Tree(tmp_path, [V2.format(root=mount_root)], [f"0::{own}"])
    tree.v2("", 512 * MI, 100 * MI)
    tree.v2("/d", 1 * MI, 1 * MI)
    assert tree.memory().limit == 512 * MI


@pytest.mark.parametrize(("inner", "outer"), [((200, 100), ("max", 900)), (("max", 100), (1000, 900))])
def test_a_limit_counts_wherever_it_stands(
    tmp_path: Path, inner: tuple[int | str, int], outer: tuple[int | str, int]
) -> None:
    tree = Tree(tmp_path, [V2.format(root="/")], ["0::/system/pod"])
    tree.v2("/system/pod", *inner)
    tree.v2("/system", *outer)
    limit, used = inner if inner[0] != "max" else outer
    memory = tree.memory()
    assert (memory.limit, memory.used) == (limit, used)


def test_of_two_limits_the_one_that_is_nearer_counts(tmp_path: Path) -> None:
    """Neighbours in an outer cgroup can take what the inner one still grants."""
    tree = Tree(tmp_path, [V1.format(root="/")], ["4:memory:/a/b"])
    tree.v1("", NO_LIMIT_V1, 5000 * MI)
    tree.v1("/a", 1000 * MI, 840 * MI)
    tree.v1("/a/b", 500 * MI, 100 * MI)
    memory = tree.memory(streams=7)
    assert (memory.limit, memory.used) == (1000 * MI, 840 * MI)
    assert memory.most_streams == 7 + int(HIGH * 1000 * MI - 840 * MI) // STREAM_BYTES
    tree.v1("/a", 1000 * MI, 850 * MI)
    assert tree.memory().is_short


@pytest.mark.parametrize("case", ["max", "v1", "no files", "no proc", "hybrid"])
def test_without_a_limit_nothing_is_refused(tmp_path: Path, case: str) -> None:
    tree = Tree(tmp_path, [V1.format(root="/"), V2.format(root="/")], ["4:memory:/x", "0::/"])
    if case == "max":
        tree.v2("", "max", 100 * MI)
    elif case == "v1":
        tree.v1("/x", NO_LIMIT_V1, 100 * MI)
    elif case == "no proc":
        (tmp_path / "proc/self/cgroup").unlink()
        tree.v2("", MI, MI)
    elif case == "hybrid":  # version 2 is mounted, but the memory controller belongs to version 1
        tree.v1("/x", 1000 * MI, 100 * MI)
        assert tree.memory().limit == 1000 * MI
        return
    memory = tree.memory()
    assert memory.limit == memory.most_streams == UNLIMITED
    assert not memory.is_short
    assert not memory.is_critical


def test_the_real_files_of_this_machine_can_be_read() -> None:
    memory = Memory(cgroups())
    memory.look(0)
    assert memory.limit > 0


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path, [V2.format(root="/")], ["0::/"])
    tree.v2("", 1000 * MI, 100 * MI)
    return tree


def test_between_two_looks_new_streams_are_charged(tree: Tree) -> None:
    memory = tree.memory(streams=50)
    assert memory.most_streams == 50 + int(HIGH * 1000 * MI - 100 * MI) // STREAM_BYTES


def test_above_the_mark_no_stream_is_taken_until_the_use_has_fallen_well_below(tree: Tree) -> None:
    memory = tree.memory()
    for share, short in [(HIGH, True), ((HIGH + LOW) / 2, True), (LOW - 0.01, False), ((HIGH + LOW) / 2, False)]:
        tree.v2("", 1000 * MI, round(share * 1000 * MI))
        memory.look(10)
        assert memory.is_short is short
        assert (memory.most_streams == 0) is short
        assert not memory.is_critical


def test_shortly_below_the_limit_it_is_critical(tree: Tree) -> None:
    memory = tree.memory()
    tree.v2("", 1000 * MI, round(CRITICAL * 1000 * MI))
    memory.look(10)
    assert memory.is_critical
    tree.v2("", 1000 * MI, 100 * MI)
    memory.look(10)
    assert not memory.is_critical


def test_a_limit_that_is_raised_or_taken_away_while_the_pod_runs_is_seen(tree: Tree) -> None:
    memory = tree.memory()
    tree.v2("", 1000 * MI, 990 * MI)
    memory.look(10)
    assert memory.most_streams == 0
    tree.v2("", 2000 * MI, 990 * MI)
    memory.look(10)
    assert memory.limit == 2000 * MI
    assert memory.most_streams > 10
    tree.v2("", "max", 990 * MI)
    memory.look(10)
    assert memory.most_streams == UNLIMITED


def test_one_thing_may_have_its_share_of_the_limit(tree: Tree) -> None:
    memory = tree.memory()
    assert [memory.bound(size) for size in (64 * MI, 900 * MI)] == [64 * MI, int(SHARE * 1000 * MI)]
    tree.v2("", "max", 100 * MI)
    memory.look(0)
    assert memory.bound(900 * MI) == 900 * MI


def test_the_payloads_of_all_publishers_share_their_room_and_give_it_back(tree: Tree) -> None:
    payloads = Payloads(tree.memory(), MI)
    with payloads.one() as large, payloads.one() as small:
        large.add(b"x" * (PAYLOADS_BYTES - 2))
        small.add(b"y")
        with pytest.raises(NoRoom, match="bytes"):
            small.add(b"yy")
        assert small.data == b"y"
        assert payloads.held == PAYLOADS_BYTES - 1
    assert (payloads.held, payloads.refused) == (0, {"bytes": 1})


def test_one_payload_of_the_largest_size_always_fits(tree: Tree) -> None:
    with Payloads(tree.memory(), 2 * PAYLOADS_BYTES).one() as payload:
        payload.add(b"x" * 2 * PAYLOADS_BYTES)


def test_no_payload_begins_while_memory_is_short_and_none_grows_while_it_is_critical(tree: Tree) -> None:
    memory = tree.memory()
    payloads = Payloads(memory, MI)
    with payloads.one() as begun:
        tree.v2("", 1000 * MI, 900 * MI)
        memory.look(0)
        begun.add(b"x")
        with pytest.raises(NoRoom, match="memory"):
            payloads.one()
        tree.v2("", 1000 * MI, 960 * MI)
        memory.look(0)
        with pytest.raises(NoRoom, match="memory"):
            begun.add(b"x")
    assert (payloads.held, payloads.refused) == (0, {"memory": 2})


def test_what_was_freed_is_given_to_the_kernel_when_it_has_been_critical_for_a_look(
    tree: Tree, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[int] = []
    given: list[int] = []
    monkeypatch.setattr("ssecast.memory.give_to_kernel", lambda: given.append(looks[-1]))
    memory = tree.memory()
    tree.v2("", 1000 * MI, 960 * MI)
    for look in range(1, 15):
        looks.append(look)
        memory.look(0)
    assert given == [2, 12]
