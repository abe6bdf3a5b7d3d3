"""The Schema Registry: field groups and schemas of the tenant, and what streaming makes of them.

Source: AEP Schema Registry API (OpenAPI) and the guide to it. Each rule says where it is from.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Final

import msgspec

from processor.domain.clock import Clock
from processor.simulator.aep.listing import Listing, as_count, property_filter
from processor.simulator.aep.organisation import EVENT_CLASS, PROFILE_CLASS, Organisation
from processor.simulator.aep.responses import SimulatedResponse, json_response

_XDM = "application/vnd.adobe.xed"
_MOST_LISTED = 300
_FOLDERS = {"fieldgroups": "mixins", "schemas": "schemas"}
_REQUIRED = {
    "fieldgroups": ("type", "title", "meta:intendedToExtend"),
    "schemas": ("type", "title", "description", "allOf"),
}
"""Required members of a body (specified)."""
_IDENTITY = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "authenticatedState": {"type": "string"},
            "primary": {"type": "boolean"},
        },
    },
}
_CLASSES: Final[dict[str, dict[str, Any]]] = {
    EVENT_CLASS: {
        "_id": {"type": "string", "format": "uri-reference"},
        "timestamp": {"type": "string", "format": "date-time"},
        "eventType": {"type": "string"},
        "producedBy": {"type": "string"},
        "eventMergeId": {"type": "string"},
        "identityMap": {
            "type": "object",
            "meta:xdmType": "map",
            "additionalProperties": _IDENTITY,
        },
    },
    PROFILE_CLASS: {"_id": {"type": "string", "format": "uri-reference"}},
}
"""The classes a schema may have here, and their own fields (XDM, as far as it is needed)."""


class _Resource(msgspec.Struct):
    id: str
    folder: str
    body: dict[str, Any]
    created_ms: int
    minor: int = 0


class SchemaRegistryApi:
    """Responses of the Schema Registry; `changed` is called with the id of a changed schema."""

    def __init__(self, organisation: Organisation, listing: Listing, clock: Clock) -> None:
        self.changed: Callable[[str], None] = lambda _: None
        self._organisation = organisation
        self._listing = listing
        self._clock = clock
        self._resources: dict[str, _Resource] = {}

    def stats(self) -> SimulatedResponse:
        """Return tenant and organisation (specified)."""
        counts = {"schemas": sum(each.folder == "schemas" for each in self._resources.values())}
        organisation = self._organisation
        return json_response(
            200,
            {"imsOrg": organisation.org_id, "tenantId": organisation.tenant, "counts": counts},
        )

    def create(self, folder: str, body: bytes) -> SimulatedResponse:
        """Create a field group or a schema; two may have one title (the specification has no rule).

        A member of the specification that is missing, a custom field outside the tenant's object
        (documented) and a reference to what is not there are refused.
        """
        document = msgspec.json.decode(body)
        problem = self._problem(folder, document)
        if problem:
            return _bad_request(problem)
        number = secrets.token_hex(24)
        kind = _FOLDERS[folder]
        resource_id = f"https://ns.adobe.com/{self._organisation.tenant}/{kind}/{number}"
        resource = _Resource(resource_id, folder, document, self._clock.now_ms())
        self._resources[resource_id] = resource
        return json_response(201, self._short(resource))

    def list(self, folder: str, query: Mapping[str, str], accept: str) -> SimulatedResponse:
        """List what the tenant has, 300 at most (documented); `Accept` names no version there."""
        if not accept.startswith(_XDM) or "version" in accept:
            return _bad_request("Accept header is invalid")
        title = property_filter(query, "title")
        found = [
            each
            for each in self._resources.values()
            if each.folder == folder
            and title in (None, each.body["title"])
            and self._listing.is_listed(each.created_ms)
        ]
        start = as_count(query.get("start"), 0)
        limit = min(_MOST_LISTED, as_count(query.get("limit"), _MOST_LISTED))
        page = self._listing.page(found, start, limit)
        following = str(start + len(page)) if start + len(page) < len(found) else None
        short = ("$id", "meta:altId", "version", "title")
        results = [{key: self._short(each)[key] for key in short} for each in page]
        links = {"next": {"href": f"/tenant/{folder}?start={following}"} if following else None}
        paging = {"orderby": "created", "next": following, "count": len(results)}
        return json_response(200, {"results": results, "_page": paging, "_links": links})

    def look_up(self, folder: str, resource_id: str, accept: str) -> SimulatedResponse:
        """Look one up by `$id` or `meta:altId`; `Accept` has to name a version (specified)."""
        if not accept.startswith(_XDM) or "version=" not in accept.replace(" ", ""):
            return _bad_request("Accept header is invalid or missing")
        resource = self._find(folder, resource_id)
        if resource is not None:
            full = accept.startswith((f"{_XDM}-full", f"{_XDM}-full-notext"))
            return json_response(200, self._full(resource) if full else self._short(resource))
        return self._registered(resource_id) or _not_found(resource_id)

    def patch(self, folder: str, resource_id: str, body: bytes) -> SimulatedResponse:
        """Change a resource by a JSON patch: fields are only added (documented).

        A patch that removes or replaces a field is refused as a breaking change.
        """
        resource = self._find(folder, resource_id)
        if resource is None:
            return _not_found(resource_id)
        changed = deepcopy(resource.body)
        for operation in msgspec.json.decode(body):
            path = str(operation.get("path"))
            problem = _apply(changed, operation)
            if problem:
                return _bad_request(f"Breaking schema change at {path}: {problem}")
        self.replace(resource.id, changed)
        return json_response(200, self._short(resource))

    def replace(self, resource_id: str, body: dict[str, Any]) -> None:
        """Put a body in place of another one, as a person could in a sandbox without data."""
        resource = self._resources[resource_id]
        resource.body, resource.minor = body, resource.minor + 1
        for each in self._resources.values():
            if each is resource or resource_id in _references(each.body):
                self.changed(each.id)

    def body(self, resource_id: str) -> dict[str, Any]:
        """Return a copy of the body of a resource."""
        return deepcopy(self._resources[resource_id].body)

    def delete(self, resource_id: str) -> None:
        """Delete a resource, as a person could in the UI."""
        del self._resources[resource_id]

    def count(self, folder: str) -> int:
        """Return how many resources there are."""
        return sum(each.folder == folder for each in self._resources.values())

    def class_of(self, schema_id: str) -> str | None:
        """Return the class of a schema, None where there is no such schema."""
        resource = self._find("schemas", schema_id)
        return None if resource is None else _class(resource.body)

    def closed(self, schema_id: str) -> dict[str, Any]:
        """Return the JSON Schema by which streaming validates rows: undeclared keys are refused."""
        resource = self._resources[schema_id]
        closed = _closed({"type": "object", "properties": self._properties(resource)})
        return {**closed, "required": ["_id", "timestamp"]}

    def _problem(self, folder: str, body: Any) -> str | None:  # noqa: ANN401  JSON
        if not isinstance(body, dict):
            return "The body is not an object"
        missing = [key for key in _REQUIRED[folder] if not body.get(key)]
        if missing:
            return f"Required: {', '.join(missing)}"
        if folder == "fieldgroups":
            own = f"_{self._organisation.tenant}"
            outside = [name for name in _custom(body) if name != own]
            return f"Custom fields must be below {own}: {outside}" if outside else None
        references = _references(body)
        unknown = [each for each in references if not self._is_known(each)]
        if unknown:
            return f"Unknown reference {unknown[0]}"
        return None if _class(body) else "A schema has exactly one class"

    def _is_known(self, reference: str) -> bool:
        return reference in _CLASSES or reference in self._resources

    def _find(self, folder: str, resource_id: str) -> _Resource | None:
        for each in self._resources.values():
            if each.folder == folder and resource_id in (each.id, self._alt_id(each)):
                return each
        return None

    def _alt_id(self, resource: _Resource) -> str:
        kind, number = resource.id.rsplit("/", 2)[1:]
        return f"_{self._organisation.tenant}.{kind}.{number}"

    def _short(self, resource: _Resource) -> dict[str, Any]:
        registry = {"repo:createdDate": resource.created_ms}
        extends = _references(resource.body)
        more = {"meta:class": _class(resource.body)} if resource.folder == "schemas" else {}
        return {
            **resource.body,
            **more,
            "$id": resource.id,
            "meta:altId": self._alt_id(resource),
            "meta:resourceType": _FOLDERS[resource.folder],
            "version": f"1.{resource.minor}",
            "imsOrg": self._organisation.org_id,
            "meta:tenantNamespace": f"_{self._organisation.tenant}",
            "meta:registryMetadata": registry,
            **({"meta:extends": extends} if extends else {}),
        }

    def _full(self, resource: _Resource) -> dict[str, Any]:
        """Return a resource with its references resolved: no `allOf`, no `definitions`."""
        short = self._short(resource)
        full = {key: each for key, each in short.items() if key not in ("allOf", "definitions")}
        return {**full, "properties": _typed(self._properties(resource))}

    def _properties(self, resource: _Resource) -> dict[str, Any]:
        if resource.folder == "fieldgroups":
            return deepcopy(_custom(resource.body))
        found: dict[str, Any] = {}
        for reference in _references(resource.body):
            part = self._resources.get(reference)
            own = _CLASSES.get(reference, {}) if part is None else self._properties(part)
            found = _joined(found, deepcopy(own))
        return found

    def _registered(self, schema_id: str) -> SimulatedResponse | None:
        """Return the schema of a dataset that was not made through the API."""
        for dataset in self._organisation.datasets.values():
            if dataset.schema_id == schema_id:
                schema = dataset.schema or {"type": "object"}
                header = {"$id": schema_id, "title": f"{dataset.name} schema", "version": "1.0"}
                header |= {"meta:class": dataset.class_id}
                return json_response(200, {**schema, **header})
        return None


def _references(body: Mapping[str, Any]) -> list[str]:
    found = [each.get("$ref", "") for each in body.get("allOf", ()) if isinstance(each, dict)]
    return [each for each in found if each.startswith("https://")]


def _class(body: Mapping[str, Any]) -> str:
    classes = [each for each in _references(body) if each in _CLASSES]
    return classes[0] if len(classes) == 1 else ""


def _custom(body: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for definition in body.get("definitions", {}).values():
        found = _joined(found, definition.get("properties", {}))
    return found


def _joined(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    joined = {**one, **other}
    for key in one.keys() & other.keys():
        if isinstance(one[key], dict) and isinstance(other[key], dict):
            joined[key] = _joined(one[key], other[key])
    return joined


def _typed(properties: dict[str, Any]) -> dict[str, Any]:
    """Return fields with `meta:xdmType`, which the registry adds (documented)."""
    names = {"integer": "int", "number": "number"}
    for each in properties.values():
        kind = str(each.get("type", "object"))
        each.setdefault("meta:xdmType", names.get(kind, kind))
        for inner in _inner(each):
            _typed(inner)
    return properties


def _inner(field: dict[str, Any]) -> Iterator[dict[str, Any]]:
    if isinstance(field.get("properties"), dict):
        yield field["properties"]
    if isinstance(field.get("items"), dict):
        yield {"items": field["items"]}


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a schema that refuses undeclared keys, except in a map (documented)."""
    closed = {key: each for key, each in schema.items() if not key.startswith("meta:")}
    if isinstance(schema.get("properties"), dict):
        closed["properties"] = {key: _closed(each) for key, each in schema["properties"].items()}
        closed["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        closed["additionalProperties"] = _closed(schema["additionalProperties"])
    if isinstance(schema.get("items"), dict):
        closed["items"] = _closed(schema["items"])
    return closed


def _apply(document: dict[str, Any], operation: Mapping[str, Any]) -> str | None:
    """Apply one operation of a JSON patch; return why it may not be applied."""
    if operation.get("op") != "add":
        return f"{operation.get('op')} is not additive"
    *above, last = [
        step.replace("~1", "/").replace("~0", "~") for step in operation["path"].split("/")[1:]
    ]
    place: Any = document
    for step in above:
        place = place.get(step) if isinstance(place, dict) else None
    if not isinstance(place, dict):
        return "there is no such place"
    if last in place and place[last] != operation.get("value"):
        return "the field exists"
    place[last] = operation.get("value")
    return None


def _bad_request(title: str) -> SimulatedResponse:
    problem = "http://ns.adobe.com/aep/errors/XDM-1500-400"
    return json_response(
        400, {"type": problem, "title": title, "status": 400, "report": {"detailed-message": title}}
    )


def _not_found(what: str) -> SimulatedResponse:
    problem = "http://ns.adobe.com/aep/errors/XDM-1010-404"
    title = f"Resource not found: {what}"
    return json_response(404, {"type": problem, "title": title, "status": 404})
