"""The fact of an experience event from any of Customer AI's four inputs.

Standard event types and their fields are Customer AI's (AEP, Customer AI "data requirements");
flags of older application events and other spellings of `eventType` count for them too.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from hashlib import blake2b
from typing import Any, Final

import msgspec

from processor.codec.coerce import number, without_controls
from processor.codec.dates import Dates
from processor.codec.entity import Entity, Unwrapped
from processor.domain.errors import RejectError
from processor.domain.event import Fact
from processor.domain.outcome import Reason, Stage
from processor.settings import JoinSettings

_MAX_TEXT = 256
"""Texts are cut to this many characters: many facts are stored for each person."""
_MAX_AUDIENCES = 50
_MAX_AUDIENCE_TEXT = 64


class FactReader:
    """Reads facts. Only a timestamp is required of an event; everything else may be missing."""

    def __init__(self, settings: JoinSettings, dates: Dates) -> None:
        self._dates = dates
        self._success = frozenset(settings.success_types)
        self._table = _EventTypeTable(settings.own_types, settings.cohort)

    def read(self, unwrapped: Unwrapped, value: bytes) -> Fact:
        """Return the fact of an event; a digest of `value`, the record's, replaces a missing `_id`.

        Its time is rounded up to milliseconds, where score dates are cut: an event after a score
        date never counts as before it. RejectError: no_timestamp, or bad_date.
        """
        entity = unwrapped.entity
        time_ms = self._time_ms(unwrapped)
        declared = entity.get("eventType")
        event_type = without_controls(declared)[:_MAX_TEXT] if type(declared) is str else ""
        found, texts = self._table.find(entity)
        if event_type and (kind := _standard_type(event_type)):
            found.append(kind)
        kinds = _in_order(tuple(found))
        text = texts.get
        return Fact(
            time_ms,
            _fact_id(entity.get("_id"), value),
            event_type,
            kinds,
            event_type in self._success or not self._success.isdisjoint(kinds),
            text("page", ""),
            text("campaign") or text("tracking_code", ""),
            text("order_id", ""),
            text("cohort", ""),
            _audiences(entity),
        )

    def _time_ms(self, unwrapped: Unwrapped) -> int:
        timestamp = unwrapped.entity.get("timestamp")
        if timestamp is None:
            raise _bad_timestamp(Reason.NO_TIMESTAMP, "There is no timestamp.", unwrapped)
        try:
            return self._dates.instant_up_ms(timestamp)
        except ValueError as error:
            raise _bad_timestamp(Reason.BAD_DATE, f"The timestamp {error}.", unwrapped) from error


@lru_cache(maxsize=1_024)
def _in_order(kinds: tuple[str, ...]) -> tuple[str, ...]:
    """Return kinds sorted and once each: the order of an event's keys does not change its fact."""
    return tuple(sorted(set(kinds)))


def _fact_id(declared: object, value: bytes) -> str:
    """Return the event's own `_id`; a digest replaces one that is missing or too long."""
    if type(declared) is not str or not declared:
        return _digest(value)
    return declared if len(declared) <= _MAX_TEXT else _digest(declared.encode())


def _digest(content: bytes) -> str:
    return blake2b(content, digest_size=16).hexdigest()


def _bad_timestamp(reason: Reason, detail: str, unwrapped: Unwrapped) -> RejectError:
    pointer = f"{unwrapped.pointer}/timestamp"
    return RejectError(Stage.READ, reason, detail, pointer=pointer)


class _Row(msgspec.Struct, frozen=True):
    """A row of the table: what the value at an XDM path is counted as and stored as.

    `if_positive` is the event type that a measure above zero counts for, `if_text` the one that any
    text counts for; `field` is the field of the fact that stores the text.
    """

    path: str
    if_positive: str = ""
    if_text: str = ""
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
    *(_Row(f"commerce.{kind}", if_positive=kind) for kind in _COMMERCE),
    *(_Row(f"application.{kind}", if_positive=kind) for kind in _APPLICATION),
    _Row("application.isClose", if_positive="applicationCloses"),
    _Row("application.isInstall", if_positive="installs"),
    _Row("application.isLaunch", if_positive="launches"),
    _Row("application.isUpgrade", if_positive="upgrades"),
    _Row("commerce.order.purchaseID", if_text="order", field="order_id"),
    _Row("web.webPageDetails.name", if_text="webVisit", field="page"),
    _Row("web.webInteraction.linkClicks", if_positive="webInteraction"),
    _Row("search.keywords", if_text="search"),
    _Row("marketing.campaignName", field="campaign"),
    _Row("marketing.trackingCode", field="tracking_code"),
)

