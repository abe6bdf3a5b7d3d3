"""Validation of accepted rows after the response; rows that fail end in a failed batch.

Source: AEP "streaming ingestion validation" and "retrieving failed batches"; the messages are those
of the Java validator whose output Adobe's examples show.
"""

import secrets
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from typing import Any

import jsonschema_rs
import msgspec

from processor.domain.clock import Clock
from processor.simulator.aep.envelope import UNREADABLE, Message
from processor.simulator.aep.organisation import Dataset

_BATCH_ROWS = 1_000
_BATCH_MS = 60_000


class Row(msgspec.Struct, frozen=True):
    """An accepted message for a dataset; `async_errors` as in `MessageVerdict`."""

    message: Message
    async_errors: dict[str, Any] | None = None


class FailedBatch(msgspec.Struct):
    """Rows of a dataset that failed validation, as NDJSON with `_errors`."""

    id: str
    dataset_id: str
    created_ms: int
    lines: list[bytes] = []

    @property
    def file_name(self) -> str:
        """Name of the part file that holds the rows."""
        return f"part-00000-{self.id.lower()}-c000.json"


class DataLake:
    """Validates every `every`-th row (0 = none) and collects failed batches; thread-safe."""

    def __init__(self, clock: Clock, every: int = 1) -> None:
        self.validated = 0
        self._clock = clock
        self._every = every
        self._count = 0
        self._lock = threading.RLock()
        self._queue: deque[tuple[str, Row]] = deque()
        self._validators: dict[str, RowValidator | None] = {}
        self._batches: list[FailedBatch] = []
        self._later: list[tuple[int, str, RowValidator | None]] = []

    def add(self, dataset_id: str, rows: Sequence[Row]) -> None:
        """Queue rows of a dataset; `validate_queued` validates them."""
        if not self._every:
            return
        first = self._count
        self._count += len(rows)
        self._queue.extend(
            (dataset_id, row)
            for index, row in enumerate(rows, first)
            if row.async_errors or index % self._every == 0
        )

    def check(self, dataset_id: str, entity: msgspec.Raw) -> list[dict[str, Any]]:
        """Return what is wrong with an entity as a `_streamingValidation` list; empty = nothing."""
        self._use_due()
        validator = self._validators.get(dataset_id)
        return validator.report(entity) if validator else []

    def validate_queued(self, most: int = 100) -> int:
        """Validate up to `most` queued rows; return how many are left."""
        with self._lock:
            for _ in range(min(most, len(self._queue))):
                self._validate(*self._queue.popleft())
            return len(self._queue)

    def failed(self, dataset_id: str | None = None) -> list[FailedBatch]:
        """Return failed batches, newest first, after validating all queued rows."""
        self.validate_queued(len(self._queue))
        with self._lock:
            batches = self._batches[::-1]
        return [batch for batch in batches if dataset_id is None or batch.dataset_id == dataset_id]

    def failed_rows(self, dataset_id: str | None = None) -> list[dict[str, Any]]:
        """Return the rows of the failed batches, oldest first, decoded."""
        return [
            msgspec.json.decode(line)
            for batch in reversed(self.failed(dataset_id))
            for line in batch.lines
        ]

    def register(self, dataset: Dataset, from_ms: int = 0) -> None:
        """Use a dataset's schema from a time on; `ValueError` if it is not a JSON Schema."""
        validator = RowValidator(dataset.schema) if dataset.schema else None
        with self._lock:
            self._later.append((from_ms, dataset.id, validator))
        self._use_due()

    def _use_due(self) -> None:
        now = self._clock.now_ms()
        with self._lock:
            due = [each for each in self._later if each[0] <= now]
            self._later = [each for each in self._later if each[0] > now]
        for _, dataset_id, validator in due:
            self._validators[dataset_id] = validator

    def clear(self) -> None:
        """Delete every row and batch."""
        with self._lock:
            self._queue.clear()
            self._batches.clear()
            self.validated = 0

    def _validate(self, dataset_id: str, row: Row) -> None:
        self.validated += 1
        errors = row.async_errors or self._violations(dataset_id, row.message.body.entity)
        if errors:
            self._batch(dataset_id).lines.append(_failed_line(row.message, errors))

    def _violations(self, dataset_id: str, entity: msgspec.Raw) -> dict[str, Any] | None:
        report = self.check(dataset_id, entity)
        return {"_errors": {"_streamingValidation": report}} if report else None

    def _batch(self, dataset_id: str) -> FailedBatch:
        now = self._clock.now_ms()
        for batch in reversed(self._batches):
            if batch.dataset_id == dataset_id:
                if len(batch.lines) < _BATCH_ROWS and now - batch.created_ms < _BATCH_MS:
                    return batch
                break
        batch = FailedBatch(secrets.token_hex(13).upper(), dataset_id, now)
        self._batches.append(batch)
        return batch


