"""Laws of the loop: in whatever order things happen, only settled records are committed."""

from collections import Counter
from contextlib import ExitStack

import structlog
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from msgspec.structs import replace

from processor.domain.record import Partition, Record
from tests.support.stream_run import NOW_MS, SCORES, StreamRun, score_record


class Loop(RuleBasedStateMachine):
    """Polls, outages of every component, refusals, lost partitions and turns, in any order."""

    @initialize()
    def open(self) -> None:
        self.capture = ExitStack()
        self.lines = self.capture.enter_context(structlog.testing.capture_logs())
        self.stream_run = StreamRun(changes={"kafka/commit_seconds": 0.001})
        self.stream_run.start()
        self.stream_run.source.group |= {Partition(SCORES, 1)}
        self.ends = [0, 0]

    @rule(numbers=st.lists(st.integers(0, 1), min_size=1, max_size=5), bad=st.booleans())
    def arrive(self, numbers: list[int], *, bad: bool) -> None:
        self.stream_run.source.add([self._record(number, bad=bad) for number in numbers])

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

    @rule(unready=st.sets(st.integers(0, 1)))
    def state(self, unready: set[int]) -> None:
        self.stream_run.state_store.unready = unready

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
        settled = {_position(event.record) for event in self.stream_run.sink.accepted}
        settled |= {_position(record) for record in self.stream_run.dead_letters.records}
        assert self._committed() <= settled

    @invariant()
    def scores_of_a_partition_are_sent_in_order_the_first_time(self) -> None:
        if not hasattr(self, "stream_run"):
            return
        for number in (0, 1):
            sent = [e.record for e in self.stream_run.sink.handed_over]
            offsets = [record.offset for record in sent if record.partition == number]
            first_times = list(dict.fromkeys(offsets))
            assert first_times == sorted(first_times)

    @invariant()
    def every_committed_score_is_stored(self) -> None:
        if not hasattr(self, "stream_run"):
            return
        committed, durable = self._committed(), self.stream_run.state_store.durable
        for event in self.stream_run.sink.accepted:
            if _position(event.record) in committed:
                key = (event.record.partition, event.person)
                assert event.model in durable[key].scores

    def teardown(self) -> None:
        """End every outage: then everything that arrived is committed."""
        if not hasattr(self, "stream_run"):
            return
        stream_run = self.stream_run
        stream_run.sink.unavailable_reason = stream_run.dead_letters.unavailable_reason = (
            stream_run.state_store.unavailable_reason
        ) = None
        stream_run.sink.slow = stream_run.dead_letters.slow = False
        stream_run.state_store.unready = set()
        for _ in range(4 * sum(self.ends) + 8):
            stream_run.stream.run_once()
        ends = {(SCORES, number): end for number, end in enumerate(self.ends) if end}
        assert stream_run.source.committed == ends
        assert stream_run.stream.unsettled == 0
        self.capture.close()
        sent = Counter(_position(event.record) for event in stream_run.sink.accepted)
        assert {each for each, times in sent.items() if times > 1} <= self._in_doubt()

    def _committed(self) -> set[tuple[int, int]]:
        """Return partition and offset of every committed record."""
        committed = self.stream_run.source.committed.items()
        return {(number, offset) for (_, number), end in committed for offset in range(end)}

    def _in_doubt(self) -> set[tuple[int, int]]:
        """Return partition and offset of the records that the log lists as in doubt."""
        in_doubt: set[tuple[int, int]] = set()
        for run in (run for line in self.lines for run in line.get("ranges", "").split(",") if run):
            _, number, offsets = run.rsplit("/", 2)
            first, _, last = offsets.partition("-")
            in_doubt |= {(int(number), at) for at in range(int(first), int(last or first) + 1)}
        return in_doubt

    def _record(self, number: int, *, bad: bool) -> Record:
        offset = self.ends[number]
        self.ends[number] += 1
        if bad:
            return Record(SCORES, number, offset, NOW_MS, None, b"{")
        return replace(score_record(offset, person=offset + 1), partition=number)


def _position(record: Record) -> tuple[int, int]:
    return record.partition, record.offset


TestLoop = Loop.TestCase
TestLoop.settings = profile(max_examples=200, stateful_step_count=30, deadline=None)
