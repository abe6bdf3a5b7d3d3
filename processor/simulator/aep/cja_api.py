"""The connections of CJA: read only, as at cja.adobe.io. A person makes them in CJA's UI.

Each rule names its source and says how far it is known. *specified* is Adobe's OpenAPI document of
the CJA API, *documented* its guide or the help of CJA, *inferred* neither. README.md lists where
specification and guide differ.
"""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import msgspec

from processor.domain.clock import Clock, rfc3339
from processor.simulator.aep.organisation import Organisation
from processor.simulator.aep.responses import (
    SimulatedResponse,
    gateway_error,
    json_response,
)

_PAGE: Final = 10
_MOST: Final = 1_000
_EXPANSIONS: Final = """name primaryIdType configuredContainers description owner isDeleted
    isDisabled dataSets createdDate modified caseSensitive organization components numDailyEvents
    externalData backfillEnabled granularBackfills granularStreaming backfillsSummaryConnection
    backfillsSummaryDataSets dataSetLastIngested componentType sandboxName sandboxId fieldsId
    floatPrecision dataRetentionMonths validationErrors resolveIdentityNamespace stitchedDataSets"""
LIST_EXPANSIONS: Final = frozenset(_EXPANSIONS.split())
"""Expansions of the list of connections (specified)."""
ONE_EXPANSIONS: Final = LIST_EXPANSIONS | {"ownerFullName", "schemaInfo", "tags", "internalLabels"}
"""Expansions of one connection and of a search (specified)."""


class CjaAccess(StrEnum):
    """What the credential may do in CJA."""

    FULL = "full"
    NO_API = "no_api"
    """The developer project does not have the CJA API: 403003 (documented code; use inferred)."""
    NO_PROFILE = "no_profile"
    """No product profile of CJA: 403025 (documented code; use inferred)."""
    NO_SCOPE = "no_scope"
    """401 `insufficient_scope` (specified error code; status inferred)."""
    OWN_ONLY = "own_only"
    """No product administrator: connections of others are not listed (documented)."""


class CjaBackfill(msgspec.Struct, frozen=True):
    """One backfill of a dataset.

    `status` is COMPLETED, FAILED, IN_PROGRESS or IN_QUEUE (specified).
    """

    id: str
    status: str
    created_date: str = "2026-11-01T00:00:00Z"


class CjaDataset(msgspec.Struct, frozen=True):
    """A dataset as it was added to a connection."""

    id: str
    name: str
    type: str = "event"
    timestamp_id: str | None = "timestamp"
    identity_map: bool = True
    primary_namespace: bool = True
    namespace: str | None = None
    """The chosen namespace of the identity map, or that of the field `visitor_id`."""
    visitor_id: str | None = None
    streaming: bool = True
    """*Import new data* in the UI."""
    backfills: tuple[CjaBackfill, ...] = ()
    last_ingested: str | None = None
    """RFC 3339; None is the time at which the dataset last got an event in the simulator."""


class CjaConnection(msgspec.Struct, frozen=True):
    """A connection; `id` is a UUID, which the API shows with the prefix `dg_`."""

    id: str
    name: str
    datasets: tuple[CjaDataset, ...] = ()
    sandbox_name: str = "prod"
    retention_months: int | None = None
    validation_errors: tuple[dict[str, str], ...] = ()
    created: str = "2026-11-01T00:00:00Z"


class CjaState(msgspec.Struct, forbid_unknown_fields=True):
    """What exists in CJA and who may see it; tests and the demo set it."""

    access: CjaAccess = CjaAccess.FULL
    connections: tuple[CjaConnection, ...] = ()


class RequestWindow:
    """At most `most` requests in any `seconds` (documented: 12 in 6 seconds for each user)."""

    def __init__(self, clock: Clock, most: int = 12, seconds: float = 6.0) -> None:
        self._clock = clock
        self._most = most
        self._seconds = seconds
        self._times: deque[float] = deque()

    def admits(self) -> bool:
        """Count a request; return whether it is within the limit. A refused one is not counted."""
        now = self._clock.monotonic()
        while self._times and now - self._times[0] >= self._seconds:
            self._times.popleft()
        if len(self._times) >= self._most:
            return False
        self._times.append(now)
        return True


