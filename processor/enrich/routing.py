"""Which route takes a prediction, by the name of its model and the patterns of the settings."""

import re
from collections.abc import Mapping, Sequence
from fnmatch import translate

from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Stage
from processor.enrich.event_schema import EventSchema, alphanumeric, is_key, is_pattern
from processor.enrich.prepared_score import RouteModel, id_seed
from processor.settings import PredictionSettings

_CACHED_NAMES = 4_096
_MAX_NAME = 256
_SHOWN_CHARACTERS = 120
_not_in_pattern = re.compile(r"(\[[^\]]*\]|[*?])|[\W_]").sub
"""Keeps wildcards and character sets (group 1) and removes all but letters and digits."""


class Router:
    """Finds the route of a prediction by the name its records carry; the first match wins.

    Names and patterns are compared without regard to letter case and to characters other than
    letters and digits. The result is cached for each spelling, for a bounded number of them.
    """

    def __init__(
        self, routes: Sequence[PredictionSettings], tenant: str, schemas: Mapping[str, EventSchema]
    ) -> None:
        self._tenant = tenant
        self._schemas = schemas
        self._patterns = [
            (_ModelPattern(entry), route) for route in routes for entry in route.models
        ]
        self._cached: dict[str, RouteModel] = {}

    def find(self, model: str) -> RouteModel:
        """Return the route and key of a model's scores; RejectError where no route takes it."""
        found = self._cached.get(model)
        if found is None:
            found = self._match(model)
            if len(self._cached) >= _CACHED_NAMES:
                self._cached.clear()
            self._cached[model] = found
        return found

    def _match(self, model: str) -> RouteModel:
        if len(model) > _MAX_NAME:
            raise _unknown(model, "No route takes a name as long as that of the prediction")
        folded = _folded(model)
        if not folded:
            raise _unknown(model, "No letter or digit is in the name of the prediction")
        for pattern, route in self._patterns:
            if pattern.matches(folded):
                return self._route_model(route, pattern.name or model, model)
        raise _unknown(model, "No route takes the prediction")

    def _route_model(self, route: PredictionSettings, name: str, model: str) -> RouteModel:
        key = route.model_key or alphanumeric(name)
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
        self._folded = _folded(entry)
        self._pattern = re.compile(translate(_not_in_pattern(r"\1", entry.casefold())))

    def matches(self, folded: str) -> bool:
        # A pattern is compared as a name too: predictions are called "Likely to churn?".
        if self._folded and folded == self._folded:
            return True
        return not self.name and self._pattern.match(folded) is not None


def _folded(name: str) -> str:
    return alphanumeric(name).casefold()


def _unknown(model: str, sentence: str) -> RejectError:
    shown = model if len(model) <= _SHOWN_CHARACTERS else model[:_SHOWN_CHARACTERS] + "..."
    detail = f"{sentence} {shown!r}."
    return RejectError(Stage.ROUTE, Reason.UNKNOWN_PREDICTION, detail, model=shown)
