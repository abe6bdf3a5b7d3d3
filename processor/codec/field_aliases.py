"""Which keys of an object carry the leaves of a score, by the settings' aliases.

What can be told from the keys of an object alone, worked out once for each set of keys.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_REMEMBERED = 256
_USUAL_KEYS = 48
_USUAL_KEY_LENGTH = 64


class KeyedCache(dict[tuple[str, ...], T]):
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


class ScoreKeys(msgspec.Struct, frozen=True):
    """The key of each leaf as one object spells it; None where the object has none."""

    score: str | None = None
    probability: str | None = None
    percentile: str | None = None
    modelType: str | None = None  # noqa: N815  as the settings name it
    scoreDate: str | None = None  # noqa: N815  likewise
    influentialFactors: str | None = None  # noqa: N815  likewise
    prediction: str | None = None


class FieldAliases:
    """The aliases of the leaves; letter case is ignored, an earlier alias goes before a later."""

    def __init__(self, aliases: Mapping[str, Sequence[str]]) -> None:
        self._ranks: dict[str, tuple[int, str]] = {}
        for leaf in ScoreKeys.__struct_fields__:
            for rank, alias in enumerate(aliases.get(leaf, [leaf])):
                self._ranks.setdefault(alias.lower(), (rank, leaf))
        self._by_keys = KeyedCache(self._clear)

    def keys_of(self, body: dict[str, Any]) -> ScoreKeys:
        """Return where the leaves are; of several aliases the first that is not null."""
        clear = self._by_keys[tuple(body)]
        return clear or self._assign(key for key, value in body.items() if value is not None)

    def _clear(self, keys: tuple[str, ...]) -> ScoreKeys | None:
        """Return where the leaves are, None where two keys mean one leaf: only values can tell."""
        leaves = [self._ranks[key.lower()][1] for key in keys if key.lower() in self._ranks]
        return self._assign(keys) if len(leaves) == len(set(leaves)) else None

    def _assign(self, keys: Iterable[str]) -> ScoreKeys:
        best: dict[str, tuple[int, str]] = {}
        for key in keys:
            rank, leaf = self._ranks.get(key.lower(), (0, ""))
            if leaf and rank < best.get(leaf, (len(self._ranks), ""))[0]:
                best[leaf] = (rank, key)
        return ScoreKeys(**{leaf: key for leaf, (_, key) in best.items()})