class CjaApi:
    """Responses of the connections API; `last_accepted` is the time of a dataset's last event."""

    def __init__(
        self,
        organisation: Organisation,
        state: CjaState,
        window: RequestWindow,
        last_accepted: Callable[[str], int | None],
    ) -> None:
        self._organisation = organisation
        self._state = state
        self._window = window
        self._last_accepted = last_accepted

    def replace(self, state: CjaState) -> None:
        """Put another state in place of the present one; ValueError if an id is not a UUID."""
        for connection in state.connections:
            UUID(connection.id)
        self._state.access = state.access
        self._state.connections = state.connections

    def refusal(self) -> SimulatedResponse | None:
        """Return why a request is refused before it is looked at; None if it is not."""
        match self._state.access:
            case CjaAccess.NO_API:
                return gateway_error(403, "403003", "Api Key is invalid")
            case CjaAccess.NO_PROFILE:
                return gateway_error(403, "403025", "Profile is not valid")
            case CjaAccess.NO_SCOPE:
                return _error(401, "insufficient_scope", "The token has not the scope needed")
            case CjaAccess.FULL | CjaAccess.OWN_ONLY:
                pass
        if not self._window.admits():
            return gateway_error(429, "429050", "Too many requests")
        return None

    def list(self, query: Mapping[str, str]) -> SimulatedResponse:
        """List connections; filters, paging and sorting as specified."""
        found = list(self._visible())
        datasets, ids = _names(query.get("dataSetIds")), _names(query.get("connectionIds"))
        sandbox = query.get("sandboxName")
        if datasets:
            found = [c for c in found if datasets & {dataset.id for dataset in c.datasets}]
        if ids:
            found = [c for c in found if _shown_id(c) in ids]
        if sandbox:
            found = [c for c in found if c.sandbox_name == sandbox]
        found.sort(key=_shown_id, reverse=query.get("sortDirection") == "DESC")
        return self._page(found, query, LIST_EXPANSIONS)

    def search(self, query: Mapping[str, str]) -> SimulatedResponse:
        """List connections whose name or id contains a text (specified; the match is inferred)."""
        text = query.get("query", "").casefold()
        found = [
            each
            for each in self._visible()
            if text in each.name.casefold() or text in _shown_id(each)
        ]
        return self._page(found, query, ONE_EXPANSIONS)

    def one(self, connection_id: str, query: Mapping[str, str]) -> SimulatedResponse:
        """Look a connection up by its id, with the prefix `dg_`."""
        expansions = _names(query.get("expansion"))
        if expansions - ONE_EXPANSIONS:
            return _unknown_expansion(expansions - ONE_EXPANSIONS)
        for connection in self._visible():
            if _shown_id(connection) == connection_id:
                return json_response(200, self._document(connection, expansions))
        return _error(404, "resource_not_found", "could not find connection")

    def backfills(self, connection_id: str, dataset_id: str) -> SimulatedResponse:
        """List the backfills of a dataset in a connection; in the guide only (documented)."""
        for connection in self._visible():
            for dataset in connection.datasets:
                if (_shown_id(connection), dataset.id) == (connection_id, dataset_id):
                    found = [_backfill(dataset_id, each) for each in dataset.backfills]
                    return json_response(200, _guide_page(found))
        return _error(404, "resource_not_found", "could not find backfills")

    def refused_method(self) -> SimulatedResponse:
        """Refuse to create or change a connection: the API has no such operation (specified)."""
        return _error(405, "method_not_allowed", "Connections cannot be changed by the API")

    def _visible(self) -> Sequence[CjaConnection]:
        return () if self._state.access is CjaAccess.OWN_ONLY else self._state.connections

    def _page(
        self, found: Sequence[CjaConnection], query: Mapping[str, str], known: frozenset[str]
    ) -> SimulatedResponse:
        expansions = _names(query.get("expansion"))
        if expansions - known:
            return _unknown_expansion(expansions - known)
        size, number = _count(query.get("limit"), _PAGE), _count(query.get("page"), 0)
        if not 1 <= size <= _MOST:
            return _error(400, "invalid_parameters", "limit is out of range")
        shown = [
            self._document(each, expansions) for each in found[number * size : (number + 1) * size]
        ]
        return json_response(200, _spec_page(shown, number, size, len(found)))

    def _document(self, connection: CjaConnection, expansions: set[str]) -> dict[str, Any]:
        """Return a connection with what was asked for; always its ids (inferred)."""
        fields: dict[str, dict[str, Any]] = {
            "name": {"name": connection.name},
            "organization": {"organization": self._organisation.org_id},
            "createdDate": {"createdDate": connection.created},
            "modified": {"modifiedDate": connection.created},
            "sandboxName": {"sandboxName": connection.sandbox_name},
            "dataRetentionMonths": {"dataRetentionMonths": connection.retention_months},
            "validationErrors": {"connectionValidationErrors": list(connection.validation_errors)},
            "backfillEnabled": {
                "backfillEnabled": any(each.backfills for each in connection.datasets)
            },
            "backfillsSummaryConnection": {
                "backfillSummary": _summary([b for d in connection.datasets for b in d.backfills])
            },
            "dataSets": {
                "dataSets": [self._dataset(each, expansions) for each in connection.datasets]
            },
        }
        document: dict[str, Any] = {}
        for expansion in fields.keys() & expansions:
            document |= {name: each for name, each in fields[expansion].items() if each is not None}
        return {**document, "idWithoutPrefix": connection.id, "id": _shown_id(connection)}

    def _dataset(self, dataset: CjaDataset, expansions: set[str]) -> dict[str, Any]:
        registered = self._organisation.datasets.get(dataset.id)
        schema = registered and {
            "schemaId": registered.schema_id,
            "schemaName": f"{registered.name} schema",
        }
        last = dataset.last_ingested or self._last_ingested(dataset.id)
        fields: dict[str, Any] = {
            "dataSetId": dataset.id,
            "domain": "catalog",
            "type": dataset.type,
            "timestampId": dataset.timestamp_id,
            "visitorId": dataset.visitor_id,
            "identityNamespace": dataset.namespace,
            "usePrimaryIdNamespace": dataset.primary_namespace,
            "identityMap": dataset.identity_map,
            "name": dataset.name,
            "streaming": dataset.streaming,
            "schemaInfo": schema if "schemaInfo" in expansions else None,
            "lastIngestedTime": last if "dataSetLastIngested" in expansions else None,
        }
        if "backfillsSummaryDataSets" in expansions:
            fields["backfillSummary"] = _summary(dataset.backfills)
        if "granularBackfills" in expansions:
            fields["backfills"] = [_backfill(dataset.id, each) for each in dataset.backfills]
        return {name: each for name, each in fields.items() if each is not None}

    def _last_ingested(self, dataset_id: str) -> str | None:
        at_ms = self._last_accepted(dataset_id)
        return None if at_ms is None else rfc3339(at_ms)


