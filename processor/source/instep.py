"""In step: a score waits until the experience events that were in Kafka before it have been read.

The gate decides; this asks Kafka where the events end, and counts how the waiting went. Where
events are forwarded, a score first waits until all that were there before it have been.
"""

from collections.abc import Iterable, Sequence

import structlog

from processor.clock import Clock
from processor.record import Partition
from processor.source.gate import Gate, Outcome, Passed, Share
from processor.source.ledger import Ledger
from processor.source.offsets import Offsets
from processor.source.topics import Topics
from processor.source.upstream import Upstream
from processor.telemetry.metrics import Metrics

__all__ = ["InStep"]

_ASK_SECONDS = 0.2
_LAYOUT_SECONDS = 1.0

log = structlog.get_logger()


class InStep:
    """Lets everything but early scores through, events before the scores that waited for them."""

    def __init__(
        self, gate: Gate, topics: Topics, offsets: Offsets, *, metrics: Metrics, clock: Clock
    ) -> None:
        self._gate = gate
        self._topics = topics
        self._upstream = Upstream(topics, offsets, clock)
        self._offsets = offsets
        self._metrics = metrics
        self._clock = clock
        self._layout: dict[str, int] = {}
        self._turned = clock.monotonic()

    @property
    def kept(self) -> int:
        """Records that are kept back now."""
        return self._gate.kept

    def let_through(self, shares: Sequence[Share], ledger: Ledger, *, held: bool) -> list[Passed]:
        """Return what may go on. While `held` no score passes, and the waiting does not count."""
        now = self._clock.monotonic()
        turn, self._turned = now - self._turned, now
        scores = [share for share in shares if self._topics.scores(share.claim.partition.topic)]
        passed = [
            Passed(share, Outcome.NONE, 0.0)
            for share in shares
            if not self._topics.scores(share.claim.partition.topic)
        ]
        self._gate.enter(scores, now)
        if held:
            self._gate.postpone(turn)
            return passed
        self._ask(ledger)
        late = self._gate.leave(ledger.reached(), now)
        self._count(late)
        return passed + late

    def full(self, partitions: Iterable[Partition]) -> set[Partition]:
        """Return the partitions that must rest so that what is kept back stays bounded."""
        return self._gate.full([each for each in partitions if self._topics.scores(each.topic)])

    def forget(self, partitions: Iterable[Partition]) -> None:
        """Drop what was kept back of partitions that are ours no more."""
        self._gate.forget(partitions)

    def look_again(self) -> None:
        """Ask for the topics' partition counts anew, as after a rebalance."""
        self._layout = {}
        self._upstream.look_again()

    def _ask(self, ledger: Ledger) -> None:
        if not self._gate.unasked() or not self._known():
            return
        until = self._upstream.through(self._layout, ledger)
        numbers = self._gate.unasked(until)
        if not numbers:
            return
        aligned = self._topics.aligned(self._layout)
        beside = {
            number: self._topics.beside(self._layout, number) if aligned else []
            for number in numbers
        }
        wanted = [partition for partitions in beside.values() for partition in partitions]
        ends = self._offsets.ends_within(wanted, _ASK_SECONDS)
        self._gate.answer(
            {
                number: {partition: ends[partition] for partition in partitions}
                for number, partitions in beside.items()
                if ends.keys() >= set(partitions)
            },
            until,
        )

    def _known(self) -> bool:
        if not self._layout:
            self._layout = self._offsets.layout(_LAYOUT_SECONDS)
            if not self._topics.aligned(self._layout):
                log.warning(
                    "Scores do not wait for experience events: their topics differ in partitions."
                )
        return bool(self._layout)

    def _count(self, passed: Sequence[Passed]) -> None:
        for share, outcome, seconds in passed:
            self._metrics.counter("score_waits", outcome).inc(len(share.records))
            if outcome is not Outcome.NONE:
                self._metrics.histogram("score_wait_seconds").observe(seconds)
