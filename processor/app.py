"""Assembly: the one place that constructs a house from its settings.

Three houses share the corridor: the processor, its dry run, and the replay of dead letters. They
differ in their doors alone.
"""

from collections.abc import Callable
from importlib.metadata import version
from typing import NamedTuple, TextIO

from processor.batch import Doors
from processor.clock import Clock, Deadline
from processor.codec.reader import Reader
from processor.codec.sources import schema_source
from processor.dead_letter.writer import DeadLetters
from processor.enrich.enricher import Enricher
from processor.enrich.validation import compile_schemas
from processor.errors import StopError
from processor.forward.forward import Forward
from processor.forward.off import ForwardOff
from processor.lines import LineSink
from processor.observer import Observer
from processor.pipeline import Pipeline
from processor.ports import Buries, Forwards, Reads, Remembers, Supplies
from processor.settings import InputSettings, Settings
from processor.sink.sink import Sink
from processor.source.client import librdkafka_version
from processor.source.source import Source
from processor.state.off import MemoryOff
from processor.state.opening import open_memory
from processor.state.transient import TransientMemory
from processor.stream import Stream
from processor.telemetry.health import Health
from processor.telemetry.metrics import Metrics

__all__ = [
    "House",
    "Watch",
    "dry_house",
    "enricher_of",
    "live_house",
    "pipeline_of",
    "reader_of",
    "replay_house",
]


class Watch(NamedTuple):
    """What watches over a house: one for a process."""

    metrics: Metrics
    health: Health
    clock: Clock

    @classmethod
    def over(cls, settings: Settings, clock: Clock) -> "Watch":
        """Return a watch with every series of these settings begun at 0."""
        inputs = [each for each in (settings.kafka.scores, settings.kafka.events) if each]
        named = [topic for each in inputs for topic in each.topics if not topic.startswith("^")]
        topics = [*named, *filter(None, [settings.join.repartition_topic])]
        metrics = Metrics()
        metrics.prepare(settings.routes, topics)
        metrics.about(version("customer-ai-events"), librdkafka_version())
        return cls(metrics, Health(metrics, clock, settings.telemetry.live_seconds), clock)


class House(NamedTuple):
    """The loop and its doors."""

    stream: Stream
    doors: Doors
    observer: Observer
    clock: Clock
    seconds: float

    def run(self, until: Callable[[], bool] = bool) -> bool:
        """Run until stopped, close every door in time; returns whether all taken is settled.

        Raises StopError, likewise in order, and whatever is ours to answer for, at once.
        """
        self.doors.sink.start()
        try:
            settled = self.stream.run(until)
        except StopError:
            self._close()
            raise
        return self._close() and settled

    def _close(self) -> bool:
        """Close the doors but the first; returns whether no letter is left unwritten."""
        deadline = Deadline(self.clock, self.seconds)
        with self.observer.stopping("sink"):
            self.doors.sink.close(0.0)
        self.stream.abandon()
        with self.observer.stopping("state"):
            self.doors.memory.close(deadline.left())
        with self.observer.stopping("forward"):
            self.doors.forward.close(deadline.left())
        with self.observer.stopping("dead_letters"):
            return self.doors.dead_letters.close(deadline.left())


def live_house(settings: Settings, watch: Watch) -> House:
    """Build the processor.

    Raises SettingsError for what only building shows, such as a bad schema, and UnavailableError
    where the broker, or the disk, does not answer now.
    """
    metrics, _, clock = watch
    pipeline = pipeline_of(settings, reader_of(settings, clock))
    doors = Doors(
        source=Source(settings.kafka, metrics, clock, join=settings.join),
        sink=Sink(settings.aep, settings.routes, metrics, clock),
        dead_letters=DeadLetters(settings, metrics, clock),
        memory=_memory(settings, watch),
        forward=_forward(settings, watch),
    )
    return _house(settings, doors, pipeline, watch)


def dry_house(settings: Settings, watch: Watch, lines: TextIO, dead_letters: Buries) -> House:
    """Build a processor that writes events to `lines` and leaves no trace anywhere else.

    It has a consumer group of its own that never commits, and remembers in memory alone. Where
    experience events are forwarded, it reads what the processor has forwarded so far, not them.
    """
    metrics, _, clock = watch
    group = f"{settings.kafka.group_id}-dry-run"
    kafka = settings.kafka.model_copy(update={"group_id": group, "group_instance_id": None})
    if settings.join.repartition_topic is not None:
        facts = InputSettings(topics=[settings.join.repartition_topic])
        kafka = kafka.model_copy(update={"events": facts})
    join = settings.join.model_copy(update={"repartition_topic": None})
    memory = TransientMemory() if join.enabled else MemoryOff()
    doors = Doors(
        source=Source(kafka, metrics, clock, join=join, committing=False),
        sink=LineSink(lines),
        dead_letters=dead_letters,
        memory=memory,
        forward=ForwardOff(),
    )
    pipeline = pipeline_of(settings, reader_of(settings, clock))
    return _house(settings, doors, pipeline, watch)


def replay_house(
    settings: Settings, watch: Watch, reader: Reads, *, letters: Supplies, again: Buries
) -> House:
    """Build a processor that takes letters for its input; give it a store folder of its own.

    State comes from the changelog and goes back into it: the owners of the partitions see what was
    replayed, and what they have delivered before is merged here.
    """
    doors = Doors(
        source=letters,
        sink=Sink(settings.aep, settings.routes, watch.metrics, watch.clock),
        dead_letters=again,
        memory=_memory(settings, watch),
        forward=_forward(settings, watch),
    )
    return _house(settings, doors, pipeline_of(settings, reader), watch)


def reader_of(settings: Settings, clock: Clock) -> Reader:
    """Build what reads records."""
    return Reader(settings, schema_source(settings.registry, clock))


def enricher_of(settings: Settings) -> Enricher:
    """Build what turns scores into events; SettingsError where a route's schema is no good."""
    return Enricher(settings, compile_schemas(settings))


def pipeline_of(settings: Settings, reader: Reads) -> Pipeline:
    """Build the pure middle."""
    return Pipeline(reader, enricher_of(settings), settings.join)


def _house(settings: Settings, doors: Doors, pipeline: Pipeline, watch: Watch) -> House:
    observer = Observer(*watch)
    stream = Stream(doors, pipeline, settings=settings, observer=observer, clock=watch.clock)
    return House(stream, doors, observer, watch.clock, settings.stop.close_seconds / 2)


def _forward(settings: Settings, watch: Watch) -> Forwards:
    topic = settings.join.repartition_topic
    if topic is None:
        return ForwardOff()
    return Forward(settings.kafka, topic, watch.metrics, watch.clock)


def _memory(settings: Settings, watch: Watch) -> Remembers:
    if not settings.join.enabled:
        return MemoryOff()
    return open_memory(settings.join, settings.kafka, watch.metrics, watch.clock)
