"""Customer AI scores in a record: laid out as Customer AI does, or flat as our own schema."""

from functools import partial
from typing import Any

import msgspec

from processor.codec.coerce import factors, number, optional_number, optional_whole, text
from processor.codec.dates import Dates
from processor.codec.envelope import Unwrapped
from processor.codec.field_aliases import FieldAliases, KeyedCache, ScoreKeys
from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.score import Identity, Score
from processor.settings import ReadingSettings

MAX_MODELS = 64
"""Models in one record at most: each bad one makes a dead letter of the whole record."""
_LONGEST_STEP = 128


class FoundScores(msgspec.Struct, frozen=True):
    """The scores of one record, and what is wrong with the bad ones."""

    scores: tuple[Score, ...]
    rejects: tuple[Reject, ...]


class _Model(msgspec.Struct, frozen=True, gc=False):
    """One model's object, and the keys that lead to it."""

    name: str
    body: Any
    root: str
    tenant: str = ""
    container: str = ""

    def refused(
        self, detail: str, leaf: str | None = None, reason: Reason = Reason.BAD_SCORE
    ) -> RejectError:
        """Say what is wrong with the model, or with one of its leaves."""
        nested = (self.tenant, self.container, self.name) if self.container else ()
        steps = nested if leaf is None else (*nested, leaf)
        pointer = self.root + "".join([f"/{_step(step)}" for step in steps])
        return RejectError(Stage.READ, reason, detail, pointer=pointer, model=self.name)


_NONE = FoundScores((), ())


class ScoreReader:
    """Reads scores by the settings' names and aliases; letter case is ignored throughout."""

    def __init__(self, settings: ReadingSettings, dates: Dates) -> None:
        self._containers = frozenset(name.lower() for name in settings.containers)
        self._tenants = KeyedCache(_tenants)
        self._names = FieldAliases(settings.aliases)
        self._instant_ms = dates.instant_ms
        self._max_factors = settings.max_factors
        self._forms = (
            ("score", number),
            ("probability", optional_number),
            ("percentile", optional_whole),
            ("modelType", text),
            ("influentialFactors", partial(factors, limit=settings.max_factors)),
            ("scoreDate", dates.instant_ms),
        )

    def read_models(self, unwrapped: Unwrapped, identities: tuple[Identity, ...]) -> FoundScores:
        """Read every model under `_<tenant>.CustomerAI`; a bad one does not cost the others."""
        models = self._models(unwrapped)
        if not models:
            return _NONE
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

    def are_in(self, unwrapped: Unwrapped) -> bool:
        """Return True where there is any model under `_<tenant>.CustomerAI`, good or bad."""
        return bool(self._models(unwrapped))

    def flat_prediction(self, unwrapped: Unwrapped) -> str | None:
        """Return the prediction a flat record names, None where it is not a flat score record."""
        key = self._names.keys_of(unwrapped.entity).prediction
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
            raise model.refused("The model is not an object.")
        keys = self._names.keys_of(body)
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
            raise self._refused(model, keys) from error

    def _refused(self, model: _Model, keys: ScoreKeys) -> RejectError:
        """Find the guilty leaf again, slowly, and say what is wrong with it."""
        if model.body.get(keys.score) is None:
            return model.refused("There is no score.")
        if model.body.get(keys.scoreDate) is None:
            return model.refused("There is no score date.", reason=Reason.BAD_DATE)
        for leaf, form in self._forms:
            key: str | None = getattr(keys, leaf)
            try:
                form(model.body.get(key))
            except ValueError as error:
                reason = Reason.BAD_DATE if leaf == "scoreDate" else Reason.BAD_SCORE
                return model.refused(f"The field {leaf} {error}.", key, reason=reason)
        return model.refused("The score can not be read.")


def _tenants(keys: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(key for key in keys if key.startswith("_"))


def _is_absent(body: object) -> bool:
    """Rows of a schema with several models hold nulls, or objects of nulls, for the others."""
    return type(body) is dict and all(value is None for value in body.values())


def _step(key: str) -> str:
    """Escape a key for a JSON pointer (RFC 6901), cut where it is absurdly long."""
    key = key[:_LONGEST_STEP]
    return key.replace("~", "~0").replace("/", "~1") if "~" in key or "/" in key else key
