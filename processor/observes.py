"""Who is told what the loop does."""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager
from typing import Protocol

from processor.batch import Batch
from processor.record import Partition
from processor.telemetry.health import State

__all__ = ["Observes"]


class Observes(Protocol):
    """Who is told what happens; counts it, and says where the replica stands."""

    def turned(self, unsettled: int) -> None:
        """Hear that the loop turned, with so many records under way."""
        ...

    def busy(self, stage: str, seconds: float) -> None:
        """Hear how long a stage took."""
        ...

    def planned(self, batch: Batch) -> None:
        """Hear that a batch is under way."""
        ...

    def settled(self, batch: Batch, gone: AbstractSet[Partition]) -> None:
        """Hear that a batch is settled, but for partitions that were no longer ours."""
        ...

    def abandoned(self, batch: Batch) -> None:
        """Hear that a batch will not be settled here; the sink is closed."""
        ...

    def stopping(self, phase: str) -> AbstractContextManager[None]:
        """Hear of a phase of the stop, for as long as it lasts."""
        ...

    def stands(self, causes: Mapping[str, str], *, state: State) -> None:
        """Hear where the replica stands, and what intake is held for, by part."""
        ...
