"""The fast way of reading scores: a record in its most frequent form, decoded by type.

`scores` (with `entity`) is the general way and decides what a record means; whatever differs from
the frequent form in any part is left to it. Where the fast path returns scores, they are those of
the general way (a law test compares them): a type changes no value; no key is unknown, so none can
be a field under an alias; and what the types allow nests at most eight levels, the least value of
`reading.max_depth`.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, Protocol, TypeAlias

import msgspec

from processor.codec.coerce import IMPORTANCES, are_clean, text
from processor.codec.dates import Dates
from processor.codec.entity import IdentityReader
from processor.codec.field_aliases import FieldAliases, ScoreKeys
from processor.codec.scores import MAX_MODELS
from processor.domain.score import Factor, Identity, Score
from processor.settings import ReadingSettings

_Number: TypeAlias = Annotated[
    float, msgspec.Meta(ge=-sys.float_info.max, le=sys.float_info.max)  # neither NaN nor infinite
]
_Scalar: TypeAlias = str | int | float | bool | None
_Header: TypeAlias = dict[str, _Scalar | dict[str, _Scalar]]
_Text: TypeAlias = Annotated[str, msgspec.Meta(min_length=1)]
_Factors: TypeAlias = list[dict[Literal["code", "value", "importance"], _Text]]
_FACTOR = ("code", "value", "importance")


class _Id(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    id: str
    primary: bool | None = None
    authenticatedState: str | None = None  # noqa: N815  as XDM names it


class _NamespacedId(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    namespace: str
    id: str
    primary: bool | None = None


_SCORE_FIELDS: dict[str, Any] = {
    "score": _Number | None,
    "probability": _Number | None,
    "percentile": int | None,
    "modelType": str | None,
    "scoreDate": Any,
    "influentialFactors": _Factors | None,
}
_IDENTITY_FIELDS: dict[str, Any] = {
    "identityMap": dict[str, list[_Id]] | None,
    "identities": list[_NamespacedId] | None,
    "namespace": str | None,
    "id": str | None,
    "primary": bool | None,
}

_NOT_FAST = (msgspec.MsgspecError, ValueError, RecursionError)
"""What is raised where a record is not in the frequent form."""


class _ScoreFields(Protocol):
    """A decoded model: the fields of a score by the names of the settings."""

    score: float | None
    probability: float | None
    percentile: int | None
    modelType: str | None  # noqa: N815
    scoreDate: object  # noqa: N815
    influentialFactors: list[Factor] | None  # noqa: N815


class _DecodedEntity(_ScoreFields, Protocol):
    """A decoded entity: a profile with models under its tenant, or a flat record."""

    identityMap: dict[str, list[_Id]] | None  # noqa: N815
    identities: list[_NamespacedId] | None
    namespace: str | None
    id: str | None
    primary: bool | None
    prediction: str | None
    tenant: dict[str, dict[str, _ScoreFields]] | None


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
        """Return the scores in JSON text, none where it has to be read the general way."""
        try:
            return self._scores(self._decode(text))
        except _NOT_FAST:
            return ()

    def of_value(self, value: object) -> tuple[Score, ...]:
        """Return the scores of a decoded record, none where it has to be read the general way."""
        try:
            return self._scores(msgspec.convert(value, self._type))
        except _NOT_FAST:
            return ()

    def _scores(self, record: Any) -> tuple[Score, ...]:  # noqa: ANN401  its type is made at start
        if record is None:
            return ()
        entity: _DecodedEntity = record if record.body is None else record.body.xdmEntity
        return self._nested(entity) if entity.tenant else self._flat(entity)

    def _nested(self, entity: _DecodedEntity) -> tuple[Score, ...]:
        identities, scores = tuple(self._identities(entity)), []
        for container, models in (entity.tenant or {}).items():
            if container.lower() not in self._containers:
                return ()
            for name, model in models.items():
                scores.append(self._score(name, model, identities))
        return tuple(scores) if identities and len(scores) <= MAX_MODELS else ()

    def _flat(self, entity: _DecodedEntity) -> tuple[Score, ...]:
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

    def _identities(self, entity: _DecodedEntity) -> list[Identity]:
        found: list[Identity] = []
        for namespace, items in (entity.identityMap or {}).items():
            name = self._canonical(namespace)
            found += [Identity(name, item.id, item.primary is True) for item in items]
        return found

    def _score(self, name: str, fields: _ScoreFields, identities: tuple[Identity, ...]) -> Score:
        if fields.score is None:
            raise ValueError("is missing")
        return Score(
            name,
            identities,
            fields.score,
            self._instant_ms(fields.scoreDate),
            fields.probability,
            fields.percentile,
            text(fields.modelType),
            self._factors(fields.influentialFactors),
        )

    def _factors(self, items: list[Factor] | None) -> tuple[Factor, ...]:
        if not items:
            return ()
        if len(items) > self._max_factors:
            items = items[: self._max_factors]
        for item in items:
            if len(item) != len(_FACTOR) or item["importance"] not in IMPORTANCES:
                raise ValueError("has a factor that needs coercion")
        if not are_clean([item["code"] for item in items], [item["value"] for item in items]):
            raise ValueError("has a factor that needs coercion")
        return tuple(items)


def _record_type(aliases: Mapping[str, Sequence[str]], tenant: str) -> type | None:
    """Return the type that records are decoded as, None where the settings allow no such type."""
    nested = {field: _first_alias(aliases, field) for field in _SCORE_FIELDS}
    flat = {field: _own_name(aliases, field) for field in (*_SCORE_FIELDS, "prediction")}
    root = {"tenant": f"_{tenant.lstrip('_')}", "event_id": "_id"}
    try:
        model = _struct(_SCORE_FIELDS, nested)
        models = {"tenant": dict[str, dict[str, model]] | None, "event_id": str | None}  # type: ignore[valid-type]
        flat_fields = {**_SCORE_FIELDS, "prediction": str | None}
        entity_fields = {**_IDENTITY_FIELDS, **models, **flat_fields}
        entity = _struct(entity_fields, {**flat, **root})
        body = msgspec.defstruct(
            "Body",
            [("xdmEntity", entity), ("xdmMeta", _Header | None, None)],
            forbid_unknown_fields=True,
        )
        envelope = {"header": _Header | None, "body": body | None}
        record = _struct({**envelope, **entity_fields}, {**flat, **root})
    except ValueError:  # two names that are the same, or a name that JSON has to escape
        return None
    is_same = _same_keys(aliases, model, nested) and _same_keys(aliases, record, flat)
    return record if is_same else None


def _struct(fields: Mapping[str, Any], keys: Mapping[str, str]) -> type[msgspec.Struct]:
    optional = [(name, kind, None) for name, kind in fields.items()]
    return msgspec.defstruct("Fast", optional, rename=dict(keys), forbid_unknown_fields=True)


def _same_keys(
    aliases: Mapping[str, Sequence[str]], kind: type[msgspec.Struct], keys: Mapping[str, str]
) -> bool:
    """Return True where the general way takes each key for the same field, or for none."""
    general, fields = FieldAliases(aliases), {key: field for field, key in keys.items()}
    for key in kind.__struct_encode_fields__:
        expected = ScoreKeys(**{fields[key]: key}) if key in fields else ScoreKeys()
        if general.keys_of({key: 0}) != expected:
            return False
    return True


def _first_alias(aliases: Mapping[str, Sequence[str]], field: str) -> str:
    """Return the key of a field as Customer AI spells it: the first alias."""
    return next(iter(aliases.get(field, [field])), field)


def _own_name(aliases: Mapping[str, Sequence[str]], field: str) -> str:
    """Return the key of a field as the flat schema in `schemas/` spells it."""
    return field if field in aliases.get(field, [field]) else _first_alias(aliases, field)
