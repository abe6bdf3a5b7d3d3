"""The person of a score or an event: usable identities, the primary one first."""

from collections.abc import Sequence

from processor.domain.score import Identity, identity_fault, listed_placeholders
from processor.settings import IdentitySettings

MAX_IDENTITIES = 20
"""AEP, Identity Service guardrails: a record with more is skipped."""


class PrimaryIdentity:
    """Chooses the primary identity by the configured order of namespaces.

    The choice depends on the identities alone, never on the order they came in: the first
    configured namespace that is present; within it the identity the record marks as primary, else
    the smallest id. Where no namespace is configured: the identity the record marks as primary,
    else the first by namespace and id.
    """

    def __init__(self, settings: IdentitySettings) -> None:
        self._order = tuple(settings.order)
        self._configured = frozenset(settings.order)
        self._placeholders = listed_placeholders(settings.placeholders)

    def usable(self, identities: Sequence[Identity]) -> list[Identity]:
        """Return the valid identities, the primary one first, at most twenty."""
        placeholders, configured = self._placeholders, self._configured
        # The check of `_is_usable`, inline: it runs for each identity of each record.
        good = [
            one
            for one in identities
            if identity_fault(one.namespace, one.id, placeholders) is None
            and (one.namespace in configured or _is_name(one.namespace))
        ]
        if len(good) > 1:
            primary = self._primary(good)
            if primary is not good[0]:
                good.remove(primary)
                good.insert(0, primary)
        return good[:MAX_IDENTITIES]

    def left_out(self, identities: Sequence[Identity]) -> tuple[str, ...]:
        """Return the namespaces of the unusable identities; unlisted ones as `other`."""
        unusable = (one.namespace for one in identities if not self._is_usable(one))
        return tuple(name if name in self._configured else "other" for name in unusable)

    def _is_usable(self, one: Identity) -> bool:
        has_name = one.namespace in self._configured or _is_name(one.namespace)
        return has_name and identity_fault(one.namespace, one.id, self._placeholders) is None

    def _primary(self, good: Sequence[Identity]) -> Identity:
        best = [one for one in good if one.namespace == self._order[0]]
        if len(best) == 1:
            return best[0]
        by_namespace = {one.namespace: one for one in good}
        first = next(filter(by_namespace.__contains__, self._order), None)
        if first is not None and len(by_namespace) == len(good):
            return by_namespace[first]
        candidates = [one for one in good if first in (None, one.namespace)]
        return min(candidates, key=lambda one: (not one.primary, one.namespace, one.id))


def _is_name(namespace: str) -> bool:
    return bool(namespace.strip()) and "|" not in namespace


def person_key(identity: Identity) -> bytes:
    """Return the key of the person state: `Namespace|id` in UTF-8."""
    return f"{identity.namespace}|{identity.id}".encode()
