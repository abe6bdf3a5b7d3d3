"""`check`: whether the settings are right, and the world is as they expect it.

What can be said of the settings without asking anybody.

What Kafka, the registry, IMS and the inlets say; each is asked for so many seconds at most.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from processor.codec.input_reader import InputReader
from processor.codec.registry import RegistryClient, schema_source
from processor.codec.repartition_message import key_of
from processor.codec.schemas import SchemaFolder
from processor.domain.check_result import CheckResult, CheckStatus
from processor.domain.clock import Clock, SystemClock
from processor.domain.errors import RejectError, SettingsError, UnavailableError
from processor.domain.event import DecodedRecord
from processor.domain.outcome import Reason
from processor.domain.record import Record
from processor.domain.schema_files import schemas_folder
from processor.enrich.enricher import Enricher
from processor.enrich.event_schema import compile_schemas
from processor.enrich.routing import Router
from processor.kafka.cluster_check import KafkaCheck
from processor.kafka.partitioner import PARTITIONERS
from processor.settings import RegistrySettings, Settings, TelemetrySettings
from processor.settings.advice import advice
from processor.settings.load import load_settings
from processor.settings.secrets import read_secret, secret_texts
from processor.sink.address import check_addresses
from processor.sink.check import inlet_results
from processor.telemetry.logs import configure_logs


def offline_results(settings: Settings) -> Iterator[CheckResult]:
    """Yield what was found: addresses, secrets, schemas, routes, and what deserves a look."""
    for name, sentence, question in _QUESTIONS:
        yield from _asked(name, sentence, question, settings)
    yield from (CheckResult("advice", CheckStatus.WARN, sentence) for sentence in advice(settings))


def _asked(
    name: str, sentence: str, question: Callable[[Settings], None], settings: Settings
) -> Iterator[CheckResult]:
    try:
        question(settings)
    except SettingsError as error:
        yield from (CheckResult(name, CheckStatus.FAIL, problem) for problem in error.problems)
    else:
        yield CheckResult(name, CheckStatus.OK, sentence)


def _addresses(settings: Settings) -> None:
    check_addresses(settings.aep, settings.routes)


def _client_secret(settings: Settings) -> None:
    auth = settings.aep.auth
    if auth and auth.client_secret_file:
        try:
            read_secret(auth.client_secret_file)
        except SettingsError as error:
            told = [f"aep.auth.client_secret {problem}" for problem in error.problems]
            raise SettingsError(told) from error


def _record_schemas(settings: Settings) -> None:
    SchemaFolder(settings.registry.folder or schemas_folder())
    InputReader(settings, schema_source(settings.registry, SystemClock()))


def _routes(settings: Settings) -> None:
    """Compile the schemas, and refuse a route whose models one above it takes by a pattern."""
    router = Router(settings.routes, settings.event.tenant, compile_schemas(settings))
    problems = []
    for route in settings.routes:
        for model in route.models:
            taker = _taker(router, model)
            if taker not in (None, route.name):
                problems.append(f"The route {taker} takes `{model}` before {route.name} is asked.")
    if problems:
        raise SettingsError(problems)


def _taker(router: Router, model: str) -> str | None:
    try:
        return router.find(model).name
    except RejectError:
        return None  # a pattern whose own text is no name of a model


_QUESTIONS: tuple[tuple[str, str, Callable[[Settings], None]], ...] = (
    ("addresses", "Inlets and token service may be talked to.", _addresses),
    ("client secret", "It can be read.", _client_secret),
    ("record schemas", "The schemas that records are read with are in order.", _record_schemas),
    ("routes", "Every route has a schema that fits, and is reached by its models.", _routes),
)


_OK = 200


def online_results(settings: Settings, clock: Clock, seconds: float) -> Iterator[CheckResult]:
    """Yield what each part of the world says; nothing is written and no event is sent."""
    kafka = KafkaCheck(settings, clock, seconds)
    yield from kafka.results()
    yield _registry(settings.registry, seconds)
    yield from sample_results(settings, kafka.sample(), clock, kafka.layout)
    yield from inlet_results(settings.aep, settings.routes, clock, seconds)


def _registry(settings: RegistrySettings, seconds: float) -> CheckResult:
    if settings.url is None:
        return CheckResult("registry", CheckStatus.SKIP, "None is set; schemas come from files.")
    bounded = settings.model_copy(
        update={"timeout_seconds": min(seconds, settings.timeout_seconds)}
    )
    try:
        answer = RegistryClient(bounded).get("/subjects")
    except UnavailableError as error:
        return CheckResult(
            "registry", CheckStatus.FAIL, error.detail, "Look at registry.url and the network."
        )
    if answer.status != _OK or not isinstance(answer.body, list):
        sentence = f"It answers {answer.status} when asked for its subjects."
        return CheckResult(
            "registry", CheckStatus.FAIL, sentence, "Look at registry.url and the credentials."
        )
    return CheckResult("registry", CheckStatus.OK, f"It lists {len(answer.body)} subjects.")


def sample_results(
    settings: Settings,
    records: Sequence[Record],
    clock: Clock,
    layout: Mapping[str, int] = MappingProxyType({}),
) -> Iterator[CheckResult]:
    """Judge some of the newest records: whether they can be read and are keyed by the person.

    `layout` has the partition counts of their topics.
    """
    if not records:
        yield CheckResult("sample", CheckStatus.SKIP, "No record could be had to try.")
        return
    reader = InputReader(settings, schema_source(settings.registry, clock))
    try:
        reader.fetch_schemas(records)
    except UnavailableError as error:
        yield CheckResult(
            "sample", CheckStatus.SKIP, f"Its schemas are not to be had: {error.detail}"
        )
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
        self, reader: InputReader, enricher: Enricher, now_ms: int, placing: "_Placing | None"
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

    def reading(self, tried: int) -> CheckResult:
        """Say how many would be rejected, and why."""
        if not self._rejected:
            return CheckResult("sample", CheckStatus.OK, f"The newest {tried} records can be read.")
        told = ", ".join(f"{reason} {count}" for reason, count in self._rejected.most_common())
        sentence = (
            f"Of the newest {tried} records {self._rejected.total()} would be rejected: {told}."
        )
        fix = "Take one of them and run `explain` on it."
        return CheckResult("sample", CheckStatus.WARN, sentence, fix)

    def keying(self) -> CheckResult:
        """Say whether a person's records are on one partition number in all topics."""
        astray = sum(len(numbers) > 1 for numbers in self._places.values())
        both = sum(len(topics) > 1 for topics in self._topics.values())
        told = f"{len(self._places)} persons, {both} of them in more than one topic"
        if astray == 0 and self._scored and self._active and not self._scored & self._active:
            return self._apart(told)
        if astray == 0:
            return CheckResult("keys", CheckStatus.OK, f"Each person is on one partition ({told}).")
        sentence = f"Persons on more than one partition: {astray} ({told})."
        fix = "Key all input topics by the same person id, with the same partitioner."
        return CheckResult("keys", CheckStatus.WARN, sentence, fix)

    def _apart(self, told: str) -> CheckResult:
        sentence = (
            f"Nobody with a score (by {_namespaces(self._scored)}) has an experience event "
            f"(by {_namespaces(self._active)}) in the sample ({told})."
        )
        fix = (
            "Set identity.order so that a namespace which both have comes first; the key or the "
            "primary identity of the two may differ."
        )
        return CheckResult("keys", CheckStatus.WARN, sentence, fix)

    def placing(self) -> Iterator[CheckResult]:
        """Say whether scores are where what is forwarded of their persons goes."""
        if self._placing is None:
            return
        told = f"{len(self._places)} persons"
        if not self._elsewhere:
            sentence = f"Scores are where facts are forwarded to ({told})."
            yield CheckResult("repartitioning", CheckStatus.OK, sentence)
            return
        sentence = (
            f"Records elsewhere than where facts are forwarded to: {self._elsewhere} ({told})."
        )
        fix = "Key scores as join.repartition_key says, and set kafka.partitioner to theirs."
        yield CheckResult("repartitioning", CheckStatus.FAIL, sentence, fix)

    def _note_kind(self, reading: DecodedRecord, person: bytes) -> None:
        if reading.event is not None or reading.repartitioned is not None:
            self._active.add(person)
        else:
            self._scored.add(person)

    def _persons(self, reading: DecodedRecord) -> Iterator[bytes]:
        if reading.needs_repartition:
            return
        if reading.repartitioned is not None:
            yield reading.repartitioned.person
        for score in reading.scores:
            yield self._enricher.prepare(score, self._now_ms).person
        person = reading.event and self._enricher.person(reading.event.identities)
        if person:
            yield person


