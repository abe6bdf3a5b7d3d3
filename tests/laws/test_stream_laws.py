"""Laws of the loop: in whatever order things happen, only settled records are committed."""

from collections import Counter
from contextlib import ExitStack

import structlog
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from processor.domain.record import Record
from tests.support.stream_run import NOW_MS, SCORES, StreamRun, score_record


class Loop(RuleBasedStateMachine):
    """Polls, outages of every component, refusals, lost partitions and turns, in any order."""

    @initialize()
    def open(self) -> None:
        self.capture = ExitStack()
        self.lines = self.capture.enter_context(structlog.testing.capture_logs())
        self.stream_run = StreamRun(changes={"kafka/commit_seconds": 0.001})
        self.stream_run.start()
        self.offset = 0
        self.given: dict[int, str] = {}

    @rule(count=st.integers(1, 5), bad=st.booleans())
    def arrive(self, count: int, *, bad: bool) -> None:
        records = [self._record(self.offset + at, bad=bad) for at in range(count)]
        self.stream_run.source.add(records)
        self.offset += count

    @rule(down=st.booleans())
    def inlet(self, *, down: bool) -> None:
        self.stream_run.sink.unavailable_reason = (
            "upgrade: the inlet is unavailable" if down else None
        )

    @rule(slow=st.booleans())
    def network(self, *, slow: bool) -> None:
        self.stream_run.sink.slow = slow

    @rule(down=st.booleans())
    def dead_letter_topic(self, *, down: bool) -> None:
        self.stream_run.dead_letters.unavailable_reason = (
            "the topic is not writable" if down else None
        )

    @rule(slow=st.booleans())
    def dead_letters(self, *, slow: bool) -> None:
        self.stream_run.dead_letters.slow = slow

    @rule(restoring=st.booleans())
    def state(self, *, restoring: bool) -> None:
        self.stream_run.state_store.restoring = restoring

    @rule(down=st.booleans())
    def changelog(self, *, down: bool) -> None:
        self.stream_run.state_store.unavailable_reason = (
            "the changelog cannot be written" if down else None
        )

    @rule(count=st.integers(1, 3))
    def refusals(self, count: int) -> None:
        self.stream_run.sink.refuse_next = count

    @rule()
    def lose(self) -> None:
        self.stream_run.source.lose(self.stream_run.stream)

    @rule()
    def turn(self) -> None:
        self.stream_run.stream.run_once()

    @invariant()
    def only_settled_records_are_committed(self) -> None:
        if not hasattr(self, "stream_run"):
            return
        committed = self.stream_run.source.committed.get((SCORES, 0), 0)
        settled = {event.record.offset for event in self.stream_run.sink.accepted}
        settled |= set(self.stream_run.dead_letters.written)
        assert set(range(committed)) <= settled

    @invariant()
    def every_committed_score_is_stored(self) -> None:
        if not hasattr(self, "stream_run"):
            return
        committed = self.stream_run.source.committed.get((SCORES, 0), 0)
        delivered = [e for e in self.stream_run.sink.accepted if e.record.offset < committed]
        for event in delivered:
            assert event.model in self.stream_run.state_store.durable[0, event.person].scores

    def teardown(self) -> None:
        """End every outage: then everything that arrived is committed."""
        if not hasattr(self, "stream_run"):
            return
        stream_run = self.stream_run
        stream_run.sink.unavailable_reason = stream_run.dead_letters.unavailable_reason = (
            stream_run.state_store.unavailable_reason
        ) = None
        stream_run.sink.slow = stream_run.dead_letters.slow = stream_run.state_store.restoring = (
            False
        )
        for _ in range(4 * self.offset + 8):
            stream_run.stream.run_once()
        assert stream_run.source.committed.get((SCORES, 0), 0) == self.offset
        assert stream_run.stream.unsettled == 0
        self.capture.close()
        sent = Counter(event.record.offset for event in stream_run.sink.accepted)
        assert {offset for offset, times in sent.items() if times > 1} <= self._in_doubt()

    def _in_doubt(self) -> set[int]:
        """Return the offsets that the log lists as in doubt."""
        in_doubt: set[int] = set()
        for run in (run for line in self.lines for run in line.get("ranges", "").split(",") if run):
            first, _, last = run.rpartition("/")[2].partition("-")
            in_doubt |= set(range(int(first), int(last or first) + 1))
        return in_doubt

    def _record(self, offset: int, *, bad: bool) -> Record:
        if bad:
            return Record(SCORES, 0, offset, NOW_MS, None, b"{")
        return score_record(offset, person=offset + 1)


TestLoop = Loop.TestCase
TestLoop.settings = profile(max_examples=200, stateful_step_count=30, deadline=None)
