"""Part of `check --online`: whether the newest records can be read and are keyed by person."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from processor.cli.command import await_schemas
from processor.codec.input_reader import InputReader
from processor.codec.registry import schema_source
from processor.codec.repartition_message import key_of
from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import Clock
from processor.domain.errors import RejectError, UnavailableError
from processor.domain.event import DecodedRecord
from processor.domain.outcome import Reason
from processor.domain.record import Record
from processor.enrich.enricher import Enricher
from processor.enrich.event_schema import compile_schemas
from processor.kafka.partitioner import PARTITIONERS
from processor.settings import Settings


def sample_results(
    settings: Settings,
    records: Sequence[Record],
    clock: Clock,
    layout: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[CheckResult]:
    """Check some of the newest records; `layout` has the partition counts of their topics."""
    if not records:
        yield CheckResult("sample", CheckStatus.SKIP, "There is no record to read.")
        return
    reader = InputReader(settings, schema_source(settings.registry, clock))
    try:
        await_schemas(reader, records, clock)
    except UnavailableError as error:
        sentence = f"The schemas of the records are not available: {error.detail}"
        yield CheckResult("sample", CheckStatus.SKIP, sentence)
        return
    enricher = Enricher(settings, compile_schemas(settings))
    sample = _Sample(reader, enricher, clock.now_ms(), _Placement.of(settings, layout))
    for record in records:
        sample.add(record)
    yield sample.rejects(len(records))
    yield sample.keys()
    yield from sample.repartitioning()


class _Placement(NamedTuple):
    """How repartitioned facts are placed, and so the scores of the same person must be."""

    partition_of: Callable[[bytes, int], int]
    namespaced: bool
    layout: Mapping[str, int]

    @classmethod
    def of(cls, settings: Settings, layout: Mapping[str, int]) -> "_Placement | None":
        """Return the placement; None if there is no repartition topic."""
        if settings.join.repartition_topic is None:
            return None
        namespaced = settings.join.repartition_key == "namespaced"
        return cls(PARTITIONERS[settings.kafka.partitioner], namespaced, layout)

    def matches(self, record: Record, person: bytes) -> bool:
        """Return whether a record is on the partition of its person's facts."""
        key, count = key_of(person, namespaced=self.namespaced), self.layout.get(record.topic)
        return count is None or self.partition_of(key, count) == record.partition


class _Sample:
    """Reads records as the processor does; counts rejects, and the partitions of each person."""

    def __init__(
        self, reader: InputReader, enricher: Enricher, now_ms: int, placement: _Placement | None
    ) -> None:
        self._reader = reader
        self._enricher = enricher
        self._now_ms = now_ms
        self._placement = placement
        self._misplaced = 0
        self._rejected: Counter[Reason] = Counter()
        self._partitions: defaultdict[bytes, set[int]] = defaultdict(set)
        self._topics: defaultdict[bytes, set[str]] = defaultdict(set)
        self._with_score: set[bytes] = set()
        self._with_event: set[bytes] = set()

    def add(self, record: Record) -> None:
        """Read one record."""
        try:
            decoded = self._reader.read(record)
            self._rejected.update(reject.reason for reject in decoded.rejects)
            is_event = decoded.event is not None or decoded.repartitioned is not None
            for person in self._persons(decoded):
                (self._with_event if is_event else self._with_score).add(person)
                self._partitions[person].add(record.partition)
                self._topics[person].add(record.topic)
                if self._placement is not None:
                    self._misplaced += not self._placement.matches(record, person)
        except RejectError as error:
            self._rejected[error.reject.reason] += 1

    def rejects(self, count: int) -> CheckResult:
        """Return how many of `count` records would be rejected, and why."""
        if not self._rejected:
            return CheckResult("sample", CheckStatus.OK, f"The newest {count} records can be read.")
        reasons = ", ".join(f"{reason} {number}" for reason, number in self._rejected.most_common())
        sentence = (
            f"Of the newest {count} records {self._rejected.total()} would be rejected: {reasons}."
        )
        return CheckResult("sample", CheckStatus.WARN, sentence, "Run `explain` on one of them.")

    def keys(self) -> CheckResult:
        """Return whether the records of a person have one partition number in all topics."""
        split = sum(len(numbers) > 1 for numbers in self._partitions.values())
        both = sum(len(topics) > 1 for topics in self._topics.values())
        persons = f"{len(self._partitions)} persons, {both} of them in more than one topic"
        if split:
            sentence = f"Persons on more than one partition: {split} ({persons})."
            fix = "Key all input topics by the same person id, with the same partitioner."
            return CheckResult("keys", CheckStatus.WARN, sentence, fix)
        if self._with_score and self._with_event and not self._with_score & self._with_event:
            sentence = (
                f"No person with a score (by {_namespaces(self._with_score)}) has an experience "
                f"event (by {_namespaces(self._with_event)}) in the sample ({persons})."
            )
            fix = (
                "Set identity.order so that a namespace that both have is first; the key or the "
                "primary identity of the two may differ."
            )
            return CheckResult("keys", CheckStatus.WARN, sentence, fix)
        return CheckResult("keys", CheckStatus.OK, f"Each person is on one partition ({persons}).")

    def repartitioning(self) -> Iterator[CheckResult]:
        """Yield whether scores are on the partitions of the repartitioned facts."""
        if self._placement is None:
            return
        persons = f"{len(self._partitions)} persons"
        if not self._misplaced:
            sentence = f"Scores are on the partitions of repartitioned facts ({persons})."
            yield CheckResult("repartitioning", CheckStatus.OK, sentence)
            return
        sentence = (
            f"Records not on the partition of repartitioned facts: {self._misplaced} ({persons})."
        )
        fix = "Key scores as join.repartition_key says, and set kafka.partitioner to theirs."
        yield CheckResult("repartitioning", CheckStatus.FAIL, sentence, fix)

    def _persons(self, decoded: DecodedRecord) -> Iterator[bytes]:
        if decoded.needs_repartition:
            return
        if decoded.repartitioned is not None:
            yield decoded.repartitioned.person
        for score in decoded.scores:
            yield self._enricher.prepare(score, self._now_ms).person
        person = decoded.event and self._enricher.person(decoded.event.identities)
        if person:
            yield person


def _namespaces(persons: set[bytes]) -> str:
    """Return the namespaces of persons, never their ids."""
    return ", ".join(sorted({person.partition(b"|")[0].decode() for person in persons}))
