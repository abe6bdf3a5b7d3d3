"""No side door, where experience events are keyed as scores are."""

from collections.abc import Sequence

from processor.errors import InvariantError

__all__ = ["ForwardOff"]


class ForwardOff:
    """Forwards nothing, because nothing is to be forwarded."""

    holding: str | None = None
    done = True

    def send(self, messages: Sequence[tuple[bytes, bytes]]) -> "ForwardOff":
        """Return at once; raises InvariantError where there is anything to send."""
        if messages:
            raise InvariantError("There is no topic to forward to.")
        return self

    def poll(self) -> None:
        """Serve nobody."""

    def close(self, seconds: float) -> bool:
        """Flush nothing."""
        del seconds
        return True
