"""Which keys of an object carry the leaves of a score, by the settings' aliases."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from processor.codec.by_keys import ByKeys

__all__ = ["Keys", "LeafNames"]


class Keys(msgspec.Struct, frozen=True):
    """The key of each leaf as one object spells it; None where the object has none."""

    score: str | None = None
    probability: str | None = None
    percentile: str | None = None
    modelType: str | None = None  # noqa: N815  as the settings name it
    scoreDate: str | None = None  # noqa: N815  likewise
    influentialFactors: str | None = None  # noqa: N815  likewise
    prediction: str | None = None


class LeafNames:
    """The aliases of the leaves; letter case is ignored, an earlier alias goes before a later."""

    def __init__(self, aliases: Mapping[str, Sequence[str]]) -> None:
        self._ranks: dict[str, tuple[int, str]] = {}
        for leaf in Keys.__struct_fields__:
            for rank, alias in enumerate(aliases.get(leaf, [leaf])):
                self._ranks.setdefault(alias.lower(), (rank, leaf))
        self._by_keys = ByKeys(self._clear)

    def keys_of(self, body: dict[str, Any]) -> Keys:
        """Return where the leaves are; of several aliases the first that is not null."""
        clear = self._by_keys[tuple(body)]
        return clear or self._assign(key for key, value in body.items() if value is not None)

    def _clear(self, keys: tuple[str, ...]) -> Keys | None:
        """Return where the leaves are, None where two keys mean one leaf: only values can tell."""
        leaves = [self._ranks[key.lower()][1] for key in keys if key.lower() in self._ranks]
        return self._assign(keys) if len(leaves) == len(set(leaves)) else None

    def _assign(self, keys: Iterable[str]) -> Keys:
        best: dict[str, tuple[int, str]] = {}
        for key in keys:
            rank, leaf = self._ranks.get(key.lower(), (0, ""))
            if leaf and rank < best.get(leaf, (len(self._ranks), ""))[0]:
                best[leaf] = (rank, key)
        return Keys(**{leaf: key for leaf, (_, key) in best.items()})
