"""What Kafka, the registry, IMS and the inlets say; each is asked for so many seconds at most."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from processor.clock import Clock
from processor.codec.client import RegistryClient
from processor.codec.reader import Reader
from processor.codec.sources import schema_source
from processor.enrich.enricher import Enricher
from processor.enrich.validation import compile_schemas
from processor.errors import RejectError, UnavailableError
from processor.event import Reading
from processor.finding import Finding, Mark
from processor.forwarded import key_of
from processor.outcome import Reason
from processor.record import Record
from processor.settings import RegistrySettings, Settings
from processor.sink.probe import inlet_findings
from processor.source.partitioner import PARTITIONERS
from processor.source.probe import KafkaProbe

__all__ = ["online_findings", "sample_findings"]

_OK = 200


def online_findings(settings: Settings, clock: Clock, seconds: float) -> Iterator[Finding]:
    """Yield what each part of the world says; nothing is written and no event is sent."""
    kafka = KafkaProbe(settings, clock, seconds)
    yield from kafka.findings()
    yield _registry(settings.registry, seconds)
    yield from sample_findings(settings, kafka.sample(), clock, kafka.layout)
    yield from inlet_findings(settings.aep, settings.routes, clock, seconds)


def _registry(settings: RegistrySettings, seconds: float) -> Finding:
    if settings.url is None:
        return Finding("registry", Mark.SKIP, "None is set; schemas come from files.")
    bounded = settings.model_copy(
        update={"timeout_seconds": min(seconds, settings.timeout_seconds)}
    )
    try:
        answer = RegistryClient(bounded).get("/subjects")
    except UnavailableError as error:
        return Finding("registry", Mark.FAIL, error.detail, "Look at registry.url and the network.")
    if answer.status != _OK or not isinstance(answer.body, list):
        sentence = f"It answers {answer.status} when asked for its subjects."
        return Finding("registry", Mark.FAIL, sentence, "Look at registry.url and the credentials.")
    return Finding("registry", Mark.OK, f"It lists {len(answer.body)} subjects.")


def sample_findings(
    settings: Settings,
    records: Sequence[Record],
    clock: Clock,
    layout: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[Finding]:
    """Judge some of the newest records: whether they can be read and are keyed by the person.

    `layout` has the partition counts of their topics.
    """
    if not records:
        yield Finding("sample", Mark.SKIP, "No record could be had to try.")
        return
    reader = Reader(settings, schema_source(settings.registry, clock))
    try:
        reader.learn(records)
    except UnavailableError as error:
        yield Finding("sample", Mark.SKIP, f"Its schemas are not to be had: {error.detail}")
        return
    enricher = Enricher(settings, compile_schemas(settings))
    trial = _Trial(reader, enricher, clock.now_ms(), _Placing.of(settings, layout))
    for record in records:
        trial.take(record)
    yield trial.reading(len(records))
    yield trial.keying()
    yield from trial.placing()


class _Placing(NamedTuple):
    """Where records of a person belong when facts are forwarded."""

    place: Callable[[bytes, int], int]
    namespaced: bool
    layout: Mapping[str, int]

    @classmethod
    def of(cls, settings: Settings, layout: Mapping[str, int]) -> "_Placing | None":
        """Return how messages are placed; None where nothing is forwarded."""
        if settings.join.repartition_topic is None:
            return None
        namespaced = settings.join.repartition_key == "namespaced"
        return cls(PARTITIONERS[settings.kafka.partitioner], namespaced, layout)

    def right(self, record: Record, person: bytes) -> bool:
        """Return whether a record is on the partition where its person's facts go."""
        key, count = key_of(person, namespaced=self.namespaced), self.layout.get(record.topic)
        return count is None or self.place(key, count) == record.partition