def _namespaces(persons: set[bytes]) -> str:
    """Name the namespaces of persons, never their ids."""
    return ", ".join(sorted({person.partition(b"|")[0].decode() for person in persons}))


_SIGNS = {
    CheckStatus.OK: Text("ok", "green"),
    CheckStatus.WARN: Text("look", "yellow"),
    CheckStatus.FAIL: Text("FAIL", "bold red"),
    CheckStatus.SKIP: Text("-", "dim"),
}
_BROKEN = 2
_QUIET = TelemetrySettings(log_level="error", log_format="console")


def check_settings(
    config: Path,
    *,
    online: bool,
    as_json: bool,
    seconds: float = 5.0,
    console: Console | None = None,
) -> int:
    """Print what was found and return 0 where all is well, 1 for problems, 2 for bad settings.

    `online` asks Kafka, the registry, IMS and the inlets too, each for so many seconds at most;
    nothing is written anywhere, and no event is sent.
    """
    shown = console or Console()
    try:
        settings = load_settings(config)
    except SettingsError as error:
        problems = [
            CheckResult(str(config), CheckStatus.FAIL, problem) for problem in error.problems
        ]
        _show(problems, shown, as_json=as_json)
        return _BROKEN
    results = [CheckResult(str(config), CheckStatus.OK, "The settings can be read and agree.")]
    results += offline_results(settings)
    if online and exit_code(results) == 0:
        clock = SystemClock()
        configure_logs(_QUIET, clock, secrets=secret_texts(settings))
        results += online_results(settings, clock, seconds)
    _show(results, shown, as_json=as_json)
    return exit_code(results)


def exit_code(results: Iterable[CheckResult]) -> int:
    """Return 1 where anything failed, else 0."""
    return int(any(result.mark is CheckStatus.FAIL for result in results))


def _show(results: Iterable[CheckResult], console: Console, *, as_json: bool) -> None:
    if as_json:
        rows = [result._asdict() for result in results]
        console.out(msgspec.json.encode(rows).decode(), highlight=False)
        return
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(style="bold", overflow="fold")
    table.add_column(overflow="fold")
    for result in results:
        told = Text(result.sentence)
        if result.fix and result.mark is not CheckStatus.OK:
            told.append(f"\n{result.fix}", "dim")
        table.add_row(_SIGNS[result.mark], Text(result.name), told)
    console.print(table)
