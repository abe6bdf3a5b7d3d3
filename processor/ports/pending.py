"""What every door hands back for work that takes a while."""

from typing import Protocol

__all__ = ["Pending"]


class Pending(Protocol):
    """Something on its way; `done` turns true once and stays so."""

    @property
    def done(self) -> bool:
        """Return True when it is durable."""
        ...