class _Trial:
    """Reads records as the processor would, and notes what it would reject and who is where."""

    def __init__(
        self, reader: Reader, enricher: Enricher, now_ms: int, placing: "_Placing | None"
    ) -> None:
        self._placing = placing
        self._elsewhere = 0
        self._reader = reader
        self._enricher = enricher
        self._now_ms = now_ms
        self._rejected: Counter[Reason] = Counter()
        self._places: defaultdict[bytes, set[int]] = defaultdict(set)
        self._topics: defaultdict[bytes, set[str]] = defaultdict(set)
        self._scored: set[bytes] = set()
        self._active: set[bytes] = set()

    def take(self, record: Record) -> None:
        """Try one record."""
        try:
            reading = self._reader.read(record)
            self._rejected.update(reject.reason for reject in reading.rejects)
            for person in self._persons(reading):
                self._note_kind(reading, person)
                self._places[person].add(record.partition)
                self._topics[person].add(record.topic)
                if self._placing is not None:
                    self._elsewhere += not self._placing.right(record, person)
        except RejectError as error:
            self._rejected[error.reject.reason] += 1

    def reading(self, tried: int) -> Finding:
        """Say how many would be rejected, and why."""
        if not self._rejected:
            return Finding("sample", Mark.OK, f"The newest {tried} records can be read.")
        told = ", ".join(f"{reason} {count}" for reason, count in self._rejected.most_common())
        sentence = (
            f"Of the newest {tried} records {self._rejected.total()} would be rejected: {told}."
        )
        fix = "Take one of them and run `explain` on it."
        return Finding("sample", Mark.WARN, sentence, fix)

    def keying(self) -> Finding:
        """Say whether a person's records are on one partition number in all topics."""
        astray = sum(len(numbers) > 1 for numbers in self._places.values())
        both = sum(len(topics) > 1 for topics in self._topics.values())
        told = f"{len(self._places)} persons, {both} of them in more than one topic"
        if astray == 0 and self._scored and self._active and not self._scored & self._active:
            return self._apart(told)
        if astray == 0:
            return Finding("keys", Mark.OK, f"Each person is on one partition ({told}).")
        sentence = f"Persons on more than one partition: {astray} ({told})."
        fix = "Key all input topics by the same person id, with the same partitioner."
        return Finding("keys", Mark.WARN, sentence, fix)

    def _apart(self, told: str) -> Finding:
        sentence = (
            f"Nobody with a score (by {_namespaces(self._scored)}) has an experience event "
            f"(by {_namespaces(self._active)}) in the sample ({told})."
        )
        fix = (
            "Set identity.order so that a namespace which both have comes first; the key or the "
            "primary identity of the two may differ."
        )
        return Finding("keys", Mark.WARN, sentence, fix)

    def placing(self) -> Iterator[Finding]:
        """Say whether scores are where what is forwarded of their persons goes."""
        if self._placing is None:
            return
        told = f"{len(self._places)} persons"
        if not self._elsewhere:
            sentence = f"Scores are where facts are forwarded to ({told})."
            yield Finding("repartitioning", Mark.OK, sentence)
            return
        sentence = (
            f"Records elsewhere than where facts are forwarded to: {self._elsewhere} ({told})."
        )
        fix = "Key scores as join.repartition_key says, and set kafka.partitioner to theirs."
        yield Finding("repartitioning", Mark.FAIL, sentence, fix)

    def _note_kind(self, reading: Reading, person: bytes) -> None:
        if reading.event is not None or reading.forwarded is not None:
            self._active.add(person)
        else:
            self._scored.add(person)

    def _persons(self, reading: Reading) -> Iterator[bytes]:
        if reading.foreign:
            return
        if reading.forwarded is not None:
            yield reading.forwarded.person
        for score in reading.scores:
            yield self._enricher.prepare(score, self._now_ms).person
        person = reading.event and self._enricher.person(reading.event.identities)
        if person:
            yield person


def _namespaces(persons: set[bytes]) -> str:
    """Name the namespaces of persons, never their ids."""
    return ", ".join(sorted({person.partition(b"|")[0].decode() for person in persons}))