def _failed_line(message: Message, errors: dict[str, Any]) -> bytes:
    parts = {"xdmMeta": message.body.meta, "xdmEntity": message.body.entity}
    body = {name: _part(raw) for name, raw in parts.items() if bytes(raw)}
    return msgspec.json.encode({"header": _part(message.header), "body": body, **errors})


def _part(raw: msgspec.Raw) -> object:
    """Return a part decoded, or as text if it cannot be decoded."""
    try:
        part: object = msgspec.json.decode(raw)
    except UNREADABLE:
        return bytes(raw).decode(errors="replace")
    return part


_MOST_ERRORS = 5
"""AEP stops after about five."""
_DATE_TIMES = (
    "[yyyy-MM-dd'T'HH:mm:ssZ, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}Z, "
    "yyyy-MM-dd'T'HH:mm:ss[+-]HH:mm, yyyy-MM-dd'T'HH:mm:ss.[0-9]{1,9}[+-]HH:mm]"
)
_JAVA_TYPES: dict[type, str] = {
    bool: "Boolean",
    int: "Long",
    float: "Double",
    str: "String",
    list: "JSONArray",
    type(None): "Null",
}
_JAVA_NAMES = {
    "string": "String",
    "integer": "Integer",
    "number": "Number",
    "boolean": "Boolean",
    "object": "JSONObject",
    "array": "JSONArray",
    "null": "Null",
}


class RowValidator:
    """One compiled schema; raises `ValueError` if it is not a JSON Schema."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._validator = jsonschema_rs.validator_for(schema, validate_formats=True)

    def report(self, entity: bytes | msgspec.Raw) -> list[dict[str, Any]]:
        """Return what is wrong with a row as a `_streamingValidation` list; empty = nothing."""
        try:
            row = msgspec.json.decode(entity)
        except UNREADABLE as error:
            return [{"message": f"Payload body is not valid JSON: {error}"}]
        if self._validator.is_valid(row):
            return []
        causes = []
        for violation in self._validator.iter_errors(row):
            causes += _causes(violation)
            if len(causes) >= _MOST_ERRORS:
                break
        return [_wrapped(causes[:_MOST_ERRORS])]


def _wrapped(causes: list[dict[str, Any]]) -> dict[str, Any]:
    plural = "violations" if len(causes) > 1 else "violation"
    return {
        "schemaLocation": "#",
        "pointerToViolation": "#",
        "causingExceptions": causes,
        "message": f"#: {len(causes)} schema {plural} found",
    }


def _causes(error: jsonschema_rs.ValidationError) -> list[dict[str, Any]]:
    keyword = str(error.schema_path[-1]) if error.schema_path else ""
    schema_path = error.schema_path[:-1]
    return [
        {
            "schemaLocation": _pointer(schema_path),
            "pointerToViolation": _pointer(error.instance_path),
            "causingExceptions": [],
            "keyword": keyword,
            "message": message,
        }
        for message in _messages(keyword, error)
    ]


def _messages(keyword: str, error: jsonschema_rs.ValidationError) -> list[str]:
    kind: Any = error.kind
    match keyword:
        case "additionalProperties" | "unevaluatedProperties":
            return [f"extraneous key [{key}] is not permitted" for key in kind.unexpected]
        case "required":
            return [f"required key [{kind.property}] not found"]
        case "type":
            wanted = ", ".join(_JAVA_NAMES.get(name, name) for name in kind.types)
            return [f"expected type: {wanted}, found: {_java_name(error.instance)}"]
        case "enum":
            return [f"{error.instance} is not a valid enum value"]
        case "format" if kind.format == "date-time":
            return [f"[{error.instance}] is not a valid date-time. Expected {_DATE_TIMES}"]
        case _:
            return [error.message]


def _java_name(instance: object) -> str:
    return _JAVA_TYPES.get(type(instance), "JSONObject")


def _pointer(path: Iterable[str | int]) -> str:
    return "/".join(["#", *map(str, path)])
