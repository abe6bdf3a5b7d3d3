"""A steady stream at a given rate: what it costs, how it is packed, how late events arrive.

The score date of each record is the moment it is written to Kafka, so that the sink can tell from
an event's timestamp how long it was on its way.
"""

import os
import signal
import subprocess
from contextlib import suppress
from threading import Event, Thread
from typing import NamedTuple

from confluent_kafka import Producer

from processor.domain.clock import SystemClock
from tests.bench import load, meter
from tests.bench.environment import Sink
from tests.bench.systems import System, Task
from tests.support.waiting import until

_TICK_SECONDS = 0.01
_WARM_SECONDS = 4


class Pace(NamedTuple):
    """So many events a second for so many seconds."""

    per_second: int
    seconds: float = 15


class Paced(NamedTuple):
    """What was seen once it was warm. Delays are seconds from Kafka to the sink."""

    name: str
    per_second: float
    cores: float
    requests_per_10k: float
    p50: float
    p99: float


def run(system: System, task: Task, sink: Sink, pace: Pace) -> Paced:
    """Run a system against a steady stream and kill it; the sink must be a timed one."""
    task.folder.mkdir(parents=True, exist_ok=True)
    arguments, env = system.command(task)
    with (task.folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  commands of our own making
            arguments, env={**os.environ, **env}, stdout=log, stderr=log, start_new_session=True
        )
    over = Event()
    stream = Thread(target=_stream, args=(task, pace, over), daemon=True)
    try:
        stream.start()
        until(lambda: sink.seen()["events"] > 0, seconds=60, what="the first event")
        over.wait(_WARM_SECONDS)
        return _measured(system.name, process.pid, sink, pace)
    finally:
        over.set()
        stream.join(30)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own session: it and its children only
        process.wait(10)


def _measured(name: str, pid: int, sink: Sink, pace: Pace) -> Paced:
    clock, pause = SystemClock(), Event()
    sink.reset()
    used, begun = meter.read(pid).cpu_seconds, clock.monotonic()
    pause.wait(pace.seconds)
    cpu, elapsed = meter.read(pid).cpu_seconds - used, clock.monotonic() - begun
    seen = sink.seen()
    events, delays = seen["events"], seen["delays"]
    return Paced(
        name,
        events / elapsed,
        cpu / elapsed,
        seen["requests"] / events * 10_000,
        delays[len(delays) // 2],
        delays[int(len(delays) * 0.99)],
    )


def _stream(task: Task, pace: Pace, over: Event) -> None:
    """Write records at the pace until it is over."""
    clock = SystemClock()
    producer = Producer(
        {
            "bootstrap.servers": task.bootstrap,
            "partitioner": "murmur2_random",
            "linger.ms": 5,
            "compression.type": "lz4",
            "log_level": 0,
        }
    )
    begun, sent = clock.monotonic(), 0
    while not over.wait(_TICK_SECONDS):
        due = int((clock.monotonic() - begun) * pace.per_second)
        for row in load.fresh(task.scores, range(sent, due), clock.now_ms()):
            producer.produce(row.topic, load.encode_json(row.content), row.key)
        sent = due
        producer.poll(0)
    producer.flush(10)
