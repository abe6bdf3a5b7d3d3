"""Assembly: the one place that constructs the house from its settings."""

from typing import NamedTuple

from processor.batch import Doors
from processor.clock import Clock
from processor.codec.reader import Reader
from processor.codec.sources import schema_source
from processor.dead_letter.writer import DeadLetters
from processor.enrich.enricher import Enricher
from processor.enrich.validation import compile_schemas
from processor.observer import Observer
from processor.pipeline import Pipeline
from processor.ports import Remembers
from processor.settings import Settings
from processor.sink.sink import Sink
from processor.source.source import Source
from processor.state.off import MemoryOff
from processor.state.opening import open_memory
from processor.stream import Stream
from processor.telemetry.health import Health
from processor.telemetry.metrics import Metrics

__all__ = ["House", "assemble", "assemble_pipeline"]


class House(NamedTuple):
    """What runs, and what is to be started before and closed after it."""

    stream: Stream
    doors: Doors
    sink: Sink

    def run(self) -> bool:
        """Run until stopped, then close; returns whether all that was taken in is settled."""
        self.sink.start()
        return self.stream.run()


def assemble(settings: Settings, metrics: Metrics, health: Health, clock: Clock) -> House:
    """Build the house.

    Raises SettingsError for what only building shows, such as a bad schema, and UnavailableError
    where the broker, or the disk, does not answer now.
    """
    pipeline = assemble_pipeline(settings, clock)
    sink = Sink(settings.aep, settings.routes, metrics, clock)
    doors = Doors(
        source=Source(settings.kafka, metrics, clock, join=settings.join),
        sink=sink,
        dead_letters=DeadLetters(settings, metrics, clock),
        memory=_memory(settings, metrics, clock),
    )
    observer = Observer(metrics, health, clock)
    stream = Stream(doors, pipeline, settings=settings, observer=observer, clock=clock)
    return House(stream, doors, sink)


def assemble_pipeline(settings: Settings, clock: Clock) -> Pipeline:
    """Build the pure middle alone: what a command needs to explain or replay a record."""
    reader = Reader(settings, schema_source(settings.registry, clock))
    enricher = Enricher(settings, compile_schemas(settings))
    return Pipeline(reader, enricher, settings.join)


def _memory(settings: Settings, metrics: Metrics, clock: Clock) -> Remembers:
    if not settings.join.enabled:
        return MemoryOff()
    return open_memory(settings.join, settings.kafka, metrics, clock)
