"""Construction from the settings: the processor, its dry run, and the replay of dead letters.

The three run the same stream, and its components are constructed here only. `open_state_store`
constructs the parts of the state store; the commands `check`, `dlq`, `state` and `forget` open the
parts that they use.
"""

from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from typing import NamedTuple, Protocol, TextIO, TypeVar

from processor.codec.input_reader import InputReader
from processor.codec.registry import schema_source
from processor.components import (
    Components,
    DeadLetterSink,
    RecordReader,
    RepartitionSink,
    Source,
    StateStore,
)
from processor.control.store import open_control_store
from processor.dead_letter.sink import KafkaDeadLetterSink, dead_letter_topic
from processor.domain.clock import Clock, Deadline
from processor.domain.control import InMemoryControlStore
from processor.enrich.enricher import Enricher
from processor.enrich.event_schema import compile_schemas
from processor.kafka.admin import KafkaAdmin, TopicLayout, librdkafka_version
from processor.kafka.internal_topic import OwnTopicWatch
from processor.observer import TelemetryObserver
from processor.planner import Planner
from processor.repartition.sink import KafkaRepartitionSink, NoRepartitionSink
from processor.replay import InMemoryStateStore, JsonLinesSink, NoStateStore
from processor.settings import InputSettings, Settings
from processor.sink.sink import InletSink
from processor.source.source import KafkaSource
from processor.state.partitions import repartition_topic
from processor.state.state_store import open_state_store
from processor.stream import Stream
from processor.telemetry.health import Health
from processor.telemetry.metrics import Metrics


class _Closable(Protocol):
    def close(self, seconds: float) -> object: ...


_P = TypeVar("_P", bound=_Closable)


class Telemetry(NamedTuple):
    """Metrics, health and clock; one for a process."""

    metrics: Metrics
    health: Health
    clock: Clock

    @classmethod
    def create(cls, settings: Settings, clock: Clock) -> "Telemetry":
        """Return a telemetry in which every series that these settings imply starts at 0."""
        inputs = [each for each in (settings.kafka.scores, settings.kafka.events) if each]
        names = [topic for each in inputs for topic in each.topics if not topic.startswith("^")]
        topics = [*names, *filter(None, [settings.join.repartition_topic])]
        metrics = Metrics()
        metrics.prepare(settings.routes, topics)
        metrics.describe_process(version("customer-ai-events"), librdkafka_version())
        return cls(metrics, Health(metrics, clock, settings.telemetry.live_seconds), clock)


class Processor(NamedTuple):
    """A stream and its components; `close_seconds` is for closing all but source and sink."""

    stream: Stream
    components: Components
    observer: TelemetryObserver
    clock: Clock
    close_seconds: float

    def run(self, until: Callable[[], bool] = bool) -> bool:
        """Run until stopped and close everything; returns whether all consumed records are settled.

        Raises any fault of the program after listing the events that may be in a dataset twice:
        nothing more is committed then.
        """
        try:
            self.components.sink.start()
            settled = self.stream.run(until)
        except BaseException:
            self._close()
            raise
        return self._close() and settled

    def _close(self) -> bool:
        """Close what the stream has not closed, each part also where another one fails.

        Returns whether every dead letter is written.
        """
        _, sink, dead_letters, state_store, repartition, control = self.components
        deadline = Deadline(self.clock, self.close_seconds)
        written: list[bool] = []
        with ExitStack() as steps:  # they run from the last one up
            # After a fault of the program the source is open still.
            steps.callback(self.components.source.leave, self.close_seconds)
            for phase, close in (
                ("dead_letters", lambda: written.append(dead_letters.close(deadline.left()))),
                ("control", lambda: control.close(deadline.left())),
                ("repartition", lambda: repartition.close(deadline.left())),
                ("state", lambda: state_store.close(deadline.left())),
            ):
                steps.callback(self._close_part, phase, close)
            steps.callback(self.stream.abandon)
            steps.callback(self._close_part, "sink", lambda: sink.close(0.0))
        return all(written)

    def _close_part(self, phase: str, close: Callable[[], object]) -> None:
        with self.observer.stop_phase(phase):
            close()


