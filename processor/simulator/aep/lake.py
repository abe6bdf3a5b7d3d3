"""Behind the inlet: rows are validated after the answer; what fails ends in a failed batch."""

import secrets
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import msgspec

from processor.domain.clock import Clock
from processor.simulator.aep.account import Dataset
from processor.simulator.aep.envelope import UNREADABLE, Message
from processor.simulator.aep.validation import RowValidator

_BATCH_ROWS = 1_000
_BATCH_MS = 60_000


class Row(msgspec.Struct, frozen=True):
    """An accepted message on its way into a dataset; `doomed` as in `Verdict`."""

    message: Message
    doomed: dict[str, Any] | None = None


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


class Lake:
    """Validates every `every`-th row (0 = none) and collects failed batches; from any thread."""

    def __init__(self, clock: Clock, every: int = 1) -> None:
        self.validated = 0
        self._clock = clock
        self._every = every
        self._count = 0
        self._lock = threading.RLock()
        self._waiting: deque[tuple[str, Row]] = deque()
        self._validators: dict[str, RowValidator | None] = {}
        self._batches: list[FailedBatch] = []

    def take(self, dataset_id: str, rows: Sequence[Row]) -> None:
        """Queue rows of a dataset; `work` validates them."""
        if not self._every:
            return
        first = self._count
        self._count += len(rows)
        self._waiting.extend(
            (dataset_id, row)
            for index, row in enumerate(rows, first)
            if row.doomed or index % self._every == 0
        )

    def check(self, dataset_id: str, entity: msgspec.Raw) -> list[dict[str, Any]]:
        """Return what is wrong with an entity as a `_streamingValidation` list; empty = nothing."""
        validator = self._validators.get(dataset_id)
        return validator.report(entity) if validator else []

    def work(self, most: int = 100) -> int:
        """Validate some waiting rows; return how many are left."""
        with self._lock:
            for _ in range(min(most, len(self._waiting))):
                self._land(*self._waiting.popleft())
            return len(self._waiting)

    def failed(self, dataset_id: str | None = None) -> list[FailedBatch]:
        """Return failed batches, newest first, with all that was taken so far validated."""
        self.work(len(self._waiting))
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

    def learn(self, dataset: Dataset) -> None:
        """Take a dataset's schema from now on; `ValueError` for what is not a JSON Schema."""
        schema = dataset.schema
        self._validators[dataset.id] = RowValidator(schema) if schema else None

    def clear(self) -> None:
        """Forget every row and batch."""
        with self._lock:
            self._waiting.clear()
            self._batches.clear()
            self.validated = 0

    def _land(self, dataset_id: str, row: Row) -> None:
        self.validated += 1
        errors = row.doomed or self._violations(dataset_id, row.message.body.entity)
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
    """Return a part decoded, as text where it can not be."""
    try:
        part: object = msgspec.json.decode(raw)
    except UNREADABLE:
        return bytes(raw).decode(errors="replace")
    return part
