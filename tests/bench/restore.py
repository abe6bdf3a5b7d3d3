"""`python -m tests.bench.restore`: a million persons back from the changelog of a real Kafka.

Each person has eight facts and two delivered scores. Printed: how long a new owner takes until the
partitions are ready, how long one that kept its disk takes, bytes per person, and memory.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from confluent_kafka import Producer

from processor.domain.clock import Clock, SystemClock
from processor.domain.event import Fact
from processor.settings import JoinSettings, KafkaSettings
from processor.state.format.person import encode
from processor.state.format.score_history import DeliveredScore
from processor.state.person import Person, PersonLimits, with_fact, with_score
from processor.state.state_store import ChangelogStateStore, open_state_store
from processor.telemetry.metrics import Metrics
from tests.bench import meter
from tests.support.kafka_cluster import RealKafka

_PARTITIONS = 8
_SCORES, _CHANGELOG = "customer-ai-scores", "customer-ai-scores-state"
_DAY_MS = 86_400_000
_MODELS = ("Upgrade", "Churn")


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--persons", type=int, default=1_000_000)
    persons = parser.parse_args().persons
    clock = SystemClock()
    with tempfile.TemporaryDirectory(prefix="restore-") as name:
        folder = Path(name)
        kafka = RealKafka(folder / "kafka", heap_mb=1024)
        try:
            kafka.start()
            kafka.create_topics({_SCORES: _PARTITIONS})
            _measure(kafka.bootstrap, folder / "state", persons, clock)
        finally:
            kafka.kill()


def _measure(bootstrap: str, folder: Path, persons: int, clock: Clock) -> None:
    join = JoinSettings(directory=str(folder), changelog_replication=1)
    kafka = KafkaSettings(bootstrap_servers=bootstrap, events=None)
    open_state_store(join, kafka, Metrics(), clock).close(10)  # makes the topic
    octets = _fill(bootstrap, _values(persons, clock.now_ms(), PersonLimits.of(join)))
    _print(f"{persons:,} persons in the changelog, {octets / persons:.0f} bytes each")
    for situation in ("a new owner, empty disk", "a restart on the same disk"):
        before, began = meter.read_self(), clock.monotonic()
        state_store = open_state_store(join, kafka, Metrics(), clock)
        _restore(state_store, clock)
        seconds, after = clock.monotonic() - began, meter.read_self()
        cpu = after.cpu_seconds - before.cpu_seconds
        _print(f"{situation}: {seconds:.1f} s, {cpu:.1f} s of CPU, {after.rss_mb:.0f} MiB resident")
        state_store.close(10)
    disk = sum(file.stat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())
    _print(f"on disk: {disk / persons:.0f} bytes per person")


def _restore(state_store: ChangelogStateStore, clock: Clock) -> None:
    state_store.assign(range(_PARTITIONS))
    state_store.poll()
    while state_store.restoring:
        state_store.poll()
        clock.wait(0.001)


def _values(persons: int, now_ms: int, limits: PersonLimits) -> Iterator[tuple[bytes, bytes]]:
    """Yield the key and the value of each person; a thousand different values repeat."""
    shapes = [_person(number, now_ms, limits) for number in range(1_000)]
    for number in range(persons):
        yield b"ECID|%038d" % number, encode(shapes[number % len(shapes)])


def _person(number: int, now_ms: int, limits: PersonLimits) -> Person:
    person = Person()
    for day in range(8):
        fact = Fact(
            now_ms - day * _DAY_MS - number, f"{number}-{day}", "web.webpagedetails.pageViews",
            ("webVisit",), page=f"Page {number % 97}", campaign="autumn",
        )  # fmt: skip
        person = with_fact(person, fact, limits)
    for model in _MODELS:
        at_ms = now_ms - 7 * _DAY_MS
        delivered = DeliveredScore(at_ms, f"{number:064x}", b"%08d" % number, 50.0, "medium")
        person = with_score(person, model, delivered, limits)
    return person


def _fill(bootstrap: str, values: Iterator[tuple[bytes, bytes]]) -> int:
    producer = Producer(
        {"bootstrap.servers": bootstrap, "linger.ms": 50, "compression.type": "lz4"}
    )
    octets = 0
    for number, (key, value) in enumerate(values):
        octets += len(value)
        while True:
            try:
                producer.produce(_CHANGELOG, value, key, partition=number % _PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
        producer.poll(0)
    producer.flush(120)
    return octets


def _print(sentence: str) -> None:
    sys.stdout.write(sentence + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    _main()
