"""Score records of the usual shape, decoded by type: the same scores in less time.

Only a short cut. What a record means is said by `identities` and `scores`, which read anything; a
record that is not exactly usual is left to them. What decodes here holds the values it would hold
there, since a type changes none of them; no key is unknown, so none can be a leaf by another name;
and what is read of it nests no deeper than the eight levels that the settings allow at the least.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import msgspec

from processor.codec.coerce import are_clean, text
from processor.codec.dates import Dates
from processor.codec.field_aliases import FieldAliases, ScoreKeys
from processor.codec.identities import IdentityReader
from processor.codec.scores import MAX_MODELS
from processor.domain.score import Factor, Identity, Score
from processor.settings import ReadingSettings

_Number: TypeAlias = Annotated[
    float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)  # neither NaN nor infinite
]
_Plain: TypeAlias = str | int | float | bool | None
_Header: TypeAlias = dict[str, _Plain | dict[str, _Plain]]
_Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
_Factors: TypeAlias = list[dict[Literal["code", "value", "importance"], _Text]]
_FACTOR = ("code", "value", "importance")
_IMPORTANCE = frozenset(("low", "medium", "high"))


class _Id(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: str
    primary: bool | None = None
    authenticatedState: str | None = None  # noqa: N815  as XDM names it


class _NamedId(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    namespace: str
    id: str
    primary: bool | None = None


_LEAVES: dict[str, Any] = {
    "score": _Number | None,
    "probability": _Number | None,
    "percentile": int | None,
    "modelType": str | None,
    "scoreDate": Any,
    "influentialFactors": _Factors | None,
}
_WHO: dict[str, Any] = {
    "identityMap": dict[str, list[_Id]] | None,
    "identities": list[_NamedId] | None,
    "namespace": str | None,
    "id": str | None,
    "primary": bool | None,
}


_NOT_USUAL = (msgspec.MsgspecError, ValueError, RecursionError)


class _Leaves(Protocol):
    """What an object decodes to: the leaves as `Score` has them, by the names of the settings."""

    score: float | None
    probability: float | None
    percentile: int | None
    modelType: str | None  # noqa: N815
    scoreDate: object  # noqa: N815
    influentialFactors: list[Factor] | None  # noqa: N815


class _Entity(_Leaves, Protocol):
    """A record out of its envelope: of a profile, or flat with leaves of its own."""

    identityMap: dict[str, list[_Id]] | None  # noqa: N815
    identities: list[_NamedId] | None
    namespace: str | None
    id: str | None
    primary: bool | None
    prediction: str | None
    tenant: dict[str, dict[str, _Leaves]] | None


class FastScoreReader:
    """Reads score records as Customer AI writes them under the tenant of the settings, or flat."""

    def __init__(
        self, settings: ReadingSettings, tenant: str, identities: IdentityReader, dates: Dates
    ) -> None:
        self._type: Any = _record_type(settings.aliases, tenant)
        self._decode: Callable[[bytes], Any] = msgspec.json.Decoder(self._type).decode
        self._containers = frozenset(name.lower() for name in settings.containers)
        self._canonical = identities.canonical
        self._instant_ms = dates.instant_ms
        self._max_factors = settings.max_factors

    def of_json(self, text: bytes) -> tuple[Score, ...]:
        """Return the scores in JSON text, none where it has to be read as anything may be."""
        try:
            return self._scores(self._decode(text))
        except _NOT_USUAL:
            return ()

    def of_value(self, value: object) -> tuple[Score, ...]:
        """Return the scores of a decoded record, none where it is to be read as anything may be."""
        try:
            return self._scores(msgspec.convert(value, self._type))
        except _NOT_USUAL:
            return ()

    def _scores(self, record: Any) -> tuple[Score, ...]:  # noqa: ANN401  its type is made at start
        if record is None:
            return ()
        entity: _Entity = record if record.body is None else record.body.xdmEntity
        return self._nested(entity) if entity.tenant else self._flat(entity)

    def _nested(self, entity: _Entity) -> tuple[Score, ...]:
        found = self._identities(entity)
        identities, scores = tuple(found), []
        for container, models in (entity.tenant or {}).items():
            if container.lower() not in self._containers:
                return ()
            for name, model in models.items():
                scores.append(self._score(name, model, identities))
        return tuple(scores) if identities and len(scores) <= MAX_MODELS else ()

    def _flat(self, entity: _Entity) -> tuple[Score, ...]:
        prediction = entity.prediction
        if prediction is None or not prediction.strip():
            return ()
        found = self._identities(entity)
        for one in entity.identities or ():
            found.append(Identity(self._canonical(one.namespace), one.id, one.primary is True))
        if entity.namespace is not None and entity.id is not None:
            name = self._canonical(entity.namespace)
            found.append(Identity(name, entity.id, entity.primary is True))
        return (self._score(prediction, entity, tuple(found)),) if found else ()

    def _identities(self, entity: _Entity) -> list[Identity]:
        found: list[Identity] = []
        for namespace, items in (entity.identityMap or {}).items():
            name = self._canonical(namespace)
            found += [Identity(name, item.id, item.primary is True) for item in items]
        return found

    def _score(self, name: str, leaves: _Leaves, identities: tuple[Identity, ...]) -> Score:
        score, kind = leaves.score, leaves.modelType
        if score is None:
            raise ValueError("is missing")
        return Score(
            name,
            identities,
            score,
            self._instant_ms(leaves.scoreDate),
            leaves.probability,
            leaves.percentile,
            text(kind),
            self._factors(leaves.influentialFactors),
        )

    def _factors(self, items: list[Factor] | None) -> tuple[Factor, ...]:
        if not items:
            return ()
        if len(items) > self._max_factors:
            items = items[: self._max_factors]
        for item in items:
            if len(item) != len(_FACTOR) or item["importance"] not in _IMPORTANCE:
                raise ValueError("is not a usual factor")
        if not are_clean([item["code"] for item in items], [item["value"] for item in items]):
            raise ValueError("is not a usual factor")
        return tuple(items)


def _record_type(aliases: Mapping[str, Sequence[str]], tenant: str) -> type | None:
    """Return what records are decoded as, None where the names in the settings stand in the way."""
    nested = {leaf: _first(aliases, leaf) for leaf in _LEAVES}
    flat = {leaf: _own(aliases, leaf) for leaf in (*_LEAVES, "prediction")}
    root = {"tenant": f"_{tenant.lstrip('_')}", "event_id": "_id"}
    try:
        model = _struct(_LEAVES, nested)
        models = {"tenant": dict[str, dict[str, model]] | None, "event_id": str | None}  # type: ignore[valid-type]
        leaves = {**_LEAVES, "prediction": str | None}
        entity = _struct({**_WHO, **models, **leaves}, {**flat, **root})
        body = msgspec.defstruct(
            "Body",
            [("xdmEntity", entity), ("xdmMeta", _Header | None, None)],
            forbid_unknown_fields=True,
        )
        outer = {"header": _Header | None, "body": body | None}
        record = _struct({**outer, **_WHO, **models, **leaves}, {**flat, **root})
    except ValueError:  # two names that are one, or a name that JSON has to escape
        return None
    clear = _means(aliases, model, nested) and _means(aliases, record, flat)
    return record if clear else None


def _struct(fields: Mapping[str, Any], spelled: Mapping[str, str]) -> type[msgspec.Struct]:
    listed = [(name, kind, None) for name, kind in fields.items()]
    return msgspec.defstruct("Usual", listed, rename=dict(spelled), forbid_unknown_fields=True)


def _means(
    aliases: Mapping[str, Sequence[str]], kind: type[msgspec.Struct], spelled: Mapping[str, str]
) -> bool:
    """Return whether each of its keys is its leaf, or none, to those who read anything."""
    names, leaf_of = FieldAliases(aliases), {key: leaf for leaf, key in spelled.items()}
    for key in kind.__struct_encode_fields__:
        meant = ScoreKeys(**{leaf_of[key]: key}) if key in leaf_of else ScoreKeys()
        if names.keys_of({key: 0}) != meant:
            return False
    return True


def _first(aliases: Mapping[str, Sequence[str]], leaf: str) -> str:
    """Spell a leaf as Customer AI does."""
    return next(iter(aliases.get(leaf, [leaf])), leaf)


def _own(aliases: Mapping[str, Sequence[str]], leaf: str) -> str:
    """Spell a leaf as our own flat record does."""
    return leaf if leaf in aliases.get(leaf, [leaf]) else _first(aliases, leaf)
