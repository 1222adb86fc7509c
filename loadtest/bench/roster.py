"""Which peers take part: those of the benchmark itself, and those of `loadtest/peers/registry.py`."""

from collections.abc import Iterable

from loadtest.bench.peers import OWN, Peer
from loadtest.peers.registry import PEERS


def chosen(names: Iterable[str]) -> tuple[list[Peer], list[str]]:
    """The peers of these names, or all, that can be started; and a sentence for each that cannot.

    Raises ValueError for a name that no peer has.
    """
    known = {peer.name: peer for peer in (*OWN, *PEERS)}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{unknown[0]} is no peer; there are {', '.join(known)}")
    wanted = [known[name] for name in dict.fromkeys(names)] or list(known.values())
    missing = {peer.name: need for peer in wanted if (need := peer.missing()) is not None}
    skipped = [f"{name} is skipped, for it needs {need.name}: {need.install}" for name, need in missing.items()]
    return [peer for peer in wanted if peer.name not in missing], skipped
