"""One table from XDM paths to what an event counts for, and what is remembered of it.

The standard event types and their fields are Customer AI's (AEP, Customer AI "data requirements");
next to them stand the flags of older application events, and the `eventType`s that mean the same.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from processor.codec.coerce import number, without_controls
from processor.codec.envelope import Entity

MAX_TEXT = 256
"""Texts are cut to so many characters: facts are remembered, many for each person."""


class EventFields(msgspec.Struct, frozen=True):
    """What the table found in one event: types it counts for, and texts by the field they fill."""

    kinds: list[str]
    texts: dict[str, str]


class _Row(msgspec.Struct, frozen=True):
    """One line of the table.

    `measured` is the event type that a measure above zero at the path counts for, `said` the one
    that any text there counts for; `field` is what such a text is remembered as.
    """

    path: str
    measured: str = ""
    said: str = ""
    field: str = ""


_COMMERCE = (
    "productListViews",
    "checkouts",
    "purchases",
    "productListRemovals",
    "productListOpens",
    "productViews",
)
_APPLICATION = (
    "applicationCloses",
    "crashes",
    "featureUsages",
    "firstLaunches",
    "installs",
    "launches",
    "upgrades",
)

_ROWS: Final = (
    *(_Row(f"commerce.{kind}", measured=kind) for kind in _COMMERCE),
    *(_Row(f"application.{kind}", measured=kind) for kind in _APPLICATION),
    _Row("application.isClose", measured="applicationCloses"),
    _Row("application.isInstall", measured="installs"),
    _Row("application.isLaunch", measured="launches"),
    _Row("application.isUpgrade", measured="upgrades"),
    _Row("commerce.order.purchaseID", said="order", field="order_id"),
    _Row("web.webPageDetails.name", said="webVisit", field="page"),
    _Row("web.webInteraction.linkClicks", measured="webInteraction"),
    _Row("search.keywords", said="search"),
    _Row("marketing.campaignName", field="campaign"),
    _Row("marketing.trackingCode", field="tracking_code"),
)

_TYPES: Final[dict[str, str]] = {
    **{f"commerce{kind.lower()}": kind for kind in _COMMERCE},
    **{f"application{kind.lower()}": kind for kind in _APPLICATION},
    "applicationclose": "applicationCloses",
    "applicationlaunch": "launches",
    "order": "order",
    "purchase": "purchases",
    "purchases": "purchases",
    "productview": "productViews",
    "productviews": "productViews",
    "search": "search",
    "pageview": "webVisit",
    "pageviews": "webVisit",
    "webpageview": "webVisit",
    "webvisit": "webVisit",
    "webwebpagedetailspageviews": "webVisit",
    "webwebinteractionlinkclicks": "webInteraction",
    "webinteraction": "webInteraction",
}
"""Values of `eventType`, letters only and in lower case."""

_NUMBERS = (int, float, bool)
_NOT_LETTERS = re.compile(r"[^a-z]+")


class _Node(msgspec.Struct):
    """What the rows that end at one key say, and the keys below it."""

    measured: list[str] = []
    said: list[str] = []
    fields: list[str] = []
    below: dict[str, "_Node"] = {}


class EventTypeTable:
    """The table as a tree, so that an event is walked once, where it and the table have keys.

    `own_types` maps event types of the settings to paths; both a measure and a text count there.
    """

    def __init__(self, own_types: Mapping[str, str], cohort: str | None) -> None:
        self._root = _Node()
        own = (_Row(path, measured=kind, said=kind) for kind, path in own_types.items())
        attribute = [_Row(cohort, field="cohort")] if cohort else []
        for row in (*_ROWS, *own, *attribute):
            self._plant(row)

    def find(self, entity: Entity) -> EventFields:
        """Return what an event says, whatever else is in it."""
        kinds: list[str] = []
        texts: dict[str, str] = {}
        for key, node in self._root.below.items():
            branch = entity.get(key)
            if type(branch) is dict:
                _walk(node.below, branch, kinds, texts)
        return EventFields(kinds, texts)

    def _plant(self, row: _Row) -> None:
        node = self._root
        for key in row.path.split("."):
            node = node.below.setdefault(key, _Node())
        node.measured += [row.measured] if row.measured else []
        node.said += [row.said] if row.said else []
        node.fields += [row.field] if row.field else []


@lru_cache(maxsize=1_024)
def kind_of_type(event_type: str) -> str | None:
    """Return the standard event type an `eventType` stands for, None where it is none of them."""
    return _TYPES.get(_NOT_LETTERS.sub("", event_type.lower()))


def _walk(below: dict[str, _Node], branch: Entity, kinds: list[str], texts: dict[str, str]) -> None:
    for key, value in branch.items():
        node = below.get(key)
        if node is None or value is None:
            continue
        if node.below and type(value) is dict:
            _walk(node.below, value, kinds, texts)
            continue
        if node.measured and _counts(value):
            kinds += node.measured
        if text := _said(node, value):
            kinds += node.said
            for field in node.fields:
                texts[field] = text[:MAX_TEXT]


def _said(node: _Node, value: Any) -> str:  # noqa: ANN401
    """Return what a value says as text, nothing where it is blank; a number does as a field."""
    if type(value) is str:
        text = value if value.isprintable() else without_controls(value)
        return "" if text.isspace() else text
    return str(value) if node.fields and type(value) in (int, float) else ""


def _counts(measure: Any) -> bool:  # noqa: ANN401  whatever the record has there
    """Take a measure as a number, its text or a flag; in XDM it stands in an object, as `value`."""
    if type(measure) is dict:
        measure = measure.get("value")
    if type(measure) in _NUMBERS:
        return bool(measure > 0)
    try:
        return type(measure) is str and number(measure) > 0
    except ValueError:
        return False
