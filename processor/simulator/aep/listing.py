"""Lists as AEP gives them: late, and in pages whose size the service chooses."""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from processor.domain.clock import Clock

_Item = TypeVar("_Item")


class Listing:
    """How lists behave: objects appear after `late_seconds`, pages have `page_size` at most.

    That lists are late is inferred (look-ups by id are not); that a service may answer fewer
    objects than asked for is documented. A `page_size` of 0 is no limit.
    """

    def __init__(self, clock: Clock, late_seconds: float = 0.0, page_size: int = 0) -> None:
        self._clock = clock
        self._late_ms = late_seconds * 1000
        self._page_size = page_size

    def is_listed(self, created_ms: int) -> bool:
        """Return whether an object of this age is in lists."""
        return self._clock.now_ms() - created_ms >= self._late_ms

    def page(self, found: Sequence[_Item], start: int, limit: int) -> Sequence[_Item]:
        """Return the items of a page."""
        size = min(limit, self._page_size) if self._page_size else limit
        return found[start : start + size]


def as_count(text: str | None, otherwise: int) -> int:
    """Return a query parameter as a number, `otherwise` if it is missing or not a number."""
    return int(text) if text and text.isdecimal() else otherwise


def property_filter(query: Mapping[str, str], key: str) -> str | None:
    """Return the value of `property=<key>==<value>`, None where it is not asked for."""
    name, _, value = query.get("property", "").partition("==")
    return value if name == key else None
