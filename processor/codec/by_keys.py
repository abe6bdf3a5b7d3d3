"""What can be told from the keys of an object alone, worked out once for each set of keys."""

from collections.abc import Callable
from typing import TypeVar

__all__ = ["ByKeys"]

T = TypeVar("T")

_REMEMBERED = 256
_USUAL_KEYS = 48
_USUAL_KEY_LENGTH = 64


class ByKeys(dict[tuple[str, ...], T]):
    """Remembers a function of an object's keys: the records of one source have the same ones.

    `by_keys[tuple(body)]` always has an answer. Bounded whatever the records: unusual objects are
    worked out each time, and a full memory is emptied.
    """

    def __init__(self, work_out: Callable[[tuple[str, ...]], T]) -> None:
        super().__init__()
        self._work_out = work_out

    def __missing__(self, keys: tuple[str, ...]) -> T:
        meaning = self._work_out(keys)
        if len(keys) <= _USUAL_KEYS and max(map(len, keys), default=0) <= _USUAL_KEY_LENGTH:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[keys] = meaning
        return meaning
