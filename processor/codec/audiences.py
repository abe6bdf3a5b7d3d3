"""The audiences an event's person is in, from the list form and the map form XDM has for them."""

from collections.abc import Iterator
from typing import Any

from processor.codec.envelope import Entity

__all__ = ["audiences_of"]

_MAX_AUDIENCES = 50
_MAX_TEXT = 64
_LEFT = "exited"


def audiences_of(entity: Entity) -> tuple[str, ...]:
    """Return audience ids in order and each once, at most 50; those the person has left are out."""
    found: set[str] = set()
    if (listed := entity.get("segmentMemberships")) is not None:
        found.update(_listed(listed))
    if (mapped := entity.get("segmentMembership")) is not None:
        found.update(_mapped(mapped))
    return tuple(sorted(found)[:_MAX_AUDIENCES]) if found else ()


def _listed(memberships: object) -> Iterator[str]:
    """`segmentMemberships`: as Audience Manager and Consumer Experience Events have it."""
    for item in memberships if type(memberships) is list else ():
        if type(item) is not dict or _has_left(item) or _has_left(item.get("profileStitchID")):
            continue
        segment = item.get("segmentID")
        name = segment.get("_id") if type(segment) is dict else segment
        if type(name) is str and name:
            yield name[:_MAX_TEXT]


def _mapped(memberships: object) -> Iterator[str]:
    """`segmentMembership`: namespace, then audience id, then its state."""
    if type(memberships) is not dict:
        return
    for segments in memberships.values():
        for name, state in segments.items() if type(segments) is dict else ():
            if name and not _has_left(state):
                yield name[:_MAX_TEXT]


def _has_left(state: Any) -> bool:  # noqa: ANN401  whatever the record has there
    return type(state) is dict and state.get("status") == _LEFT
