"""Which route takes a prediction, and what the route says of it.

Names of models: patterns, and the keys that are made of them.
"""

import re
from collections.abc import Mapping, Sequence
from fnmatch import translate

import msgspec

from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Stage
from processor.enrich.event_id import id_seed
from processor.enrich.event_schema import EventSchema, is_key, is_pattern, reduced
from processor.settings import RouteSettings

_CACHED_NAMES = 4_096
_MAX_NAME = 256
_SHOWN_CHARACTERS = 120
_not_in_pattern = re.compile(r"(\[[^\]]*\]|[*?])|[\W_]").sub


class RouteModel(msgspec.Struct, frozen=True, gc=False):
    """Where the scores of one prediction go, and the constants their events share."""

    name: str
    model_key: str
    prediction: str
    late: str
    pointer: str
    """JSON pointer of the prediction's object in the event."""
    seed: str
    """The prediction's part of `_id`."""
    schema: EventSchema


class Router:
    """Finds the route of a prediction by the name its records carry; the first match wins.

    Names and patterns are compared without regard to letter case and to characters other than
    letters and digits. What was found is remembered for each spelling, for a bounded number.
    """

    def __init__(
        self, routes: Sequence[RouteSettings], tenant: str, schemas: Mapping[str, EventSchema]
    ) -> None:
        self._tenant = tenant
        self._schemas = schemas
        self._rules = [(_ModelPattern(entry), route) for route in routes for entry in route.models]
        self._known: dict[str, RouteModel] = {}

    def find(self, model: str) -> RouteModel:
        """Return the destination of a model's scores; RejectError where no route takes it."""
        known = self._known.get(model)
        if known is None:
            known = self._look_up(model)
            if len(self._known) >= _CACHED_NAMES:
                self._known.clear()
            self._known[model] = known
        return known

    def _look_up(self, model: str) -> RouteModel:
        if len(model) > _MAX_NAME:
            raise _unknown(model, "No route takes a name as long as that of the prediction")
        shape = _folded(model)
        if not shape:
            raise _unknown(model, "No letter or digit is in the name of the prediction")
        for rule, route in self._rules:
            if rule.takes(shape):
                return self._destination(route, rule.name or model, model)
        raise _unknown(model, "No route takes the prediction")

    def _destination(self, route: RouteSettings, name: str, model: str) -> RouteModel:
        key = route.model_key or reduced(name)
        if not is_key(key):
            raise _unknown(model, f"Route {route.name} needs a model_key to take the prediction")
        return RouteModel(
            name=route.name,
            model_key=key,
            prediction=route.prediction or name.strip()[:_SHOWN_CHARACTERS],
            late=route.late,
            pointer=f"/_{self._tenant}/CustomerAI/{key}",
            seed=id_seed(self._tenant, key),
            schema=self._schemas[route.name],
        )


class _ModelPattern:
    """One entry of a route's `models`; `name` is set where it is a name rather than a pattern."""

    def __init__(self, entry: str) -> None:
        self.name = "" if is_pattern(entry) else entry
        self._plain = _folded(entry)
        self._pattern = re.compile(translate(_not_in_pattern(r"\1", entry.casefold())))

    def takes(self, shape: str) -> bool:
        # A pattern is tried as a name too: predictions are called "Likely to churn?".
        return shape == self._plain if self.name else self._takes_pattern(shape)

    def _takes_pattern(self, shape: str) -> bool:
        return bool(self._plain and shape == self._plain) or bool(self._pattern.match(shape))


def _folded(name: str) -> str:
    return reduced(name).casefold()


def _unknown(model: str, sentence: str) -> RejectError:
    shown = model if len(model) <= _SHOWN_CHARACTERS else model[:_SHOWN_CHARACTERS] + "..."
    detail = f"{sentence} {shown!r}."
    return RejectError(Stage.ROUTE, Reason.UNKNOWN_PREDICTION, detail, model=shown)