_STANDARD_TYPES: Final[dict[str, str]] = {
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
"""Standard event types by values of `eventType`, which are reduced to lower-case letters."""

_NUMBERS = (int, float, bool)
_NOT_LETTERS = re.compile(r"[^a-z]+")


class _Node(msgspec.Struct):
    """The rows that end at one key, and the keys below it."""

    if_positive: list[str] = []
    if_text: list[str] = []
    fields: list[str] = []
    below: dict[str, "_Node"] = {}


class _EventTypeTable:
    """The rows as a tree, so that one pass over an event finds the keys that both have.

    `own_types` maps event types of the settings to paths; both a measure and a text count there.
    """

    def __init__(self, own_types: Mapping[str, str], cohort: str | None) -> None:
        self._root = _Node()
        own = (_Row(path, if_positive=kind, if_text=kind) for kind, path in own_types.items())
        attribute = [_Row(cohort, field="cohort")] if cohort else []
        for row in (*_ROWS, *own, *attribute):
            self._add(row)

    def find(self, entity: Entity) -> tuple[list[str], dict[str, str]]:
        """Return the event types an event counts for, and its texts by field of the fact."""
        kinds: list[str] = []
        texts: dict[str, str] = {}
        for key, node in self._root.below.items():
            branch = entity.get(key)
            if type(branch) is dict:
                _collect(node.below, branch, kinds, texts)
        return kinds, texts

    def _add(self, row: _Row) -> None:
        node = self._root
        for key in row.path.split("."):
            node = node.below.setdefault(key, _Node())
        node.if_positive += [row.if_positive] if row.if_positive else []
        node.if_text += [row.if_text] if row.if_text else []
        node.fields += [row.field] if row.field else []


@lru_cache(maxsize=1_024)
def _standard_type(event_type: str) -> str | None:
    """Return the standard event type of an `eventType`, None where it has none."""
    return _STANDARD_TYPES.get(_NOT_LETTERS.sub("", event_type.lower()))


def _collect(
    below: dict[str, _Node], branch: Entity, kinds: list[str], texts: dict[str, str]
) -> None:
    for key, value in branch.items():
        node = below.get(key)
        if node is None or value is None:
            continue
        if node.below and type(value) is dict:
            _collect(node.below, value, kinds, texts)
            continue
        if node.if_positive and _is_positive(value):
            kinds += node.if_positive
        if text := _text_at(node, value):
            kinds += node.if_text
            for field in node.fields:
                texts[field] = text[:_MAX_TEXT]


def _text_at(node: _Node, value: Any) -> str:  # noqa: ANN401
    """Return a value as text, empty where it is blank; numbers only where a field stores them."""
    if type(value) is str:
        text = value if value.isprintable() else without_controls(value)
        return "" if text.isspace() else text
    return str(value) if node.fields and type(value) in (int, float) else ""


def _is_positive(measure: Any) -> bool:  # noqa: ANN401  whatever the record has there
    """Accept a number, its text or a flag, also as `value` of an object: XDM's measure."""
    if type(measure) is dict:
        measure = measure.get("value")
    if type(measure) in _NUMBERS:
        return bool(measure > 0)
    try:
        return type(measure) is str and number(measure) > 0
    except ValueError:
        return False


def _audiences(entity: Entity) -> tuple[str, ...]:
    """Return audience ids sorted and once each, at most 50, without those the person has left.

    XDM has two forms of them: the list `segmentMemberships` and the map `segmentMembership`.
    """
    found: set[str] = set()
    if (listed := entity.get("segmentMemberships")) is not None:
        found.update(_listed_audiences(listed))
    if (mapped := entity.get("segmentMembership")) is not None:
        found.update(_mapped_audiences(mapped))
    return tuple(sorted(found)[:_MAX_AUDIENCES]) if found else ()


def _listed_audiences(memberships: object) -> Iterator[str]:
    """Read the form of Audience Manager and Consumer Experience Events."""
    for item in memberships if type(memberships) is list else ():
        if type(item) is not dict or _is_exited(item) or _is_exited(item.get("profileStitchID")):
            continue
        segment = item.get("segmentID")
        audience = segment.get("_id") if type(segment) is dict else segment
        if type(audience) is str and audience:
            yield audience[:_MAX_AUDIENCE_TEXT]


def _mapped_audiences(memberships: object) -> Iterator[str]:
    """Read the form `namespace -> audience id -> state`."""
    if type(memberships) is not dict:
        return
    for segments in memberships.values():
        for audience, state in segments.items() if type(segments) is dict else ():
            if audience and not _is_exited(state):
                yield audience[:_MAX_AUDIENCE_TEXT]


def _is_exited(state: Any) -> bool:  # noqa: ANN401  whatever the record has there
    return type(state) is dict and state.get("status") == "exited"
