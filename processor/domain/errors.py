"""The exceptions of the house, by fate.

ProcessorError
├─ SettingsError        the settings are wrong: said in plain sentences, nothing starts
├─ RejectError          the record is bad: it is dead-lettered
├─ UnavailableError     the world is bad: hold, keep polling, try again
├─ StopError            a limit the operator set says stop: end in order
└─ InvariantError       we are bad: crash, uncommitted
"""

from processor.domain.outcome import Reason, Reject, Stage


class ProcessorError(Exception):
    """Anything the house raises on purpose."""


class SettingsError(ProcessorError):
    """The settings are wrong; `problems` holds one plain sentence each."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RejectError(ProcessorError):
    """The record, or one score in it, is bad; carries the `Reject` to dead-letter."""

    def __init__(
        self, stage: Stage, reason: Reason, detail: str, *, pointer: str = "", model: str = ""
    ) -> None:
        super().__init__(detail)
        self.reject = Reject(stage, reason, detail, pointer, model)


class UnavailableError(ProcessorError):
    """The world is bad (broker, registry, destination, disk); `part` names which."""

    def __init__(self, part: str, detail: str) -> None:
        super().__init__(f"{part}: {detail}")
        self.part = part
        self.detail = detail


class StopError(ProcessorError):
    """A limit the operator set was reached; only a person can decide how to go on."""


class InvariantError(ProcessorError):
    """Something that can not be is so; stop before it does harm."""
