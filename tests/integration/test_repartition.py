"""Experience events keyed in any way, on other partition counts: contexts come out the same."""

import io
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import groupby
from pathlib import Path

import pytest

from processor.app import House, Watch, dry_house, live_house
from processor.clock import SystemClock
from processor.commands.letters import Unburied
from processor.sandbox.aep.simulator import AepSimulator
from processor.sandbox.history.figures import PREDICTIONS, Figures
from processor.sandbox.history.history import history
from processor.sandbox.history.sent import Sent
from processor.sandbox.sandbox import (
    EVENTS_TOPIC,
    REPARTITION_TOPIC,
    SCORES_TOPIC,
    Sandbox,
    SandboxSettings,
)
from processor.settings import Settings
from tests.support.waiting import until

PARTITIONS, EVENT_PARTITIONS, CUSTOMERS, RUNS = 3, 5, 40, 3


@contextmanager
def running(house: House) -> Iterator[House]:
    """Run a house on a thread; it must end in order."""
    ends: list[bool] = []
    thread = threading.Thread(target=lambda: ends.append(house.run()))
    thread.start()
    try:
        yield house
    finally:
        house.stream.stop()
        thread.join(30)
        assert ends == [True]


def shared(houses: Sequence[House]) -> bool:
    """Return whether every house has partitions of scores and of experience events."""
    topics = [{partition.topic for partition in each.doors.source.assigned} for each in houses]
    return all({SCORES_TOPIC, EVENTS_TOPIC} <= each for each in topics)


def person_of(value: bytes) -> bytes:
    return str(json.loads(value)["identityMap"]["ECID"][0]["id"]).encode()


def rekeyed(sent: Sent) -> Sent:
    """Key scores by the primary identity, and experience events by nothing to do with it."""
    assert sent.value is not None
    if sent.topic == SCORES_TOPIC:
        return sent._replace(key=person_of(sent.value))
    return sent._replace(key=json.loads(sent.value)["_id"].encode())


def played(
    records: Sequence[Sent], folder: Path, event_partitions: int | None, replicas: int
) -> tuple[dict[str, bytes], list[Watch]]:
    """Return the events accepted, by `_id`, and the watches of the replicas."""
    size = SandboxSettings(partitions=PARTITIONS, event_partitions=event_partitions)
    with Sandbox(AepSimulator(), size) as sandbox, ExitStack() as stack:
        watches, houses = [], []
        for number in range(replicas):
            tree = sandbox.settings(folder / str(number))
            tree["kafka"] |= {"group_protocol": "consumer", "commit_seconds": 0.1}
            settings = Settings.model_validate(tree)
            watches.append(Watch.over(settings, SystemClock()))
            houses.append(stack.enter_context(running(live_house(settings, watches[-1]))))
        until(lambda: shared(houses), seconds=20, what="all have partitions of every topic")
        feed = sandbox.feed()
        for _, some in groupby(records, key=lambda sent: sent.topic):
            feed.send(some)
        until(lambda: not feed.lag(), seconds=60, what="all is committed", tell=feed.lag)
        feed.close()
        accepted = sandbox.simulator.ledger.events()
        assert len({one.id for one in accepted}) == len(accepted)
        return {
            one.id: json.dumps(one.event(), sort_keys=True).encode() for one in accepted
        }, watches


@pytest.fixture(scope="module")
def records() -> list[Sent]:
    figures = Figures(
        last_run_ms=Figures.last_monday(SystemClock().now_ms()),
        customers=CUSTOMERS,
        runs=RUNS,
        poison=0,
        repeated=0.0,
        scores_topic=SCORES_TOPIC,
        events_topic=EVENTS_TOPIC,
        tenant="_sandbox",
    )
    return list(history(figures))


@pytest.mark.parametrize("replicas", [1, 2])
def test_contexts_are_those_of_events_keyed_alike(
    records: list[Sent], tmp_path: Path, replicas: int
) -> None:
    alike, _ = played(records, tmp_path / "alike", None, 1)
    other, watches = played(
        list(map(rekeyed, records)), tmp_path / "other", EVENT_PARTITIONS, replicas
    )

    assert len(alike) == CUSTOMERS * RUNS * len(PREDICTIONS)
    assert other == alike
    statuses = [json.loads(body)["_sandbox"]["scoreContext"] for body in alike.values()]
    assert sum("lastEventType" in context for context in statuses) > len(alike) // 2
    forwarded = sum(
        watch.metrics.value("records_settled", EVENTS_TOPIC, "forwarded") for watch in watches
    )
    remembered = sum(
        watch.metrics.value("records_settled", REPARTITION_TOPIC, "remembered") for watch in watches
    )
    assert forwarded == remembered == sum(sent.topic == EVENTS_TOPIC for sent in records)
    assert sum(watch.metrics.total("misplaced_records") for watch in watches) == 0
    assert all(
        watch.metrics.value("records_settled", EVENTS_TOPIC, "forwarded") for watch in watches
    )


def test_a_dry_run_has_the_contexts_of_what_was_forwarded(
    records: list[Sent], tmp_path: Path
) -> None:
    lines = io.StringIO()
    size = SandboxSettings(partitions=PARTITIONS, event_partitions=EVENT_PARTITIONS)
    with Sandbox(AepSimulator(), size) as sandbox:
        settings = Settings.model_validate(sandbox.settings(tmp_path))
        with running(live_house(settings, Watch.over(settings, SystemClock()))):
            feed = sandbox.feed()
            for _, some in groupby(map(rekeyed, records), key=lambda sent: sent.topic):
                feed.send(some)
            until(lambda: not feed.lag(), seconds=60, what="all is committed", tell=feed.lag)
            feed.close()
        accepted = {one.id: one.event() for one in sandbox.simulator.ledger.events()}
        watch = Watch.over(settings, SystemClock())
        dry = dry_house(settings, watch, lines, Unburied())
        assert dry.run(lambda: watch.metrics.total("score_run_records") >= len(accepted))

    printed = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert {event["_id"]: event for event in printed} == accepted
    assert watch.metrics.total("forward_writes") == 0
