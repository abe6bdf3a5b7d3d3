"""The XDM entity of a record: out of the AEP streaming envelope, and the identities in it.

An envelope is `{header, body: {xdmMeta, xdmEntity}}`.
"""

from typing import Any, TypeAlias

import msgspec

from processor.domain.errors import RejectError
from processor.domain.outcome import Reason, Stage
from processor.domain.score import Identity, identity_fault, listed_placeholders
from processor.settings import IdentitySettings

Entity: TypeAlias = dict[str, Any]
"""An XDM entity as it was decoded: the type of no value in it is known."""

_END_USER_IDS = {
    "mcid": "ECID",
    "aaid": "AAID",
    "aacustomid": "AACUSTOMID",
    "acid": "ACID",
    "tntid": "TNTID",
    "adcloud": "AdCloud",
    "emailid": "Email",
    "phonenumberid": "Phone",
}
"""Keys under `endUserIDs._experience`, and their namespace where the item has none."""


class Unwrapped(msgspec.Struct, frozen=True, gc=False):
    """An entity, and the JSON pointer to it in the record."""

    entity: Entity
    pointer: str


def unwrap(value: object) -> Unwrapped:
    """Return the XDM entity of a decoded record; RejectError(not_an_object) where there is none.

    Two variants are accepted too, because they occur: a body that is the entity itself, and an
    identityMap in `xdmMeta` instead of the entity.
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
    entity, meta = body["xdmEntity"], body.get("xdmMeta")
    if type(entity) is not dict:
        raise _not_an_object("The entity in the envelope is not an object.", "/body/xdmEntity")
    if type(meta) is dict and "identityMap" in meta and not entity.get("identityMap"):
        entity = {**entity, "identityMap": meta["identityMap"]}
    return Unwrapped(entity, "/body/xdmEntity")


def _not_an_object(detail: str, pointer: str) -> RejectError:
    return RejectError(Stage.READ, Reason.NOT_AN_OBJECT, detail, pointer=pointer)


class IdentityReader:
    """Reads identities from `identityMap`, `endUserIDs`, and the fields of flat records.

    Namespaces come out in their configured spelling. An id that is not text is skipped: a number
    may have lost its leading zeros or its last digits, and would then be another person's.
    """

    def __init__(self, settings: IdentitySettings) -> None:
        self._placeholders = listed_placeholders(settings.placeholders)
        self._spellings = {name.lower(): name for name in settings.order}
        for alias, name in settings.aliases.items():
            self._spellings[alias.lower()] = self._spellings.get(name.lower(), name)
        self._spellings |= {name: name for name in settings.order}

    def read(self, entity: Entity) -> tuple[Identity, ...]:
        """Return all identities of an entity in their order, placeholders included."""
        found: list[Identity] = []
        identity_map = entity.get("identityMap")
        if type(identity_map) is dict:
            self._add_map(identity_map, found)
        end_user_ids = entity.get("endUserIDs")
        if type(end_user_ids) is dict:
            self._add_end_user_ids(end_user_ids.get("_experience"), found)
        return tuple(found)

    def read_flat(self, record: Entity) -> tuple[Identity, ...]:
        """Return the identities of a flat record: also a list of them, or a single one."""
        found = list(self.read(record))
        items = record.get("identities")
        for item in (*items, record) if type(items) is list else (record,):
            identity = self._from_fields(item)
            if identity is not None:
                found.append(identity)
        return tuple(found)

    def any_valid(self, identities: tuple[Identity, ...]) -> bool:
        """Return True where one of the identities is neither a placeholder nor damaged."""
        for one in identities:
            if identity_fault(one.namespace, one.id, self._placeholders) is None:
                return True
        return False

    def canonical(self, namespace: str) -> str:
        """Return a namespace in its configured spelling, unchanged where it has none."""
        spellings = self._spellings
        return spellings.get(namespace) or spellings.get(namespace.lower()) or namespace

    def _add_map(self, identity_map: Entity, found: list[Identity]) -> None:
        for namespace, items in identity_map.items():
            name = self._spellings.get(namespace) or self.canonical(namespace)
            for item in items if type(items) is list else (items,):
                text = item.get("id") if type(item) is dict else None
                if type(text) is str:
                    found.append(Identity(name, text, item.get("primary") is True))

    def _add_end_user_ids(self, experience: object, found: list[Identity]) -> None:
        for key, item in experience.items() if type(experience) is dict else ():
            text = item.get("id") if type(item) is dict else None
            if type(text) is str:
                name = self.canonical(_namespace_code(item) or _END_USER_IDS.get(key) or key)
                found.append(Identity(name, text, item.get("primary") is True))

    def _from_fields(self, item: object) -> Identity | None:
        if type(item) is not dict:
            return None
        namespace, text = item.get("namespace"), item.get("id")
        if type(namespace) is not str or type(text) is not str:
            return None
        return Identity(self.canonical(namespace), text, item.get("primary") is True)


def _namespace_code(item: Entity) -> str | None:
    namespace = item.get("namespace")
    code = namespace.get("code") if type(namespace) is dict else None
    return code if type(code) is str else None
