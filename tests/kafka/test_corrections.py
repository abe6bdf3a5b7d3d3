"""Corrections in a topic whose times are the broker's: a whole batch has one time."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from processor.domain.clock import SystemClock
from processor.simulator.aep.simulator import AepSimulator
from tests.support.job import Job, Topics
from tests.support.kafka_cluster import RealKafka
from tests.support.recipe import MODELS, TENANT
from tests.support.workload import Row

PEOPLE = [f"{number:038d}" for number in range(1, 61)]
_PARTITIONS = 4
_STOP_SECONDS = 25


@pytest.fixture
def stamped(kafka: RealKafka, aep: AepSimulator, tmp_path: Path) -> Iterator[Callable[[str], Job]]:
    """Make jobs on the same topics with groups of their own; times of scores are the broker's."""
    name, jobs = f"corrections-{uuid4().hex[:6]}", []
    topics = Topics.of(name)
    times = {"message.timestamp.type": "LogAppendTime"}
    kafka.create_topics({topics.scores: _PARTITIONS}, times)
    kafka.create_topics(dict.fromkeys((topics.events, topics.dead_letters), _PARTITIONS))

    def make(group: str) -> Job:
        # A new group on person state that has been written before is a gap, which is accepted here.
        accepted = {"on_gap": "continue"}
        job = Job(f"{name}-{group}", kafka.bootstrap, aep, tmp_path / group, kafka=accepted)
        job.topics = topics
        jobs.append(job)
        return job

    yield make
    for one in jobs:
        one.end()


def run_of(*values: float, days_ago: int) -> list[Row]:
    """Return a score of everyone for each value, all of one date."""
    today = datetime.fromtimestamp(SystemClock().now_ms() // 86_400_000 * 86_400, UTC)
    date = (today - timedelta(days=days_ago)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return [
        Row(
            ecid,
            {
                "identityMap": {"ECID": [{"id": ecid, "primary": True}]},
                f"_{TENANT}": {"CustomerAI": {MODELS[0]: {"score": value, "scoreDate": date}}},
            },
        )
        for value in values
        for ecid in PEOPLE
    ]


def feed_batch(job: Job, rows: list[Row]) -> None:
    """Write scores in one batch for each partition, and see that each batch has one time."""
    producer = Producer(
        {"bootstrap.servers": job.bootstrap, "partitioner": "murmur2_random", "linger.ms": 1_000}
    )
    for row in rows:
        producer.produce(job.topics.scores, job.encoded(row), row.key)
    assert producer.flush(20) == 0
    found = job.read(job.topics.scores)
    times = {(one.partition(), one.timestamp()[1]) for one in found}
    assert len(times) == len({partition for partition, _ in times})


def scores_sent(job: Job) -> dict[str, list[float]]:
    """Return the scores that were accepted of each person, smallest first."""
    sent: dict[str, list[float]] = {ecid: [] for ecid in PEOPLE}
    for one in job.accepted():
        event = one.event()
        sent[event["identityMap"]["ECID"][0]["id"]].append(
            event[f"_{TENANT}"]["CustomerAI"][MODELS[0]]["score"]
        )
    return {ecid: sorted(scores) for ecid, scores in sent.items()}


def previous_scores(job: Job) -> list[float]:
    """Return the previous scores in all events that have one."""
    contexts = [one.event()[f"_{TENANT}"]["scoreContext"] for one in job.accepted()]
    return [context["previousScore"] for context in contexts if "previousScore" in context]


def test_corrections_with_the_time_of_their_score_are_the_previous_score_of_the_next_run(
    stamped: Callable[[str], Job],
) -> None:
    one = stamped("one")
    feed_batch(one, run_of(70.0, 30.0, 55.0, days_ago=8))
    first = one.replica("first")
    first.start()
    one.wait_caught_up()
    assert first.terminate(_STOP_SECONDS) == 0

    one.feed_scores(run_of(50.0, days_ago=1))
    one.replica("on-an-empty-disk").start()
    one.wait_accepted(2 * len(PEOPLE))
    one.wait_caught_up()

    assert previous_scores(one) == [55.0] * len(PEOPLE)


def test_scores_corrected_back_are_sent_again_and_read_again_by_another_group_are_not(
    stamped: Callable[[str], Job],
) -> None:
    one = stamped("one")
    feed_batch(one, run_of(40.0, 60.0, 40.0, days_ago=8))
    replica = one.replica()
    replica.start()
    one.wait_caught_up()
    assert replica.terminate(_STOP_SECONDS) == 0
    assert scores_sent(one) == {ecid: [40.0, 40.0, 60.0] for ecid in PEOPLE}

    again = stamped("again")
    again.feed_scores(run_of(50.0, days_ago=1))
    again.replica().start()
    again.wait_accepted(2 * len(PEOPLE))
    again.wait_caught_up()

    assert scores_sent(one) == {ecid: [40.0, 40.0, 50.0, 60.0] for ecid in PEOPLE}
    assert previous_scores(again) == [40.0] * len(PEOPLE)
