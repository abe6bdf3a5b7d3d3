"""The exceptions of the processor, by the three kinds of failure.

ProcessorError
├─ RejectError          the record is bad: it is dead-lettered
├─ UnavailableError     the environment is unavailable: pause intake, keep polling, try again
├─ InvariantError       the program is wrong: crash, and commit nothing more
├─ SettingsError        the settings are wrong: nothing starts
└─ StopError            a limit of the settings is exceeded: stop in order
"""

from processor.domain.outcome import Reason, Reject, Stage


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


class StopError(ProcessorError):
    """A limit of the settings is exceeded; an operator has to decide how to go on."""


class InvariantError(ProcessorError):
    """A condition that the program relies on does not hold."""
