"""A connection of CJA, as its API describes it.

Source: CJA API, `Connection`, `DataSetMetadata` and what they contain.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from processor.adobe.control_api import ControlApi
from processor.domain.errors import UnavailableError

EXPANSIONS: Final = (
    "name,dataSets,sandboxName,backfillsSummaryDataSets,granularBackfills,dataSetLastIngested,"
    "validationErrors,dataRetentionMonths"
)
"""What is asked for beside a connection's id; the list of connections knows no `schemaInfo`."""


_PAGE, _MOST_PAGES = 100, 100


class BackfillCounts(msgspec.Struct, frozen=True, rename="camel"):
    """How many backfills of a dataset there are, by state (`BackfillSummary`)."""

    total: int = 0
    failed: int = 0
    in_progress: int = 0
    completed: int = 0


class Backfill(msgspec.Struct, frozen=True):
    """One backfill of a dataset (`DataSetBackfill`)."""

    status: str = ""


class ConnectedDataset(msgspec.Struct, frozen=True, rename="camel"):
    """A dataset of a connection (`DataSetMetadata`); what the API leaves out has its default."""

    data_set_id: str = ""
    name: str | None = None
    type: str | None = None
    timestamp_id: str | None = None
    visitor_id: str | None = None
    identity_namespace: str | None = None
    use_primary_id_namespace: bool | None = None
    identity_map: bool | None = None
    streaming: bool | None = None
    backfill_summary: BackfillCounts | None = None
    backfills: list[Backfill] | None = None
    last_ingested_time: str | None = None

    @property
    def title(self) -> str:
        """Name and id, as the UI's list of datasets shows them."""
        return f"`{self.name or 'without a name'}` ({self.data_set_id})"

    @property
    def by_primary(self) -> bool:
        """Whether the person id is the primary identity of the identity map."""
        return bool(self.identity_map and self.use_primary_id_namespace)


class ValidationError(msgspec.Struct, frozen=True, rename="camel"):
    """An error that CJA itself finds in a connection (`ConnectionValidationError`)."""

    error_code: str = ""
    data_set_id: str | None = None
    data_set_name: str | None = None


class Connection(msgspec.Struct, frozen=True, rename="camel"):
    """A connection of CJA."""

    id: str
    name: str | None = None
    sandbox_name: str | None = None
    data_sets: list[ConnectedDataset] | None = None
    connection_validation_errors: list[ValidationError] | None = None
    data_retention_months: int | None = None

    @property
    def title(self) -> str:
        """Its name, or its id where it has none."""
        return self.name or self.id


def read_connection(document: object) -> Connection:
    """Return a connection of an answer; UnavailableError if a field has another type."""
    try:
        return msgspec.convert(document, Connection)
    except msgspec.ValidationError as error:
        sentence = f"it describes a connection in another way than specified ({error})"
        raise UnavailableError("CJA", sentence) from error


async def connections_with(api: ControlApi, dataset_ids: Sequence[str]) -> list[Connection]:
    """Return every connection that has one of these datasets, in whatever sandbox.

    The answer is asked for without CJA's cache, since a person may have changed one just now.
    """
    query = {"dataSetIds": ",".join(dataset_ids), "expansion": EXPANSIONS, "cached": "false"}
    return await _connections(api, query)


async def connection_names(api: ControlApi, sandbox_name: str) -> list[str]:
    """Return the names of the connections to a sandbox."""
    found = await _connections(api, {"sandboxName": sandbox_name, "expansion": "name"})
    return [each.title for each in found]


async def _connections(api: ControlApi, query: Mapping[str, str]) -> list[Connection]:
    found: list[Connection] = []
    for page in range(_MOST_PAGES):
        numbers = {"limit": str(_PAGE), "page": str(page)}
        document = (await api.get("/data/connections", {**query, **numbers})).document
        content = document.get("content") if isinstance(document, dict) else None
        if not isinstance(content, list):
            raise UnavailableError("CJA", "its list of connections has no `content`")
        found += map(read_connection, content)
        if not content or _is_last(document):
            break
    return found


def _is_last(document: Mapping[str, Any]) -> bool:
    """Return whether a page is the last one: `last` in the specification, `lastPage` in the guide.

    Where neither is there, the page after it is asked for.
    """
    return bool(document.get("last") or document.get("lastPage"))
