"""Laws of the loop: in whatever order things happen, only what is settled is committed."""

from collections import Counter
from contextlib import ExitStack

import structlog
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from processor.domain.record import Record
from tests.support.stream_run import NOW_MS, SCORES, Corridor, score_record


class Loop(RuleBasedStateMachine):
    """Polls, outages of every door, refusals, lost partitions and turns, interleaved at will."""

    @initialize()
    def open(self) -> None:
        self.capture = ExitStack()
        self.lines = self.capture.enter_context(structlog.testing.capture_logs())
        self.corridor = Corridor(changes={"kafka/commit_seconds": 0.001})
        self.corridor.begin()
        self.offset = 0
        self.given: dict[int, str] = {}

    @rule(count=st.integers(1, 5), bad=st.booleans())
    def arrive(self, count: int, *, bad: bool) -> None:
        records = [self._record(self.offset + at, bad=bad) for at in range(count)]
        self.corridor.source.add(records)
        self.offset += count

    @rule(down=st.booleans())
    def inlet(self, *, down: bool) -> None:
        self.corridor.sink.unavailable_reason = (
            "upgrade: the inlet is unavailable" if down else None
        )

    @rule(slow=st.booleans())
    def network(self, *, slow: bool) -> None:
        self.corridor.sink.slow = slow

    @rule(down=st.booleans())
    def dead_letter_topic(self, *, down: bool) -> None:
        self.corridor.dead_letters.unavailable_reason = (
            "the topic is not writable" if down else None
        )

    @rule(slow=st.booleans())
    def dead_letters(self, *, slow: bool) -> None:
        self.corridor.dead_letters.slow = slow

    @rule(restoring=st.booleans())
    def state(self, *, restoring: bool) -> None:
        self.corridor.state_store.restoring = restoring

    @rule(down=st.booleans())
    def changelog(self, *, down: bool) -> None:
        self.corridor.state_store.unavailable_reason = (
            "the changelog can not be written" if down else None
        )

    @rule(count=st.integers(1, 3))
    def refusals(self, count: int) -> None:
        self.corridor.sink.refuse_next = count

    @rule()
    def lose(self) -> None:
        self.corridor.source.lose(self.corridor.stream)

    @rule()
    def turn(self) -> None:
        self.corridor.stream.turn()

    @invariant()
    def only_what_has_a_fate_is_committed(self) -> None:
        if not hasattr(self, "corridor"):
            return
        committed = self.corridor.source.committed.get((SCORES, 0), 0)
        ended = {event.record.offset for event in self.corridor.sink.accepted}
        ended |= set(self.corridor.dead_letters.buried)
        assert set(range(committed)) <= ended

    @invariant()
    def what_is_committed_is_remembered(self) -> None:
        if not hasattr(self, "corridor"):
            return
        committed = self.corridor.source.committed.get((SCORES, 0), 0)
        delivered = [e for e in self.corridor.sink.accepted if e.record.offset < committed]
        for event in delivered:
            assert event.model in self.corridor.state_store.durable[0, event.person].scores

    def teardown(self) -> None:
        """Heal the world: then everything that arrived is committed."""
        if not hasattr(self, "corridor"):
            return
        corridor = self.corridor
        corridor.sink.unavailable_reason = corridor.dead_letters.unavailable_reason = (
            corridor.state_store.unavailable_reason
        ) = None
        corridor.sink.slow = corridor.dead_letters.slow = corridor.state_store.restoring = False
        for _ in range(4 * self.offset + 8):
            corridor.stream.turn()
        assert corridor.source.committed.get((SCORES, 0), 0) == self.offset
        assert corridor.stream.unsettled == 0
        self.capture.close()
        sent = Counter(event.record.offset for event in corridor.sink.accepted)
        assert {offset for offset, times in sent.items() if times > 1} <= self._told()

    def _told(self) -> set[int]:
        """Return the offsets that may be in the dataset twice, as the log has it."""
        told: set[int] = set()
        for run in (run for line in self.lines for run in line.get("places", "").split(",") if run):
            first, _, last = run.rpartition("/")[2].partition("-")
            told |= set(range(int(first), int(last or first) + 1))
        return told

    def _record(self, offset: int, *, bad: bool) -> Record:
        if bad:
            return Record(SCORES, 0, offset, NOW_MS, None, b"{")
        return score_record(offset, person=offset + 1)


TestLoop = Loop.TestCase
TestLoop.settings = profile(max_examples=200, stateful_step_count=30, deadline=None)
