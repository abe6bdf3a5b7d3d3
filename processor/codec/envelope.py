"""The AEP streaming envelope, taken off: `{header, body: {xdmMeta, xdmEntity}}`."""

from typing import Any, TypeAlias

import msgspec

from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Stage

Entity: TypeAlias = dict[str, Any]
"""An XDM entity as it was decoded: nothing in it can be relied on yet."""


class Unwrapped(msgspec.Struct, frozen=True, gc=False):
    """An entity, and the JSON pointer to it in the record."""

    entity: Entity
    pointer: str


def unwrap(value: object) -> Unwrapped:
    """Return the XDM entity of a decoded record; RejectError(not_an_object) where there is none.

    Seen in the wild and taken too: a body that is the entity itself, and an identityMap that stands
    in `xdmMeta` in place of the entity.
    """
    if type(value) is not dict:
        raise _not_an_object("The record is not an object.", "")
    body = value.get("body")
    if body is None or not ("header" in value or (type(body) is dict and "xdmEntity" in body)):
        return Unwrapped(value, "")
    if type(body) is not dict:
        raise _not_an_object("The body of the envelope is not an object.", "/body")
    if "xdmEntity" not in body:
        return Unwrapped(body, "/body")
    return _from_body(body)


def _from_body(body: Entity) -> Unwrapped:
    entity, meta = body["xdmEntity"], body.get("xdmMeta")
    if type(entity) is not dict:
        raise _not_an_object("The entity in the envelope is not an object.", "/body/xdmEntity")
    if type(meta) is dict and "identityMap" in meta and not entity.get("identityMap"):
        entity = {**entity, "identityMap": meta["identityMap"]}
    return Unwrapped(entity, "/body/xdmEntity")


def _not_an_object(detail: str, pointer: str) -> RejectError:
    return RejectError(Stage.READ, Reason.NOT_AN_OBJECT, detail, pointer=pointer)