def build_processor(settings: Settings, telemetry: Telemetry) -> Processor:
    """Build the processor.

    Raises SettingsError where only the construction shows a fault, such as a bad schema, and
    UnavailableError where the broker or the disk is unavailable now.
    """
    metrics, _, clock = telemetry
    planner = build_planner(settings, build_reader(settings, clock))
    layout = TopicLayout(KafkaAdmin(settings.kafka, "topics", clock), clock)
    with ExitStack() as built:  # closes what is there already where a later part cannot be built

        def closed_on_error(part: _P) -> _P:
            built.callback(part.close, 0.0)
            return part

        control = closed_on_error(open_control_store(settings, metrics, clock))
        source = KafkaSource(
            settings.kafka,
            metrics,
            clock,
            join=settings.join,
            control=control,
            written=[settings.dead_letter.topic, settings.kafka.control_topic],
        )
        built.callback(source.leave, 0.0)
        components = Components(
            source=source,
            sink=closed_on_error(InletSink(settings.aep, settings.routes, metrics, clock)),
            dead_letters=closed_on_error(_dead_letter_sink(settings, telemetry, layout)),
            state_store=closed_on_error(_state_store(settings, telemetry)),
            repartition=closed_on_error(_repartition_sink(settings, telemetry, layout)),
            control=control,
        )
        processor = _build(settings, components, planner, telemetry)
        built.pop_all()
    return processor


def build_dry_run(
    settings: Settings, telemetry: Telemetry, lines: TextIO, dead_letters: DeadLetterSink
) -> Processor:
    """Build a processor that writes events to `lines` and changes nothing anywhere else.

    It has a consumer group of its own that never commits, and keeps state in memory. Where
    experience events are repartitioned, it reads the repartition topic instead of them.
    """
    metrics, _, clock = telemetry
    group = f"{settings.kafka.group_id}-dry-run"
    own = {"group_id": group, "group_instance_id": None, "on_gap": "continue"}
    kafka = settings.kafka.model_copy(update=own)
    if settings.join.repartition_topic is not None:
        facts = InputSettings(topics=[settings.join.repartition_topic])
        kafka = kafka.model_copy(update={"events": facts})
    join = settings.join.model_copy(update={"repartition_topic": None})
    state_store = InMemoryStateStore() if join.enabled else NoStateStore()
    components = Components(
        source=KafkaSource(kafka, metrics, clock, join=join, committing=False),
        sink=JsonLinesSink(lines),
        dead_letters=dead_letters,
        state_store=state_store,
        repartition=NoRepartitionSink(),
        control=InMemoryControlStore(),
    )
    planner = build_planner(settings, build_reader(settings, clock))
    return _build(settings, components, planner, telemetry)


def build_replay(
    settings: Settings,
    telemetry: Telemetry,
    reader: RecordReader,
    *,
    dead_letters: Source,
    rejects: DeadLetterSink,
) -> Processor:
    """Build a processor whose input is dead letters; its settings need a store folder of its own.

    State is restored from the changelog and written to it: the owners of the partitions see the
    replayed scores, and scores that they delivered before are duplicates here.
    """
    components = Components(
        source=dead_letters,
        sink=InletSink(settings.aep, settings.routes, telemetry.metrics, telemetry.clock),
        dead_letters=rejects,
        state_store=_state_store(settings, telemetry),
        repartition=_repartition_sink(settings, telemetry, None),
        control=InMemoryControlStore(),
    )
    return _build(settings, components, build_planner(settings, reader), telemetry)


def build_reader(settings: Settings, clock: Clock) -> InputReader:
    """Build the reader of records."""
    return InputReader(settings, schema_source(settings.registry, clock))


def build_enricher(settings: Settings) -> Enricher:
    """Build the enricher; SettingsError where a route's schema cannot be used."""
    return Enricher(settings, compile_schemas(settings))


def build_planner(settings: Settings, reader: RecordReader) -> Planner:
    """Build the pure planner."""
    return Planner(reader, build_enricher(settings), settings.join)


def _build(
    settings: Settings, components: Components, planner: Planner, telemetry: Telemetry
) -> Processor:
    observer = TelemetryObserver(*telemetry)
    stream = Stream(
        components, planner, settings=settings, observer=observer, clock=telemetry.clock
    )
    return Processor(stream, components, observer, telemetry.clock, settings.stop.close_seconds / 2)


def _dead_letter_sink(
    settings: Settings, telemetry: Telemetry, layout: TopicLayout
) -> KafkaDeadLetterSink:
    metrics, _, clock = telemetry
    watch = OwnTopicWatch(layout, dead_letter_topic(settings.dead_letter), clock)
    return KafkaDeadLetterSink(settings, metrics, clock, watch)


def _repartition_sink(
    settings: Settings, telemetry: Telemetry, layout: TopicLayout | None
) -> RepartitionSink:
    """Return the sink; its topic is watched where there is a layout."""
    topic, (metrics, _, clock) = settings.join.repartition_topic, telemetry
    if topic is None:
        return NoRepartitionSink()
    watch = None
    if layout is not None:
        watch = OwnTopicWatch(layout, repartition_topic(settings.join, topic), clock)
    return KafkaRepartitionSink(settings.kafka, topic, metrics, clock, watch)


def _state_store(settings: Settings, telemetry: Telemetry) -> StateStore:
    if not settings.join.enabled:
        return NoStateStore()
    return open_state_store(settings.join, settings.kafka, telemetry.metrics, telemetry.clock)
