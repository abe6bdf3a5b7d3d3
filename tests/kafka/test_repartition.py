"""Experience events with any key, on a real broker: contexts equal those of the reference."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from confluent_kafka import Producer

from processor.simulator.aep.faults import FaultAction, ScriptedFault
from processor.simulator.aep.simulator import AepSimulator
from tests.support.job import Job
from tests.support.judge import judge
from tests.support.kafka_cluster import RealKafka
from tests.support.recipe import COHORT, TENANT
from tests.support.reference import expected
from tests.support.replica import Replica
from tests.support.waiting import until
from tests.support.workload import History

_EVENT_PARTITIONS = 7
_UNCOMMITTED = 1_000
_SLOW = ScriptedFault(FaultAction.LATENCY, delay=0.2)


@pytest.fixture
def repartitioned(kafka: RealKafka, job: Callable[..., Job]) -> Callable[..., Job]:
    """Make jobs whose events topic has another partition count, so that facts are repartitioned."""

    def make(**kafka_page: object) -> Job:
        topic = f"facts-{uuid4().hex[:6]}"
        page = {"max_uncommitted_records": _UNCOMMITTED, "poll_records": 50, **kafka_page}
        small = {"limits": {"max_in_flight": 1, "request_bytes": 50_000}}
        one = job(kafka=page, aep=small, join={"repartition_topic": topic})
        events = f"{one.topics.events}-of-any-key"
        kafka.create_topics({events: _EVENT_PARTITIONS})
        one.topics = one.topics._replace(events=events)
        return one

    return make


def written_in_transactions(one: Job, past: History) -> list[bytes]:
    """Write experience events, keyed by their own ids; every partition ends in a control record."""
    producer = Producer(
        {"bootstrap.servers": one.bootstrap, "transactional.id": one.name, "log_level": 0}
    )
    producer.init_transactions(30)
    values = [one.encoded(row) for row in past.events]
    producer.begin_transaction()
    for value, row in zip(values, past.events, strict=True):
        producer.produce(one.topics.events, value, row.content["_id"])
    producer.commit_transaction(30)
    return values


def started(one: Job, name: str) -> Replica:
    replica = one.replica(name)
    replica.start()
    replica.wait_ready()
    return replica


def has_half(replica: Replica) -> bool:
    return replica.metric("cai_assigned_partitions") > 0


def repartitioned_records(replica: Replica) -> float:
    return replica.metric("cai_records_settled_total", outcome="repartitioned")


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_killed_replica_loses_no_fact_and_no_context(
    repartitioned: Callable[..., Job], past: History, aep: AepSimulator, protocol: str
) -> None:
    one = repartitioned(group_protocol=protocol)
    aep.faults.add(_SLOW)
    replicas = [started(one, "one"), started(one, "two")]
    until(lambda: all(map(has_half, replicas)), seconds=30, what="each has half", tell=one.story)

    rows = [row._replace(key=row.content["_id"]) for row in past.events]
    events, scores = one.feed_events(rows), one.feed_scores(past.scores)
    until(
        lambda: one.aep.accepted_events.distinct() > 20,
        seconds=30,
        what="some events",
        tell=one.story,
    )
    assert repartitioned_records(replicas[1]) > 0
    replicas[0].kill()

    wanted = expected(events, scores, tenant=TENANT, cohort=COHORT)
    one.wait_accepted(len(wanted))
    one.wait_caught_up()
    judgement = judge(wanted, one.accepted())
    assert judgement.clean, judgement
    assert judgement.repetitions <= _UNCOMMITTED


def test_scores_wait_for_transactional_events_of_other_replicas(
    repartitioned: Callable[..., Job], past: History
) -> None:
    one = repartitioned()
    events = written_in_transactions(one, past)
    scores = one.feed_scores(past.scores)
    replicas = [one.replica("one"), one.replica("two")]
    for each in replicas:
        each.start()

    wanted = expected(events, scores, tenant=TENANT, cohort=COHORT)
    one.wait_accepted(len(wanted))
    judgement = judge(wanted, one.accepted())

    assert judgement.clean, judgement
    assert judgement.repetitions == 0
    assert sum(each.metric("cai_score_waits_total", result="timeout") for each in replicas) == 0
