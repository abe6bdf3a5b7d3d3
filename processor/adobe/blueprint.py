"""What `provision` makes for the routes: names and bodies, in the order of creation. Pure.

Sources: AEP guides to streaming connections over HTTP (specification ids) and to the creation of
datasets and schemas.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from processor.adobe.objects import ObjectKind
from processor.enrich.event_schema import is_open, is_pattern, model_keys, render_field_group
from processor.settings import PlannedRoute, PredictionSettings

EVENT_CLASS: Final = "https://ns.adobe.com/xdm/context/experienceevent"
CONTENT_TYPE: Final = "application/vnd.adobe.xed-full+json;version=1"
MADE_BY: Final = "Made by customer-ai-events"
"""How the descriptions of our objects begin: by it they are known again."""
FIELD_GROUP: Final = "field group"
SCHEMA: Final = "schema"
CONNECTION: Final = "connection"

_STREAMING: Final = {"id": "bc7b00d6-623a-4dfc-9fdb-f1240aeadaeb", "version": "1.0"}
_DATA_LAKE: Final = {"id": "c604ff05-7f1a-43c0-8e18-33bf874cb11c", "version": "1.0"}
_FLOW: Final = {"id": "d8a6f005-7eaf-4153-983e-e8574508b877", "version": "1.0"}
_SCHEMA_TITLE: Final = "Customer AI scores as events"
_SHARED_NAME: Final = "Customer AI Scores (events)"


UNKNOWN: Final = ""
"""The id of what is refused: nothing that refers to it is judged by it."""


class Ids(dict[str, str]):
    """The ids of objects by step; of a step that is not made yet, a text in angle brackets."""

    def __missing__(self, step: str) -> str:
        return f"<{step}>"


class Wanted(NamedTuple):
    """An object as it is to be: its step, and its name in AEP. `route` is empty if it is shared."""

    step: str
    kind: ObjectKind
    name: str
    route: str = ""

    @property
    def description(self) -> str:
        """What is written into the object, and by which it is known again."""
        return f"{MADE_BY} for {f'the route {self.route}' if self.route else 'all routes'}."


def dataset_name(route: PredictionSettings) -> str:
    """Return the name of the dataset of a route's events."""
    return route.dataset_name or f"Customer AI Scores – {prediction_of(route)} (events)"


def prediction_of(route: PredictionSettings) -> str:
    """Return what a route's prediction is called: the first name that is no pattern."""
    named = [each for each in route.models if not is_pattern(each)]
    return route.prediction or next(iter(named), route.name)


class Blueprint:
    """Everything that is to exist for some routes of one tenant, in the order of creation."""

    def __init__(self, tenant: str, routes: Sequence[PlannedRoute]) -> None:
        self._tenant = tenant.removeprefix("_")
        self._routes = {route.name: route for route in routes}
        keys = [key for route in routes for key in model_keys(route)]
        self.group = render_field_group(self._tenant, dict.fromkeys(keys))
        self.wanted = tuple(self._wanted())

    def body(self, wanted: Wanted, ids: Ids) -> dict[str, Any]:
        """Return the body of the request that creates an object."""
        name, text = wanted.name, wanted.description
        body: dict[str, Any]
        match wanted.kind:
            case ObjectKind.FIELD_GROUP:
                return {**self.group, "description": f"{self.group['description']} {text}"}
            case ObjectKind.SCHEMA:
                references = [{"$ref": EVENT_CLASS}, {"$ref": ids[FIELD_GROUP]}]
                return {"type": "object", "title": name, "description": text, "allOf": references}
            case ObjectKind.DATASET:
                reference = {"id": ids[SCHEMA], "contentType": CONTENT_TYPE}
                return {"name": name, "description": text, "schemaRef": reference}
            case ObjectKind.CONNECTION:
                body = {"auth": _auth(name), "connectionSpec": _STREAMING}
            case ObjectKind.SOURCE:
                base = ids[self.connection_step(wanted.route)]
                body = {"baseConnectionId": base, "connectionSpec": _STREAMING, "data": _JSON}
            case ObjectKind.TARGET:
                schema = {"id": ids[SCHEMA], "version": f"{CONTENT_TYPE}.0"}
                body = {
                    "data": {"schema": schema},
                    "params": {"dataSetId": ids[f"dataset {wanted.route}"]},
                    "connectionSpec": _DATA_LAKE,
                }
            case ObjectKind.FLOW:
                body = {
                    "flowSpec": _FLOW,
                    "sourceConnectionIds": [ids[f"source {wanted.route}"]],
                    "targetConnectionIds": [ids[f"target {wanted.route}"]],
                }
        return {"name": name, "description": text, **body}

    def connection_step(self, route: str) -> str:
        """Return the step of the streaming connection of a route."""
        return f"connection {route}" if self._routes[route].inlet == "own" else CONNECTION

    def _wanted(self) -> Iterator[Wanted]:
        yield Wanted(FIELD_GROUP, ObjectKind.FIELD_GROUP, self.group["title"])
        yield Wanted(SCHEMA, ObjectKind.SCHEMA, _SCHEMA_TITLE)
        if any(route.inlet == "shared" for route in self._routes.values()):
            yield Wanted(CONNECTION, ObjectKind.CONNECTION, _SHARED_NAME)
        for name, route in self._routes.items():
            title = dataset_name(route)
            if route.inlet == "own":
                yield Wanted(f"connection {name}", ObjectKind.CONNECTION, title, name)
            yield Wanted(f"dataset {name}", ObjectKind.DATASET, title, name)
            yield Wanted(f"source {name}", ObjectKind.SOURCE, title, name)
            yield Wanted(f"target {name}", ObjectKind.TARGET, title, name)
            yield Wanted(f"flow {name}", ObjectKind.FLOW, title, name)


def unnamed_models(routes: Sequence[PlannedRoute]) -> list[str]:
    """Return a sentence for each route whose predictions are not known before records come."""
    return [
        f"The route {route.name} has patterns in `models`: a schema needs names. Give it the names "
        "or a `model_key`."
        for route in routes
        if is_open(route)
    ]


_JSON: Final = {"format": "json"}
"""Required by the specification; the guide leaves it out."""


def _auth(name: str) -> dict[str, Any]:
    params = {"sourceId": name, "dataType": "xdm", "name": name, "authenticationRequired": True}
    return {"specName": "Streaming Connection", "params": params}
