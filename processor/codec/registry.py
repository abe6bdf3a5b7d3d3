"""Schemas by id from a Confluent-compatible schema registry, or from `schemas/`.

The registry is asked on threads of its own, a few ids at a time, so that the loop never waits for
it. Each id is fetched once; an unknown one is asked for again for a while.
"""

import random
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import NamedTuple, TypeVar

import structlog

from processor.codec.avro_limits import UnsafeSchemaError
from processor.codec.registry_client import PART, RegistryClient
from processor.codec.schemas import Schema, SchemaFolder, SchemaSource, UnusableSchema, prepare
from processor.domain.clock import Clock
from processor.domain.errors import UnavailableError
from processor.domain.outcome import Reason
from processor.domain.retry import Retry, RetryPolicy, Uniform
from processor.domain.schema_files import schemas_folder
from processor.settings import RegistrySettings
from processor.telemetry.log_limiter import LogLimiter

_MAX_REQUESTS = 8
"""Requests under way at once."""
_IDS = range(1, 1 << 31)
"""The ids a registry gives (Confluent, wire format): other ones are of no schema."""
_MAX_SCHEMAS = 512
_MAX_UNKNOWN = 10_000
_UNKNOWN_ID_RETRY_SECONDS = 1.0
_UNKNOWN_ID_FORGET_SECONDS = 600.0
_MAX_AWAITED, _MAX_GIVEN_UP = 64, 16
"""Unknown ids awaited or given up, from which on further ones are given up at once."""

_T = TypeVar("_T")

log = structlog.get_logger()


class _Answer(NamedTuple):
    """The answer for one id: its schema, None where it is unknown, or why there is none."""

    schema_id: int
    found: Schema | Exception | None


class _Requests:
    """Asks for ids on a few daemon threads, which end when nothing is left to ask for.

    One thread uses it. Nothing here waits: a process that ends abandons what is under way.
    """

    def __init__(self, ask: Callable[[int], Schema | None]) -> None:
        self._ask = ask
        self._queue: SimpleQueue[int] = SimpleQueue()
        self._answers: SimpleQueue[_Answer] = SimpleQueue()
        self._threads: list[Thread] = []
        self.pending: set[int] = set()
        """The ids that are asked for, or will be."""

    def start(self, ids: Iterable[int]) -> None:
        """Ask for these ids, the first one first; those that are pending are not asked twice."""
        for schema_id in ids:
            if schema_id not in self.pending:
                self.pending.add(schema_id)
                self._queue.put(schema_id)
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        # A thread may be about to end; then the next call starts another one in its place.
        for _ in range(min(self._queue.qsize(), _MAX_REQUESTS - len(self._threads))):
            thread = Thread(target=self._run, daemon=True, name="schema-registry")
            self._threads.append(thread)
            thread.start()

    def answers(self) -> list[_Answer]:
        """Return the answers that came since the last call."""
        answers = list(_taken(self._answers))
        self.pending.difference_update(answer.schema_id for answer in answers)
        return answers

    def abandon(self) -> None:
        """Ask for nothing more than what is under way."""
        for schema_id in _taken(self._queue):
            self.pending.discard(schema_id)

    def _run(self) -> None:
        for schema_id in _taken(self._queue):
            found: Schema | Exception | None
            try:
                found = self._ask(schema_id)
            except Exception as error:  # noqa: BLE001  raised by the thread that takes the answers
                found = error
            self._answers.put(_Answer(schema_id, found))


