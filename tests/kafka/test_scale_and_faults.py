"""Several replicas, and what they do when one of them, the broker or the inlet fails."""

from collections.abc import Callable

import pytest

from processor.domain.clock import SystemClock
from processor.simulator.aep.faults import FaultAction, ScriptedFault
from processor.simulator.aep.simulator import AepSimulator
from tests.support.job import Job
from tests.support.judge import Judgement, judge
from tests.support.kafka_cluster import RealKafka
from tests.support.recipe import COHORT, TENANT
from tests.support.reference import expected
from tests.support.replica import Replica
from tests.support.waiting import until
from tests.support.workload import History

_UNCOMMITTED = 1_000
_SLOW = ScriptedFault(FaultAction.LATENCY, delay=0.2)
_SMALL = {"limits": {"max_in_flight": 1, "request_bytes": 50_000}}
"""Together they make the work last for some seconds, so that a fault happens in the middle."""
_SHORT_STOP = {"drain_seconds": 2, "commit_seconds": 1, "close_seconds": 2}
_STOP_SECONDS = 8
_EXIT_UNSETTLED = 4


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_killed_replica_loses_nothing_and_its_partitions_are_reassigned(
    job: Callable[..., Job], past: History, aep: AepSimulator, protocol: str
) -> None:
    settings = {"group_protocol": protocol, "max_uncommitted_records": _UNCOMMITTED}
    one = job(kafka={**settings, "poll_records": 50}, aep=_SMALL)
    aep.faults.add(_SLOW)
    replicas = [_started(one, "one"), _started(one, "two")]
    until(
        lambda: all(map(_has_half, replicas)),
        seconds=30,
        what="each has half of the partitions",
        tell=one.story,
    )

    events, scores = one.feed_events(past.events), one.feed_scores(past.scores)
    _midway(one, scores)
    replicas[0].kill()

    judgement = _settled(one, events, scores)
    assert judgement.clean, judgement
    assert judgement.repetitions <= _UNCOMMITTED


def test_replicas_that_start_and_stop_in_order_repeat_nothing(
    job: Callable[..., Job], past: History, aep: AepSimulator
) -> None:
    one = job(kafka={"poll_records": 50}, aep=_SMALL)
    aep.faults.add(_SLOW)
    events = one.feed_events(past.events)
    first = _started(one, "one")
    scores = one.feed_scores(past.scores)
    _midway(one, scores)

    second = _started(one, "two")
    assert first.terminate() == 0
    first.start()
    first.wait_ready()
    until(lambda: _has_half(first), seconds=30, what="it has half again", tell=one.story)
    assert second.terminate() == 0

    judgement = _settled(one, events, scores)
    assert judgement.clean, judgement
    assert not judgement.repeated


def test_killed_and_restarted_broker_loses_nothing(
    job: Callable[..., Job], past: History, aep: AepSimulator, kafka: RealKafka
) -> None:
    one = job(kafka={"poll_records": 50, "max_uncommitted_records": _UNCOMMITTED}, aep=_SMALL)
    aep.faults.add(_SLOW)
    events, scores = one.feed_events(past.events), one.feed_scores(past.scores)
    replica = _started(one, "one")
    _midway(one, scores)

    kafka.kill()
    kafka.start()

    judgement = _settled(one, events, scores)
    assert judgement.clean, judgement
    assert judgement.repetitions <= _UNCOMMITTED
    assert replica.running


def test_stop_ends_in_time_although_the_inlet_hangs(
    job: Callable[..., Job], past: History, aep: AepSimulator
) -> None:
    one = job(stop=_SHORT_STOP)
    aep.faults.add(ScriptedFault(FaultAction.HANG))
    scores = one.feed_scores(past.scores)
    replica = _started(one, "one")
    until(lambda: replica.metric("cai_requests_in_flight") > 0, seconds=20, what="requests hang")

    assert _stopped(replica) == (_EXIT_UNSETTLED, True)
    assert sum(one.committed().values()) == 0

    aep.faults.clear()
    replica.start()
    assert _settled(one, [], scores).clean


def test_stop_ends_in_time_although_the_broker_is_down(
    job: Callable[..., Job], past: History, kafka: RealKafka
) -> None:
    one = job(stop=_SHORT_STOP)
    scores = one.feed_scores(past.scores)
    replica = _started(one, "one")
    one.wait_caught_up()

    kafka.kill()
    try:
        _, in_time = _stopped(replica)
    finally:
        kafka.start()

    assert in_time
    replica.start()
    judgement = _settled(one, [], scores)
    assert judgement.clean, judgement
    assert not judgement.repeated


def test_broker_with_tls_and_a_password_is_read(
    job: Callable[..., Job], past: History, kafka: RealKafka
) -> None:
    secure = {"bootstrap_servers": kafka.secure_bootstrap, "client": kafka.secure_client}
    one = job(kafka=secure)
    one.feed_raw(("poison", b"{"))
    scores = one.feed_scores(past.scores)
    _started(one, "one")

    assert _settled(one, [], scores).clean
    assert [dead_letter.value() for dead_letter in one.dead_letters()] == [b"{"]


def _started(one: Job, name: str) -> Replica:
    replica = one.replica(name)
    replica.start()
    replica.wait_ready()
    return replica


def _midway(one: Job, scores: list[bytes]) -> None:
    """Return when some events were accepted and most were not."""
    accepted = one.aep.accepted_events.distinct
    until(lambda: accepted() > 20, seconds=30, what="some events", tell=one.story, every=0.01)
    assert accepted() < len(scores) // 2, "it was too fast for a fault in the middle"


def _has_half(replica: Replica) -> bool:
    return replica.metric("cai_assigned_partitions") == 4  # half of two topics' four each


def _settled(one: Job, events: list[bytes], scores: list[bytes]) -> Judgement:
    wanted = expected(events, scores, tenant=TENANT, cohort=COHORT)
    one.wait_accepted(len(wanted))
    one.wait_caught_up()
    return judge(wanted, one.accepted())


def _stopped(replica: Replica) -> tuple[int, bool]:
    clock = SystemClock()
    begun = clock.monotonic()
    code = replica.terminate()
    return code, clock.monotonic() - begun <= _STOP_SECONDS
