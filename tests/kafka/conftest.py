"""A real broker and a real registry for the whole session; topics and a simulator for each test."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from processor.domain.clock import SystemClock
from processor.simulator.aep.simulator import AepSimulator
from tests.support import java
from tests.support.apicurio import RealRegistry
from tests.support.job import Job, Topics, new_simulator
from tests.support.kafka_cluster import RealKafka
from tests.support.workload import History, history

_PARTITIONS = 4


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if item.path.is_relative_to(here):
            item.add_marker(pytest.mark.kafka)


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealKafka]:
    java.require()
    broker = RealKafka(tmp_path_factory.mktemp("kafka"))
    try:
        broker.start()
        yield broker
    finally:
        broker.kill()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealRegistry]:
    java.require()
    real = RealRegistry(tmp_path_factory.mktemp("registry"))
    try:
        real.start()
        yield real
    finally:
        real.stop()


@pytest.fixture
def past() -> History:
    """Return three weekly scoring runs of some 150 persons, with their experience events."""
    today = datetime.fromtimestamp(SystemClock().now_ms() // 86_400_000 * 86_400, UTC)
    return history(1, people=150, runs=3, today=today - timedelta(days=1))


@pytest.fixture
def aep() -> Iterator[AepSimulator]:
    with new_simulator() as simulator:
        yield simulator


@pytest.fixture
def job(
    kafka: RealKafka, aep: AepSimulator, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[Callable[..., Job]]:
    """Make jobs with topics of their own; arguments are pages of settings."""
    made: list[Job] = []

    def make(**pages: Any) -> Job:  # noqa: ANN401  pages of settings
        words = re.sub(r"[^a-z]+", "-", request.node.name.removeprefix("test_").lower())
        name = f"{words[:40].strip('-')}-{uuid4().hex[:6]}"
        topics = Topics.of(name)
        kafka.create_topics(
            dict.fromkeys((topics.scores, topics.events, topics.dead_letters), _PARTITIONS)
        )
        made.append(Job(name, kafka.bootstrap, aep, tmp_path, **pages))
        return made[-1]

    yield make
    for one in made:
        one.end()