class RegistrySchemas:
    """Fetches the schemas of a registry and caches a bounded number of them.

    An id the registry does not know is asked for again, within a second each time, for
    `unknown_id_seconds`: until then `fetch_schemas` raises, so that its records wait; afterwards it
    is given up, and `get` returns None, so that they are rejected. Ten minutes later it is asked
    for anew. While many ids are unknown, new ones are asked for once and not waited for: a producer
    that makes up ids must not block the records of others. Every id is asked for once at least.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        folder: SchemaFolder,
        clock: Clock,
        *,
        uniform: Uniform = random.uniform,
    ) -> None:
        self._client = RegistryClient(settings)
        self._unknown_id_retry = RetryPolicy(
            first_seconds=_UNKNOWN_ID_RETRY_SECONDS,
            max_seconds=_UNKNOWN_ID_RETRY_SECONDS,
            budget_seconds=settings.unknown_id_seconds,
        )
        self._folder = folder
        self._clock = clock
        self._uniform = uniform
        self._limiter = LogLimiter(clock)
        self._requests = _Requests(self._ask)
        self._needed: AbstractSet[int] = frozenset()
        self._schemas: dict[int, Schema] = {}
        self._awaited: dict[int, Retry] = {}
        self._given_up: dict[int, float] = {}
        """When each unknown id was given up, in this order."""

    def fetch_schemas(self, ids: AbstractSet[int]) -> bool:
        """Start to fetch the ids that are not cached; return True once none is missing.

        Call it again until then. UnavailableError on an outage, or while an unknown id is awaited.
        """
        if ids <= self._schemas.keys():
            return True
        if ids != self._needed:
            self._begin(ids)
        self._take_answers()
        missing = [schema_id for schema_id in sorted(ids) if schema_id not in self._schemas]
        self._requests.start(filter(self._is_to_be_asked, missing))
        if not self._requests.pending.isdisjoint(missing):
            return False
        awaited = [str(schema_id) for schema_id in missing if schema_id in self._awaited]
        if awaited:
            detail = f"Not known to the schema registry yet: schema {', '.join(awaited[:10])}."
            raise UnavailableError(PART, detail)
        self._needed = frozenset()
        return True

    def get(self, schema_id: int) -> Schema | None:
        """Return the fetched schema of an id, None where the registry does not know it."""
        return self._schemas.get(schema_id)

    def named(self, name: str) -> Schema:
        """Return the schema of a file: a message without a frame has no id."""
        return self._folder.named(name)

    def _begin(self, ids: AbstractSet[int]) -> None:
        """Abandon what is not needed any more; forget the oldest, and what is to be asked anew."""
        self._needed = frozenset(ids)
        self._requests.abandon()
        surplus = len(self._schemas) - _MAX_SCHEMAS
        for schema_id in [one for one in self._schemas if one not in ids][: max(0, surplus)]:
            del self._schemas[schema_id]
        now = self._clock.monotonic()
        while self._given_up:
            schema_id, since = next(iter(self._given_up.items()))
            if now - since < _UNKNOWN_ID_FORGET_SECONDS and len(self._given_up) <= _MAX_UNKNOWN:
                break
            del self._given_up[schema_id]

    def _is_to_be_asked(self, schema_id: int) -> bool:
        retry = self._awaited.get(schema_id)
        if schema_id not in _IDS:
            self._report_unknown(schema_id)
            return False
        return schema_id not in self._given_up and (retry is None or retry.due)

    def _take_answers(self) -> None:
        """Note what was answered; raise what failed, after abandoning the rest."""
        failed: Exception | None = None
        for schema_id, found in self._requests.answers():
            if isinstance(found, Exception):
                failed = failed or found
            elif found is None:
                self._note_unknown(schema_id)
            else:
                self._schemas[schema_id] = found
                self._awaited.pop(schema_id, None)
        if failed is not None:
            self._requests.abandon()
            raise failed

    def _note_unknown(self, schema_id: int) -> None:
        is_flooded = len(self._given_up) >= _MAX_GIVEN_UP or len(self._awaited) >= _MAX_AWAITED
        retry = self._awaited.get(schema_id)
        if retry is None:
            retry = Retry(self._unknown_id_retry, self._clock, uniform=self._uniform)
        retry.failed()
        if not retry.exhausted and (schema_id in self._awaited or not is_flooded):
            self._awaited[schema_id] = retry
            return
        self._awaited.pop(schema_id, None)
        self._given_up[schema_id] = self._clock.monotonic()
        self._report_unknown(schema_id)

    def _report_unknown(self, schema_id: int) -> None:
        suppressed = self._limiter.due("unknown")
        if suppressed is not None:
            log.warning(
                "The schema registry does not know a schema id; its records are dead-lettered.",
                code="schema_id_unknown",
                schema_id=schema_id,
                unknown_ids=len(self._given_up),
                suppressed=suppressed,
            )

    def _ask(self, schema_id: int) -> Schema | None:
        try:
            found = self._client.schema(schema_id)
        except UnsafeSchemaError as error:
            return UnusableSchema(Reason.UNSAFE_SCHEMA, str(error))
        if found is None:
            return None
        stored, references = found
        return prepare(stored.schema_type, stored.schema, references, self._folder)


def _taken(queue: "SimpleQueue[_T]") -> Iterator[_T]:
    """Take what is in a queue, without waiting."""
    with suppress(Empty):
        while True:
            yield queue.get_nowait()


def schema_source(settings: RegistrySettings, clock: Clock) -> SchemaSource:
    """Return the registry of the settings, or the folder where there is no URL; SettingsError."""
    folder = SchemaFolder(settings.folder or schemas_folder())
    return folder if settings.url is None else RegistrySchemas(settings, folder, clock)
