"""Who a score or an event is about: usable identities, best first."""

from collections.abc import Sequence

from processor.domain.score import Identity, identity_fault, listed_placeholders
from processor.settings import IdentitySettings

MAX_IDENTITIES = 20
"""AEP, Identity Service guardrails: a record with more is skipped."""


class PrimaryIdentity:
    """The configured order of namespaces, and the ids that name nobody.

    Which identity is primary depends on what the identities are, never on the order they came in:
    the first configured namespace that is present; within it the one the record calls primary, else
    the smallest id. Where none is configured: the one the record calls primary, else the first by
    namespace and id.
    """

    def __init__(self, settings: IdentitySettings) -> None:
        self._order = tuple(settings.order)
        self._configured = frozenset(settings.order)
        self._listed = listed_placeholders(settings.placeholders)

    def usable(self, identities: Sequence[Identity]) -> list[Identity]:
        """Return the identities that name somebody, the primary one first, at most twenty."""
        listed, configured = self._listed, self._configured
        good = [
            one
            for one in identities
            if identity_fault(one.namespace, one.id, listed) is None
            and (one.namespace in configured or _is_name(one.namespace))
        ]
        if len(good) > 1:
            primary = self._primary(good)
            if primary is not good[0]:
                good.remove(primary)
                good.insert(0, primary)
        return good[:MAX_IDENTITIES]

    def left_out(self, identities: Sequence[Identity]) -> tuple[str, ...]:
        """Return the namespaces of the identities that name nobody; unlisted ones as `other`."""
        faulty = (one.namespace for one in identities if not self._names_somebody(one))
        return tuple(name if name in self._configured else "other" for name in faulty)

    def _names_somebody(self, one: Identity) -> bool:
        known = one.namespace in self._configured or _is_name(one.namespace)
        return known and identity_fault(one.namespace, one.id, self._listed) is None

    def _primary(self, good: Sequence[Identity]) -> Identity:
        best = [one for one in good if one.namespace == self._order[0]]
        if len(best) == 1:
            return best[0]
        named = {one.namespace: one for one in good}
        first = next(filter(named.__contains__, self._order), None)
        if first is not None and len(named) == len(good):
            return named[first]
        rivals = [one for one in good if first in (None, one.namespace)]
        return min(rivals, key=_preference)


def _is_name(namespace: str) -> bool:
    return bool(namespace.strip()) and "|" not in namespace


def _preference(one: Identity) -> tuple[bool, str, str]:
    return not one.primary, one.namespace, one.id


def person_key(identity: Identity) -> bytes:
    """Return the key under which the person is remembered: `Namespace|id` in UTF-8."""
    return f"{identity.namespace}|{identity.id}".encode()
