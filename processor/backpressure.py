"""Backpressure: why intake is paused, and which partitions.

A component that is unavailable pauses every partition; person state that is being restored pauses
the partitions of its number only. `poll` goes on all the same, so the replica stays a member.
"""

from collections.abc import Mapping
from typing import NamedTuple

from processor.components import Components
from processor.control.pauses import StoredPause
from processor.domain.record import Partition
from processor.state.partitions import StatePartitions
from processor.telemetry.labels import PauseCause


class PauseReason(NamedTuple):
    """Why intake is paused, as a sentence without its full stop, and of how many partitions.

    `since_ms` is since when (epoch ms) where that is known from before; otherwise it begins now.
    """

    sentence: str
    partitions: int
    since_ms: int | None = None


class Backpressure:
    """Pauses the source while a component is unavailable, the window is full, or it is asked to.

    `reasons` has what is paused now, by cause; `all_paused` is True where it is every partition.
    """

    def __init__(self, components: Components, state_partitions: StatePartitions) -> None:
        self._components = components
        self._state_partitions = state_partitions
        self._for_all: Mapping[PauseCause, str] = {}
        self._since_ms: Mapping[PauseCause, int | None] = {}
        self._restoring: frozenset[Partition] = frozenset()
        self.reasons: Mapping[PauseCause, PauseReason] = {}

    @property
    def all_paused(self) -> bool:
        """Return True while no partition may be read."""
        assigned = self._components.source.assigned
        return bool(self._for_all) or (bool(assigned) and assigned <= self._restoring)

    def update(
        self,
        *,
        registry: str | None,
        window: str | None,
        requested: Mapping[PauseCause, StoredPause],
    ) -> None:
        """Collect the reasons to pause, and pause or resume the source for each change.

        `registry` and `window` are the loop's own reasons, None where there is none; `requested`
        are the pauses by hand and at limits.
        """
        source, sink, dead_letters, state_store, repartition, control = self._components
        found = {
            PauseCause.DESTINATION: sink.unavailable_reason,
            PauseCause.DEAD_LETTERS: dead_letters.unavailable_reason,
            PauseCause.STATE: state_store.unavailable_reason,
            PauseCause.REPARTITION: repartition.unavailable_reason,
            PauseCause.CONTROL: control.unavailable_reason,
            PauseCause.COMMIT: source.commit_overdue_reason,
            PauseCause.REGISTRY: registry,
            PauseCause.WINDOW: window,
            **{cause: stored.sentence for cause, stored in requested.items()},
        }
        self._since_ms = {cause: stored.since_ms for cause, stored in requested.items()}
        for_all = {cause: reason for cause, reason in found.items() if reason}
        for cause in self._for_all.keys() - for_all.keys():
            source.resume(cause)
        for cause in for_all.keys() - self._for_all.keys():
            source.pause(cause)
        self._for_all = for_all
        self._pause_restoring()
        self.reasons = self._collected()

    def _pause_restoring(self) -> None:
        """Pause the partitions whose person state cannot be loaded yet, and no others."""
        source, state_store = self._components.source, self._components.state_store
        restoring: frozenset[Partition] = frozenset()
        if state_store.restoring:
            numbers = self._state_partitions.numbers(source.assigned)
            unready = {number for number in numbers if not state_store.ready(number)}
            restoring = self._state_partitions.with_state(source.assigned, unready)
        if ended := self._restoring - restoring:
            source.resume(PauseCause.RESTORING, ended)
        # Paused again on each change of the assignment: a pause ends with its assignment.
        if restoring:
            source.pause(PauseCause.RESTORING, restoring)
        self._restoring = restoring

    def _collected(self) -> Mapping[PauseCause, PauseReason]:
        assigned = len(self._components.source.assigned)
        reasons = {
            cause: PauseReason(text, assigned, self._since_ms.get(cause))
            for cause, text in self._for_all.items()
        }
        if self._restoring:
            state_store = self._components.state_store
            fault = state_store.restore_unavailable_reason
            sentence = "person state is being restored"
            sentence = f"person state cannot be restored: {fault}" if fault else sentence
            reasons[PauseCause.RESTORING] = PauseReason(sentence, len(self._restoring))
        source = self._components.source
        if fault := source.topic_fault_reason:
            reasons[PauseCause.TOPICS] = PauseReason(fault, len(source.unread))
        return reasons
