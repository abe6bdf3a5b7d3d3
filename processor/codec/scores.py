"""The general way of reading scores: Customer AI's layout or a flat record, in any variation.

It decides what a record holds and has the reason for each reject. `fast_path` is the other way:
faster, for records in their most frequent form only, with the same result.
"""

from functools import partial
from typing import Any

import msgspec

from processor.codec.coerce import factors, number, optional_number, optional_whole, text
from processor.codec.dates import Dates
from processor.codec.entity import Unwrapped
from processor.codec.field_aliases import FieldAliases, KeyedCache, ScoreKeys
from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.score import Identity, Score
from processor.settings import ReadingSettings

MAX_MODELS = 64
"""Models in one record at most: each bad one makes a dead letter of the whole record."""
_MAX_POINTER_STEP = 128


class FoundScores(msgspec.Struct, frozen=True):
    """The scores of one record, and the rejects of the bad ones."""

    scores: tuple[Score, ...]
    rejects: tuple[Reject, ...]


class _Model(msgspec.Struct, frozen=True, gc=False):
    """One model's object, and the keys that lead to it; a flat record has neither key."""

    name: str
    body: Any
    pointer: str
    """JSON pointer to the entity."""
    tenant: str = ""
    container: str = ""

    def reject(
        self, detail: str, key: str | None = None, reason: Reason = Reason.BAD_SCORE
    ) -> RejectError:
        """Return the reject of the model, or of one of its fields."""
        nested = (self.tenant, self.container, self.name) if self.container else ()
        steps = nested if key is None else (*nested, key)
        pointer = self.pointer + "".join([f"/{_pointer_step(step)}" for step in steps])
        return RejectError(Stage.READ, reason, detail, pointer=pointer, model=self.name)


_NO_SCORES = FoundScores((), ())


class ScoreReader:
    """Reads scores by the names and aliases of the settings; letter case is ignored throughout."""

    def __init__(self, settings: ReadingSettings, dates: Dates) -> None:
        self._containers = frozenset(name.lower() for name in settings.containers)
        self._tenants = KeyedCache(_tenant_keys)
        self._aliases = FieldAliases(settings.aliases)
        self._instant_ms = dates.instant_ms
        self._max_factors = settings.max_factors
        self._coercions = (
            ("score", number),
            ("probability", optional_number),
            ("percentile", optional_whole),
            ("modelType", text),
            ("influentialFactors", partial(factors, limit=settings.max_factors)),
            ("scoreDate", dates.instant_ms),
        )

    def read_models(self, unwrapped: Unwrapped, identities: tuple[Identity, ...]) -> FoundScores:
        """Read every model under `_<tenant>.CustomerAI`; a bad one does not affect the others."""
        models = self._models(unwrapped)
        if not models:
            return _NO_SCORES
        scores: list[Score] = []
        rejects: list[Reject] = []
        for model in models:
            try:
                scores.append(self._score(model, identities))
            except RejectError as error:
                if not _is_absent(model.body):
                    rejects.append(error.reject)
            if len(scores) + len(rejects) > MAX_MODELS:
                detail = f"There are more than {MAX_MODELS} models."
                raise RejectError(Stage.READ, Reason.BAD_SCORE, detail)
        return FoundScores(tuple(scores), tuple(rejects))

    def has_models(self, unwrapped: Unwrapped) -> bool:
        """Return True where there is any model under `_<tenant>.CustomerAI`, good or bad."""
        return bool(self._models(unwrapped))

    def flat_prediction(self, unwrapped: Unwrapped) -> str | None:
        """Return the prediction of a flat score record, None where it is not one."""
        key = self._aliases.keys_of(unwrapped.entity).prediction
        name = unwrapped.entity[key] if key is not None else None
        return name if type(name) is str and name.strip() else None

    def read_flat(
        self, unwrapped: Unwrapped, prediction: str, identities: tuple[Identity, ...]
    ) -> Score:
        """Read a flat record as the score of its prediction; RejectError."""
        return self._score(_Model(prediction, unwrapped.entity, unwrapped.pointer), identities)

    def _models(self, unwrapped: Unwrapped) -> list[_Model]:
        found: list[_Model] = []
        entity = unwrapped.entity
        for tenant in self._tenants[tuple(entity)]:
            branch = entity[tenant]
            for container in branch if type(branch) is dict else ():
                if container.lower() not in self._containers:
                    continue
                models = branch[container]
                for name, body in models.items() if type(models) is dict else ():
                    if body is not None:
                        found.append(_Model(name, body, unwrapped.pointer, tenant, container))
        return found

    def _score(self, model: _Model, identities: tuple[Identity, ...]) -> Score:
        body = model.body
        if type(body) is not dict:
            raise model.reject("The model is not an object.")
        keys = self._aliases.keys_of(body)
        try:
            return Score(
                model.name,
                identities,
                number(body.get(keys.score)),
                self._instant_ms(body.get(keys.scoreDate)),
                optional_number(body.get(keys.probability)),
                optional_whole(body.get(keys.percentile)),
                text(body.get(keys.modelType)),
                factors(body.get(keys.influentialFactors), self._max_factors),
            )
        except ValueError as error:
            raise self._bad_field(model, keys) from error

    def _bad_field(self, model: _Model, keys: ScoreKeys) -> RejectError:
        """Coerce field by field again to find the bad one, and return its reject."""
        if model.body.get(keys.score) is None:
            return model.reject("There is no score.")
        if model.body.get(keys.scoreDate) is None:
            return model.reject("There is no score date.", reason=Reason.BAD_DATE)
        for field, coerce in self._coercions:
            key: str | None = getattr(keys, field)
            try:
                coerce(model.body.get(key))
            except ValueError as error:
                reason = Reason.BAD_DATE if field == "scoreDate" else Reason.BAD_SCORE
                return model.reject(f"The field {field} {error}.", key, reason=reason)
        return model.reject("The score can not be read.")


def _tenant_keys(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in keys if key.startswith("_"))


def _is_absent(body: object) -> bool:
    """Rows of a schema with several models hold nulls, or objects of nulls, for the others."""
    return type(body) is dict and all(value is None for value in body.values())


def _pointer_step(key: str) -> str:
    """Escape a key for a JSON pointer (RFC 6901), cut where it is very long."""
    key = key[:_MAX_POINTER_STEP]
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key
