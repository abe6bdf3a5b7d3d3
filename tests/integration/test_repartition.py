"""Experience events keyed in any way, on other partition counts: contexts come out the same."""

import io
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path

import pytest

from processor.app import Processor, Telemetry, build_dry_run, build_processor
from processor.domain.clock import SystemClock
from processor.domain.outcome import Outcome
from processor.replay import CollectedDeadLetters
from processor.settings import Settings
from processor.simulator.aep.simulator import AepSimulator
from processor.simulator.environment import (
    EVENTS_TOPIC,
    REPARTITION_TOPIC,
    SCORES_TOPIC,
    EnvironmentSettings,
    SimulatedEnvironment,
)
from processor.simulator.history.history import history
from processor.simulator.history.settings import PREDICTIONS, HistorySettings, InputRecord
from processor.telemetry.catalogue import (
    MISPLACED_RECORDS,
    RECORDS_SETTLED,
    REPARTITION_WRITES,
    SCORE_RUN_RECORDS,
)
from tests.support.waiting import until

PARTITIONS, EVENT_PARTITIONS, CUSTOMERS, RUNS = 3, 5, 40, 3


@contextmanager
def running(processor: Processor) -> Iterator[Processor]:
    """Run a processor on a thread; it must end in order."""
    ends: list[bool] = []
    thread = threading.Thread(target=lambda: ends.append(processor.run()))
    thread.start()
    try:
        yield processor
    finally:
        processor.stream.stop()
        thread.join(30)
        assert ends == [True]


def shared(processors: Sequence[Processor]) -> bool:
    """Return whether every processor has partitions of scores and of experience events."""
    topics = [
        {partition.topic for partition in each.components.source.assigned} for each in processors
    ]
    return all({SCORES_TOPIC, EVENTS_TOPIC} <= each for each in topics)


def person_of(value: bytes) -> bytes:
    return str(json.loads(value)["identityMap"]["ECID"][0]["id"]).encode()


def rekeyed(sent: InputRecord) -> InputRecord:
    """Key scores by the primary identity, and experience events by nothing to do with it."""
    assert sent.value is not None
    if sent.topic == SCORES_TOPIC:
        return sent._replace(key=person_of(sent.value))
    return sent._replace(key=json.loads(sent.value)["_id"].encode())


def played(
    records: Sequence[InputRecord], folder: Path, event_partitions: int | None, replicas: int
) -> tuple[dict[str, bytes], list[Telemetry]]:
    """Return the events accepted, by `_id`, and the watches of the replicas."""
    size = EnvironmentSettings(partitions=PARTITIONS, event_partitions=event_partitions)
    with SimulatedEnvironment(AepSimulator(), size) as environment, ExitStack() as stack:
        watches, processors = [], []
        for number in range(replicas):
            tree = environment.settings(folder / str(number))
            tree["kafka"] |= {"group_protocol": "consumer", "commit_seconds": 0.1}
            settings = Settings.model_validate(tree)
            watches.append(Telemetry.create(settings, SystemClock()))
            processors.append(stack.enter_context(running(build_processor(settings, watches[-1]))))
        until(lambda: shared(processors), seconds=20, what="all have partitions of every topic")
        feed = environment.feed()
        for _, some in groupby(records, key=lambda sent: sent.topic):
            feed.send(some)
        until(lambda: not feed.lag(), seconds=60, what="all is committed", tell=feed.lag)
        feed.close()
        accepted = environment.simulator.accepted_events.events()
        assert len({one.id for one in accepted}) == len(accepted)
        return {
            one.id: json.dumps(one.event(), sort_keys=True).encode() for one in accepted
        }, watches


@pytest.fixture(scope="module")
def records() -> list[InputRecord]:
    figures = HistorySettings(
        last_run_ms=HistorySettings.last_monday(SystemClock().now_ms()),
        customers=CUSTOMERS,
        runs=RUNS,
        bad_records=0,
        repeated=0.0,
        scores_topic=SCORES_TOPIC,
        events_topic=EVENTS_TOPIC,
        tenant="_acme",
    )
    return list(history(figures))


@pytest.mark.parametrize("replicas", [1, 2])
def test_contexts_are_those_of_events_keyed_alike(
    records: list[InputRecord], tmp_path: Path, replicas: int
) -> None:
    alike, _ = played(records, tmp_path / "alike", None, 1)
    other, watches = played(
        list(map(rekeyed, records)), tmp_path / "other", EVENT_PARTITIONS, replicas
    )

    assert len(alike) == CUSTOMERS * RUNS * len(PREDICTIONS)
    assert other == alike
    statuses = [json.loads(body)["_acme"]["scoreContext"] for body in alike.values()]
    assert sum("lastEventType" in context for context in statuses) > len(alike) // 2
    repartitioned = sum(
        telemetry.metrics.value(RECORDS_SETTLED, EVENTS_TOPIC, Outcome.REPARTITIONED)
        for telemetry in watches
    )
    stored = sum(
        telemetry.metrics.value(RECORDS_SETTLED, REPARTITION_TOPIC, Outcome.STORED)
        for telemetry in watches
    )
    assert repartitioned == stored == sum(sent.topic == EVENTS_TOPIC for sent in records)
    assert sum(telemetry.metrics.total(MISPLACED_RECORDS) for telemetry in watches) == 0
    assert all(
        telemetry.metrics.value(RECORDS_SETTLED, EVENTS_TOPIC, Outcome.REPARTITIONED)
        for telemetry in watches
    )


def test_a_dry_run_has_the_contexts_of_repartitioned_events(
    records: list[InputRecord], tmp_path: Path
) -> None:
    lines = io.StringIO()
    size = EnvironmentSettings(partitions=PARTITIONS, event_partitions=EVENT_PARTITIONS)
    with SimulatedEnvironment(AepSimulator(), size) as environment:
        settings = Settings.model_validate(environment.settings(tmp_path))
        with running(build_processor(settings, Telemetry.create(settings, SystemClock()))):
            feed = environment.feed()
            for _, some in groupby(map(rekeyed, records), key=lambda sent: sent.topic):
                feed.send(some)
            until(lambda: not feed.lag(), seconds=60, what="all is committed", tell=feed.lag)
            feed.close()
        accepted = {one.id: one.event() for one in environment.simulator.accepted_events.events()}
        telemetry = Telemetry.create(settings, SystemClock())
        dry = build_dry_run(settings, telemetry, lines, CollectedDeadLetters())
        assert dry.run(lambda: telemetry.metrics.total(SCORE_RUN_RECORDS) >= len(accepted))

    printed = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert {event["_id"]: event for event in printed} == accepted
    assert telemetry.metrics.total(REPARTITION_WRITES) == 0