def _shown_id(connection: CjaConnection) -> str:
    return f"dg_{connection.id}"


def _summary(backfills: Sequence[CjaBackfill]) -> dict[str, Any]:
    """Count backfills; one that is queued counts as in progress (inferred)."""
    states = [each.status for each in backfills]
    return {
        "total": len(states),
        "failed": states.count("FAILED"),
        "inProgress": states.count("IN_PROGRESS") + states.count("IN_QUEUE"),
        "completed": states.count("COMPLETED"),
        "invalid": False,
    }


def _backfill(dataset_id: str, backfill: CjaBackfill) -> dict[str, Any]:
    return {
        "id": backfill.id,
        "dataSetId": dataset_id,
        "status": backfill.status,
        "createdDate": backfill.created_date,
        "allData": True,
    }


def _spec_page(shown: Sequence[Any], number: int, size: int, total: int) -> dict[str, Any]:
    """Return a page with `first` and `last` (specified), and as the guide has it (documented)."""
    pages = -(-total // size)
    first, last = number == 0, number >= pages - 1
    return {
        "content": shown,
        "number": number,
        "size": size,
        "numberOfElements": len(shown),
        "totalElements": total,
        "totalPages": pages,
        "first": first,
        "last": last,
        "firstPage": first,
        "lastPage": last,
        "empty": not shown,
    }


def _guide_page(shown: Sequence[Any]) -> dict[str, Any]:
    return _spec_page(shown, 0, max(len(shown), _PAGE), len(shown))


def _names(text: str | None) -> set[str]:
    return {part.strip() for part in (text or "").split(",") if part.strip()}


def _count(text: str | None, otherwise: int) -> int:
    return int(text) if text and text.isdecimal() else otherwise


def _unknown_expansion(names: set[str]) -> SimulatedResponse:
    """Refuse expansions that are not in the specification's list (inferred)."""
    return _error(400, "invalid_parameters", f"unknown expansion {', '.join(sorted(names))}")


def _error(status: int, code: str, description: str) -> SimulatedResponse:
    return json_response(status, {"errorCode": code, "errorDescription": description})
