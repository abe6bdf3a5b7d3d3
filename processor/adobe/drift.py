"""Whether what exists in AEP is as `provision` makes it, one sentence for each difference. Pure.

Source: AEP "basics of schema composition": a field in use is not removed, renamed or retyped, and
fields are only added. The registry adds the bounds of 32-bit integers to integer fields.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from processor.adobe.blueprint import (
    EVENT_CLASS,
    FIELD_GROUP,
    SCHEMA,
    UNKNOWN,
    Blueprint,
    Ids,
    Wanted,
)
from processor.adobe.objects import AepObject, ObjectKind
from processor.domain.errors import SettingsError
from processor.enrich.event_schema import close

_INT: Final = {"minimum": -(2**31), "maximum": 2**31 - 1}


def missing_fields(blueprint: Blueprint, group: AepObject) -> dict[str, Any]:
    """Return the fields that a field group lacks: JSON pointer to definition, topmost only."""
    root = blueprint.group["definitions"]["customFields"]
    return dict(_missing(root, close(group.document), "/definitions/customFields"))


def is_model(pointer: str) -> bool:
    """Return whether a pointer of `missing_fields` is that of a prediction."""
    return pointer.split("/")[-3:-1] == ["CustomerAI", "properties"]


def differences(blueprint: Blueprint, wanted: Wanted, found: AepObject, ids: Ids) -> Iterator[str]:
    """Yield what about an object is not as it has to be."""
    document = found.document
    match wanted.kind:
        case ObjectKind.FIELD_GROUP:
            yield from _group_differences(blueprint, document)
        case ObjectKind.SCHEMA:
            yield from _schema_differences(document, ids)
        case ObjectKind.CONNECTION:
            yield from _connection_differences(document)
        case ObjectKind.FLOW:
            yield from _flow_differences(document, wanted.route, ids)
        case ObjectKind.DATASET | ObjectKind.SOURCE | ObjectKind.TARGET:
            yield from _link_differences(blueprint, wanted, document, ids)


def profile_enabled(document: Mapping[str, Any]) -> bool:
    """Return whether a dataset feeds Real-Time Customer Profile (tags as the catalog has them)."""
    tags = document.get("tags")
    found = tags.get("unifiedProfile", []) if isinstance(tags, dict) else []
    values = found if isinstance(found, list) else [found]
    return any("".join(str(each).split()) == "enabled:true" for each in values)


def _missing(
    field: Mapping[str, Any], closed: Mapping[str, Any], pointer: str
) -> Iterator[tuple[str, Any]]:
    for name, inner in field.get("properties", {}).items():
        path = f"{pointer}/properties/{name.replace('~', '~0').replace('/', '~1')}"
        found = closed.get("properties", {}).get(name)
        if found is None:
            yield path, inner
        else:
            yield from _missing(inner, found, path)
    if "items" in field:
        yield from _missing(field["items"], closed.get("items", {}), f"{pointer}/items")


def _group_differences(blueprint: Blueprint, document: dict[str, Any]) -> Iterator[str]:
    try:
        yield from _breaking(close(blueprint.group), close(document), "")
    except SettingsError as error:
        yield from error.problems


def _breaking(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> Iterator[str]:
    """Yield the fields that both declare and that are not the same."""
    for key in ("type", "format"):
        if where and ours.get(key) != theirs.get(key):
            yield f"{where} has the {key} {theirs.get(key)}, not {ours.get(key)}"
            return
    yield from _narrower(ours, theirs, where)
    own, found = ours.get("properties", {}), theirs.get("properties", {})
    for name in sorted(own.keys() & found.keys()):
        yield from _breaking(own[name], found[name], f"{where}.{name}".lstrip("."))
    if "items" in ours and "items" in theirs:
        yield from _breaking(ours["items"], theirs["items"], where)


def _narrower(ours: Mapping[str, Any], theirs: Mapping[str, Any], where: str) -> Iterator[str]:
    for key, narrower in (("minimum", max), ("maximum", min), ("maxLength", min)):
        bound, own = theirs.get(key), ours.get(key)
        if bound is None or bound == own or bound == _INT.get(key):
            continue
        if own is None or narrower(bound, own) == bound:
            yield f"{where} has the {key} {bound}, not {own}"
    required = set(theirs.get("required", ())) - set(ours.get("required", ()))
    if required:
        yield f"{where or 'an event'} requires {', '.join(sorted(required))}"


def _schema_differences(document: Mapping[str, Any], ids: Ids) -> Iterator[str]:
    if document.get("meta:class") != EVENT_CLASS:
        yield "its class is not XDM ExperienceEvent"
    extends = document.get("meta:extends")
    group = ids[FIELD_GROUP]
    if group != UNKNOWN and (not isinstance(extends, list) or group not in extends):
        yield "the field group of the score events is not in it"


def _connection_differences(document: Mapping[str, Any]) -> Iterator[str]:
    params = _at(document, "auth", "params")
    if not isinstance(params, dict) or params.get("dataType") != "xdm":
        yield "it does not take XDM"
    elif not params.get("authenticationRequired"):
        yield "it takes events without a token, from anyone who knows its address"
    if document.get("state", "enabled") != "enabled":
        yield "it is disabled"


def _flow_differences(document: Mapping[str, Any], route: str, ids: Ids) -> Iterator[str]:
    if document.get("state") != "enabled":
        yield "it is disabled, so events sent to it are lost"
    for key, step in (("sourceConnectionIds", "source"), ("targetConnectionIds", "target")):
        if ids[f"{step} {route}"] not in (UNKNOWN, *_list(document.get(key))):
            yield f"it has another {step} connection"


def _link_differences(
    blueprint: Blueprint, wanted: Wanted, document: Mapping[str, Any], ids: Ids
) -> Iterator[str]:
    """Yield the reference of a dataset, source or target connection if it is a wrong one."""
    path, step, sentence = {
        ObjectKind.DATASET: (("schemaRef", "id"), SCHEMA, "it has another schema"),
        ObjectKind.SOURCE: (
            ("baseConnectionId",),
            blueprint.connection_step(wanted.route) if wanted.route else "",
            "it belongs to another streaming connection",
        ),
        ObjectKind.TARGET: (
            ("params", "dataSetId"),
            f"dataset {wanted.route}",
            "it writes another dataset",
        ),
    }[wanted.kind]
    if ids[step] not in (UNKNOWN, _at(document, *path)):
        yield sentence


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _at(document: Mapping[str, Any], *path: str) -> Any:  # noqa: ANN401  JSON
    found: Any = document
    for key in path:
        found = found.get(key) if isinstance(found, dict) else None
    return found
