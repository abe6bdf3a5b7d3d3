"""Who a record is about: `identityMap`, `endUserIDs`, and the flat record's own forms."""

from typing import Any

from processor.codec.envelope import Entity
from processor.domain.score import Identity, identity_fault, listed_placeholders
from processor.settings import IdentitySettings

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
"""Keys under `endUserIDs._experience`, and the namespace meant where the item names none."""


class IdentityReader:
    """Finds identities; namespaces come out in their configured spelling.

    An id that is not text is passed over: a number may have lost its leading zeros or its last
    digits, and would name somebody else.
    """

    def __init__(self, settings: IdentitySettings) -> None:
        self._listed = listed_placeholders(settings.placeholders)
        self._spelled = {name.lower(): name for name in settings.order}
        for alias, name in settings.aliases.items():
            self._spelled[alias.lower()] = self._spelled.get(name.lower(), name)
        self._spelled |= {name: name for name in settings.order}

    def read(self, entity: Entity) -> tuple[Identity, ...]:
        """Return all identities of an entity as they stand there, placeholders included."""
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
            identity = self._named(item)
            if identity is not None:
                found.append(identity)
        return tuple(found)

    def names_somebody(self, identities: tuple[Identity, ...]) -> bool:
        """Return True where one of the identities is neither a placeholder nor damaged."""
        for one in identities:
            if identity_fault(one.namespace, one.id, self._listed) is None:
                return True
        return False

    def canonical(self, namespace: str) -> str:
        """Return a namespace in its configured spelling, as it is where it has none."""
        spelled = self._spelled
        return spelled.get(namespace) or spelled.get(namespace.lower()) or namespace

    def _add_map(self, identity_map: Entity, found: list[Identity]) -> None:
        for namespace, items in identity_map.items():
            name = self._spelled.get(namespace) or self.canonical(namespace)
            for item in items if type(items) is list else (items,):
                text = item.get("id") if type(item) is dict else None
                if type(text) is str:
                    found.append(Identity(name, text, item.get("primary") is True))

    def _add_end_user_ids(self, experience: object, found: list[Identity]) -> None:
        for key, item in experience.items() if type(experience) is dict else ():
            text = item.get("id") if type(item) is dict else None
            if type(text) is str:
                name = self.canonical(_code(item) or _END_USER_IDS.get(key) or key)
                found.append(Identity(name, text, item.get("primary") is True))

    def _named(self, item: object) -> Identity | None:
        if type(item) is not dict:
            return None
        namespace, text = item.get("namespace"), item.get("id")
        if type(namespace) is not str or type(text) is not str:
            return None
        return Identity(self.canonical(namespace), text, item.get("primary") is True)


def _code(item: dict[str, Any]) -> str | None:
    namespace = item.get("namespace")
    code = namespace.get("code") if type(namespace) is dict else None
    return code if type(code) is str else None
