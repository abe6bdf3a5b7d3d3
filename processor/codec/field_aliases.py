"""Which keys of an object hold the fields of a score, by the aliases of the settings.

What follows from the keys of an object alone is worked out once for each set of keys.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")

_MAX_ENTRIES = 256
_MAX_KEYS = 48
_MAX_KEY_LENGTH = 64


class KeyedCache(dict[tuple[str, ...], T]):
    """Caches a function of an object's keys: the records of one source have the same ones.

    `cache[tuple(body)]` always has a value. The cache is bounded whatever the records: the value
    for many or long keys is not stored, and a full cache is emptied.
    """

    def __init__(self, compute: Callable[[tuple[str, ...]], T]) -> None:
        super().__init__()
        self._compute = compute

    def __missing__(self, keys: tuple[str, ...]) -> T:
        value = self._compute(keys)
        if len(keys) <= _MAX_KEYS and max(map(len, keys), default=0) <= _MAX_KEY_LENGTH:
            if len(self) >= _MAX_ENTRIES:
                self.clear()
            self[keys] = value
        return value


class ScoreKeys(msgspec.Struct, frozen=True):
    """The key of each field of a score in one object; None where the object has none."""

    score: str | None = None
    probability: str | None = None
    percentile: str | None = None
    modelType: str | None = None  # noqa: N815  as the settings name it
    scoreDate: str | None = None  # noqa: N815  likewise
    influentialFactors: str | None = None  # noqa: N815  likewise
    prediction: str | None = None


class FieldAliases:
    """The aliases of the fields; letter case is ignored, an earlier alias wins over a later."""

    def __init__(self, aliases: Mapping[str, Sequence[str]]) -> None:
        self._ranks: dict[str, tuple[int, str]] = {}
        for field in ScoreKeys.__struct_fields__:
            for rank, alias in enumerate(aliases.get(field, [field])):
                self._ranks.setdefault(alias.lower(), (rank, field))
        self._by_keys = KeyedCache(self._unambiguous)

    def keys_of(self, body: dict[str, Any]) -> ScoreKeys:
        """Return the key of each field; of several aliases the first that is not null."""
        keys = self._by_keys[tuple(body)]
        return keys or self._assign(key for key, value in body.items() if value is not None)

    def _unambiguous(self, keys: tuple[str, ...]) -> ScoreKeys | None:
        """Return the key of each field, None where a field has two: then the values decide."""
        fields = [self._ranks[key.lower()][1] for key in keys if key.lower() in self._ranks]
        return self._assign(keys) if len(fields) == len(set(fields)) else None

    def _assign(self, keys: Iterable[str]) -> ScoreKeys:
        best: dict[str, tuple[int, str]] = {}
        for key in keys:
            rank, field = self._ranks.get(key.lower(), (0, ""))
            if field and rank < best.get(field, (len(self._ranks), ""))[0]:
                best[field] = (rank, key)
        return ScoreKeys(**{field: key for field, (_, key) in best.items()})
