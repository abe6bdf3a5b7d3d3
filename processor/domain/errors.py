"""The exceptions of the processor, by the three kinds of failure.

ProcessorError
├─ RejectError          the record is bad: it is dead-lettered
├─ UnavailableError     the environment is unavailable: pause intake, keep polling, try again
├─ InvariantError       the program is wrong: crash, and commit nothing more
├─ SettingsError        the settings are wrong: nothing starts
└─ StopError            a limit of the settings is exceeded: pause intake until an operator resumes
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Partition


class ProcessorError(Exception):
    """Any exception that the processor raises on purpose; its text has no payload or secret."""


class SettingsError(ProcessorError):
    """The settings are wrong; `problems` has a sentence for each fault."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RejectError(ProcessorError):
    """A record, or one score in it, is bad; `reject` says why. `outcome.Reason` has all reasons."""

    def __init__(
        self, stage: Stage, reason: Reason, detail: str, *, pointer: str = "", model: str = ""
    ) -> None:
        super().__init__(detail)
        self.reject = Reject(stage, reason, detail, pointer, model)


class UnavailableError(ProcessorError):
    """The broker, the registry, the destination or the disk is unavailable; `part` names it."""

    def __init__(self, part: str, detail: str) -> None:
        super().__init__(f"{part}: {detail}")
        self.part = part
        self.detail = detail


class StopCause(StrEnum):
    """Which limit stops intake; also the part under which health and logs name the pause."""

    REJECT_LIMIT = "reject_limit"
    GAP = "gap"


class Gap(NamedTuple):
    """The loss of the offset of one partition: what `resume` accepts, and nothing else.

    `cause` is an `OffsetLoss`, `topic_id` that of the topic now, empty where the broker has none;
    `wanted` the offset that the group had, None where it has none; reading would go on at `start`.
    """

    cause: str
    topic_id: str
    wanted: int | None
    start: int


class StopError(ProcessorError):
    """A limit of the settings is exceeded: intake is paused until an operator resumes it.

    `gaps` has the partitions whose next records Kafka does not have. They are not read until the
    gap is accepted.
    """

    def __init__(self, sentence: str, gaps: Mapping[Partition, Gap] | None = None) -> None:
        super().__init__(sentence)
        self.gaps = dict(gaps or {})
        self.cause = StopCause.GAP if self.gaps else StopCause.REJECT_LIMIT


class InvariantError(ProcessorError):
    """A condition that the program relies on does not hold."""
