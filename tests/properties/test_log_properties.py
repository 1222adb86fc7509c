"""The log against a plain list."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from ssecast import log as log_module
from ssecast.frame import Event, Frame, Position
from ssecast.log import FRAME_OVERHEAD, EventLog


def cost(frame: Frame) -> int:
    return len(frame.wire) + FRAME_OVERHEAD + (len(frame.kept_json) if frame.kept_json else 0)


class LogMachine(RuleBasedStateMachine):
    """Appending, advancing, reading and beginning anew in any order. The lists are cut often, which is rare in life."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(log_module, "COMPACT_AT", 3)

    def teardown(self) -> None:
        self.patch.undo()

    @initialize(events=st.integers(1, 8), size=st.integers(1, 8 * 500), seq=st.integers(0, 5))
    def begin(self, events: int, size: int, seq: int) -> None:
        self.log = EventLog(events, size, "e0", seq)
        self.model: list[Frame] = []
        self.floor = self.head = seq
        self.epoch = "e0"
        self.evicted = 0

    @rule(jump=st.integers(1, 3), subject=st.sampled_from("abc"), size=st.integers(0, 400))
    def append(self, jump: int, subject: str, size: int) -> None:
        frame = Frame(Event(subject, self.head + jump, b"x" * size), self.epoch)
        self.log.append(frame)
        self.model.append(frame)
        self.head += jump
        limits = self.log
        while len(self.model) > limits.max_events or (
            len(self.model) > 1 and sum(map(cost, self.model)) > limits.max_bytes
        ):
            self.floor = self.model.pop(0).seq
            self.evicted += 1

    @rule(at=st.integers(0, 9))
    def wrap(self, at: int) -> None:
        """Somebody asks for the second form: the log grows by it, as far as an eighth above its bound."""
        if not self.model:
            return
        frame, before = self.model[at % len(self.model)], self.log.bytes
        was_there = frame.kept_json is not None
        size = len(frame.json_wire)
        fits = before + size <= self.log.max_bytes + self.log.max_bytes // 8
        assert (frame.kept_json is not None) is (was_there or fits)

    @rule(share=st.floats(0.5, 1.0))
    def trim(self, share: float) -> None:
        self.log.max_bytes = max(1, int(self.log.max_bytes * share))
        self.log.trim()
        while len(self.model) > 1 and sum(map(cost, self.model)) > self.log.max_bytes:
            self.floor = self.model.pop(0).seq
            self.evicted += 1

    @rule(back=st.integers(0, 5))
    def refuse_what_is_not_new(self, back: int) -> None:
        with pytest.raises(ValueError, match="not above the head"):
            self.log.append(Frame(Event("a", self.head - back, b""), self.epoch))

    @rule(by=st.integers(-3, 5))
    def advance(self, by: int) -> None:
        self.log.advance(self.head + by)
        self.head = max(self.head, self.head + by)

    @rule(number=st.integers(0, 3), seq=st.integers(0, 20))
    def start(self, number: int, seq: int) -> None:
        self.epoch = f"e{number}"
        self.log.start(self.epoch, seq)
        self.model, self.floor, self.head = [], seq, seq

    @rule(low=st.integers(-8, 30), span=st.integers(-2, 40), most=st.integers(0, 9))
    def read(self, low: int, span: int, most: int) -> None:
        seq = max(self.head - low, 0)
        wanted = [frame for frame in self.model if seq < frame.seq <= seq + span]
        assert list(self.log.after(seq, seq + span, most)) == wanted[:most]
        for subject in "abcd":
            own = [f for f in wanted if f.subject == subject]
            assert self.log.of_subject(subject, seq, seq + span, 99) == own
            newer = sum(f.subject == subject and f.seq > seq for f in self.model)
            assert self.log.of_subject(subject, seq, seq + span, most) == (own if newer <= most else None)
            until = [f.seq for f in self.model if f.subject == subject and f.seq <= seq]
            assert self.log.newest_of(subject, seq) == max(until, default=0)

    @invariant()
    def agrees_on_its_limits(self) -> None:
        if not hasattr(self, "log"):
            return
        assert len(self.log) == len(self.model)
        assert self.log.bytes == sum(map(cost, self.model))
        assert self.log.position == Position(self.epoch, self.head)
        assert self.log.oldest == Position(self.epoch, self.floor)
        assert self.log.evicted == self.evicted
        assert set(self.log._newest) == {frame.subject for frame in self.model}


TestLog = LogMachine.TestCase
