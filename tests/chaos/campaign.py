"""One campaign: a history is fed twice and shuffled while everything fails, then judged.

First the experience events, then the scores: the events of a score's context are in Kafka first.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from threading import Event
from typing import NamedTuple
from uuid import uuid4

from processor.domain.clock import Deadline, SystemClock
from processor.simulator.aep.faults import FaultAction, ScriptedFault
from processor.simulator.broker import EmbeddedBroker
from tests.chaos.fault_injector import FaultInjector
from tests.chaos.watch import CommitWatch
from tests.support import java
from tests.support.job import Job, Topics, new_simulator
from tests.support.judge import Judgement, judge
from tests.support.kafka_cluster import RealKafka
from tests.support.recipe import COHORT, TENANT
from tests.support.reference import expected
from tests.support.workload import Row, history

_PARTITIONS = 6
_UNCOMMITTED = 1_000
_SETTLE_SECONDS = 120
_SLICES = 12
_SLOW = ScriptedFault(FaultAction.LATENCY, delay=0.2)
_SMALL = {"max_in_flight": 1, "request_bytes": 25_000}
"""Together they keep requests in flight all the time, so that every fault affects some."""


class Plan(NamedTuple):
    """How large a campaign is. The same seed has the same input and the same faults.

    Members of a classic group are static ones, those of a KIP-848 group are not.
    """

    seed: int
    seconds: float = 30
    people: int = 1_500
    runs: int = 4
    replicas: int = 3
    protocol: str = "classic"


class CampaignResult(NamedTuple):
    """The result. `bound` is how many repetitions the faults may cause at most."""

    plan: Plan
    records: int
    expected: int
    judgement: Judgement
    faults: Mapping[str, int]
    bound: int
    overshoots: Sequence[str]
    looks: int

    @property
    def passed(self) -> bool:
        """True where nothing is lost, wrong or unexpected, and repetitions are within the bound."""
        correct = self.judgement.clean and not self.overshoots and self.looks > 0
        return correct and self.judgement.repetitions <= self.bound

    def __str__(self) -> str:
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (
            f"seed {self.plan.seed} ({self.plan.protocol}): {self.records} score records, "
            f"{self.expected} events expected\n  faults: {faults}\n  {self.judgement}; "
            f"at most {self.bound} repetitions allowed\n  commits checked {self.looks} times, "
            f"{len(self.overshoots)} beyond what was settled {list(self.overshoots[:3])}\n"
            f"  {'passed' if self.passed else 'FAILED'}"
        )


@contextmanager
def broker(folder: Path) -> Iterator[RealKafka | EmbeddedBroker]:
    """Yield a real Kafka, or the embedded broker where Java or Maven is missing."""
    if java.why_missing():
        with EmbeddedBroker() as small:
            yield small
        return
    kafka = RealKafka(folder / "kafka")
    try:
        kafka.start()
        yield kafka
    finally:
        kafka.kill()


def run(plan: Plan, kafka: RealKafka | EmbeddedBroker, folder: Path) -> CampaignResult:
    """Run one campaign on a broker that is up."""
    name = f"chaos-{plan.seed}-{uuid4().hex[:6]}"
    _create(kafka, Topics.of(name))
    with new_simulator() as aep:
        job = Job(
            name,
            kafka.bootstrap,
            aep,
            folder / name,
            kafka={
                "group_protocol": plan.protocol,
                "poll_records": 100,
                "max_uncommitted_records": _UNCOMMITTED,
            },
            aep={"limits": _SMALL},
            stop={"drain_seconds": 5, "commit_seconds": 2, "close_seconds": 3},
        )
        try:
            return _run(plan, job, kafka if isinstance(kafka, RealKafka) else None)
        finally:
            job.end()


def _run(plan: Plan, job: Job, kafka: RealKafka | None) -> CampaignResult:
    events, rows = _input(plan)
    values, scores = map(job.encoded, events), map(job.encoded, rows)
    events_due = expected(values, scores, tenant=TENANT, cohort=COHORT)
    static = plan.protocol == "classic"
    replicas = [job.replica(f"replica-{one}", static=static) for one in range(plan.replicas)]
    job.aep.faults.add(_SLOW)
    for replica in replicas:
        replica.start()
    injector, watch = FaultInjector(plan.seed, replicas, job.aep, kafka), CommitWatch(job)
    watch.start()
    _feed(plan, injector, job.feed_events, events)
    _feed(plan, injector, job.feed_scores, rows)
    job.aep.faults.clear()
    job.wait_accepted(len(events_due), _SETTLE_SECONDS)
    job.wait_caught_up(_SETTLE_SECONDS)
    watch.close()
    return CampaignResult(
        plan,
        len(rows),
        len(events_due),
        judge(events_due, job.accepted()),
        injector.faults,
        _bound(injector.faults, plan) + len(job.aep.accepted_events.in_doubt()),
        watch.overshoots,
        watch.looks,
    )


def _feed(
    plan: Plan,
    injector: FaultInjector,
    feed: Callable[[Sequence[Row]], object],
    rows: Sequence[Row],
) -> None:
    """Feed rows slice by slice over half of the campaign's time, with faults all the time."""
    pause, step = Event(), -(-len(rows) // _SLICES)
    deadline = Deadline(SystemClock(), plan.seconds / 2)
    for start in range(0, len(rows), step):
        feed(rows[start : start + step])
        left = plan.seconds / 2 * max(0, len(rows) - start - step) / len(rows)
        while deadline.left() > left:
            injector.cause_fault()
            pause.wait(min(injector.pause(), deadline.left()))


def _input(plan: Plan) -> tuple[list[Row], list[Row]]:
    """Return events and scores: both with copies, both shuffled."""
    random = Random(plan.seed)  # noqa: S311  repeatable, not secret
    midnight = datetime.fromtimestamp(SystemClock().now_ms() // 86_400_000 * 86_400, UTC)
    yesterday = midnight - timedelta(days=1)
    past = history(plan.seed, people=plan.people, runs=plan.runs, today=yesterday)
    events = past.events + random.sample(past.events, len(past.events) // 4)
    scores = past.scores * 2
    random.shuffle(events)
    random.shuffle(scores)
    return events, scores


def _bound(faults: Mapping[str, int], plan: Plan) -> int:
    """Return the number of uncommitted records: of one replica a kill, of all a broker kill."""
    kills = faults.get("replica killed", 0) + plan.replicas * faults.get("broker killed", 0)
    return kills * _UNCOMMITTED


def _create(kafka: RealKafka | EmbeddedBroker, topics: Topics) -> None:
    wanted = dict.fromkeys((topics.scores, topics.events, topics.dead_letters), _PARTITIONS)
    if isinstance(kafka, RealKafka):
        kafka.create_topics(wanted)
        return
    for name, count in {**wanted, topics.changelog: _PARTITIONS}.items():
        kafka.create_topic(name, count)
