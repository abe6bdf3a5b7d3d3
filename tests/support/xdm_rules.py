"""XDM's rules for an ExperienceEvent, restated by hand and without our schemas.

Sources: the class and behaviour schemas in adobe/xdm, AEP's "streaming validation", "basics of
schema composition" and "field constraints", and the Identity Service guardrails.
"""

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

_ROOT = {"_id", "timestamp", "eventType", "producedBy", "identityMap"}
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)")
_HEX_SHA256 = re.compile(r"[0-9a-f]{64}")
_ITEM_KEYS = {"id", "primary", "authenticatedState"}


def broken_rules(event: dict[str, Any], tenant: str) -> list[str]:
    """Return what is wrong with an event; an empty list: nothing."""
    return [*_of_root(event, tenant), *_of_identities(event["identityMap"]), *_of_values(event, "")]


def _of_root(event: dict[str, Any], tenant: str) -> Iterator[str]:
    if event.keys() != _ROOT | {f"_{tenant}"}:
        yield f"keys {sorted(event)}"
    if not _HEX_SHA256.fullmatch(event["_id"]):
        yield "_id"
    if not _is_instant(event["timestamp"]):
        yield "timestamp"
    if not event["eventType"] or event["producedBy"] not in ("self", "system"):
        yield "eventType or producedBy"


def _is_instant(text: Any) -> bool:  # noqa: ANN401  whatever stands there
    if not isinstance(text, str) or not _TIMESTAMP.fullmatch(text):
        return False
    return datetime.fromisoformat(text).tzinfo is not None


def _of_identities(identity_map: dict[str, Any]) -> Iterator[str]:
    items = [(name, item) for name, listed in identity_map.items() for item in listed]
    if not 1 <= len(items) <= 20:
        yield f"{len(items)} identities"
    if sum(item.get("primary") is True for _, item in items) != 1:
        yield "not exactly one primary identity"
    if len({(name, item["id"]) for name, item in items}) != len(items):
        yield "an identity stands twice"
    for name, item in items:
        if not item.keys() <= _ITEM_KEYS or not isinstance(item["id"], str):
            yield f"item in {name}"
        if not 0 < len(item["id"]) <= 1024 or not item["id"].strip():
            yield f"id in {name}"
        if name == "ECID" and not re.fullmatch(r"[0-9]{38}", item["id"]):
            yield "ECID"


def _of_values(value: Any, path: str) -> Iterator[str]:  # noqa: ANN401  any part of an event
    if value is None or value in ("", [], {}):
        yield f"empty at {path}"
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, child in value.items():
            yield from _of_values(child, f"{path}/{key}")
