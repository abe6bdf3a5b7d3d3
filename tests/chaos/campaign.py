"""One campaign: a history goes in twice and shuffled while everything breaks; then a verdict.

First the experience events, then the scores: what a score is to know was in Kafka before it.
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
from tests.chaos.nemesis import Nemesis
from tests.chaos.watch import CommitWatch
from tests.support import java
from tests.support.job import Job, Topics, new_simulator
from tests.support.judge import Judgement, judge
from tests.support.kafka_cluster import RealKafka
from tests.support.recipe import COHORT, TENANT
from tests.support.reference import expected
from tests.support.workload import Row, history

__all__ = ["Outcome", "Plan", "broker", "run"]

_PARTITIONS = 6
_UNCOMMITTED = 1_000
_SETTLE_SECONDS = 120
_SLICES = 12
_SLOW = ScriptedFault(FaultAction.LATENCY, delay=0.2)
_SMALL = {"max_in_flight": 1, "request_bytes": 25_000}
"""Together they keep work under way all the time, so that strikes hit something."""


class Plan(NamedTuple):
    """How large a campaign is. The same seed gives the same input and the same strikes.

    Members of a classic group are static ones, those of a KIP-848 group are not.
    """

    seed: int
    seconds: float = 30
    people: int = 1_500
    runs: int = 4
    replicas: int = 3
    protocol: str = "classic"


class Outcome(NamedTuple):
    """What was seen. `bound` is how many repetitions the faults that struck may cost at most."""

    plan: Plan
    records: int
    expected: int
    judgement: Judgement
    struck: Mapping[str, int]
    bound: int
    overshoots: Sequence[str]
    looks: int

    @property
    def passed(self) -> bool:
        """True where nothing was lost, wrong or made up, and repetitions are within the bound."""
        fine = self.judgement.clean and not self.overshoots and self.looks > 0
        return fine and self.judgement.repetitions <= self.bound

    def __str__(self) -> str:
        strikes = ", ".join(f"{name} {count}" for name, count in sorted(self.struck.items()))
        return (
            f"seed {self.plan.seed} ({self.plan.protocol}): {self.records} score records, "
            f"{self.expected} events due\n  struck: {strikes}\n  {self.judgement}; "
            f"at most {self.bound} repetitions allowed\n  commits looked at {self.looks} times, "
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


def run(plan: Plan, kafka: RealKafka | EmbeddedBroker, folder: Path) -> Outcome:
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
            return _struck(plan, job, kafka if isinstance(kafka, RealKafka) else None)
        finally:
            job.end()


def _struck(plan: Plan, job: Job, kafka: RealKafka | None) -> Outcome:
    events, rows = _input(plan)
    values, scores = map(job.encoded, events), map(job.encoded, rows)
    wanted = expected(values, scores, tenant=TENANT, cohort=COHORT)
    static = plan.protocol == "classic"
    replicas = [job.replica(f"replica-{one}", static=static) for one in range(plan.replicas)]
    job.aep.faults.add(_SLOW)
    for replica in replicas:
        replica.start()
    nemesis, watch = Nemesis(plan.seed, replicas, job.aep, kafka), CommitWatch(job)
    watch.start()
    _storm(plan, nemesis, job.feed_events, events)
    _storm(plan, nemesis, job.feed_scores, rows)
    job.aep.faults.clear()
    job.wait_accepted(len(wanted), _SETTLE_SECONDS)
    job.wait_caught_up(_SETTLE_SECONDS)
    watch.close()
    return Outcome(
        plan,
        len(rows),
        len(wanted),
        judge(wanted, job.accepted()),
        nemesis.struck,
        _bound(nemesis.struck, plan) + len(job.aep.accepted_events.in_doubt()),
        watch.overshoots,
        watch.looks,
    )


def _storm(
    plan: Plan, nemesis: Nemesis, feed: Callable[[Sequence[Row]], object], rows: Sequence[Row]
) -> None:
    """Feed rows slice by slice over half of the campaign's time, striking all the while."""
    pause, step = Event(), -(-len(rows) // _SLICES)
    deadline = Deadline(SystemClock(), plan.seconds / 2)
    for at in range(0, len(rows), step):
        feed(rows[at : at + step])
        left = plan.seconds / 2 * max(0, len(rows) - at - step) / len(rows)
        while deadline.left() > left:
            nemesis.strike()
            pause.wait(min(nemesis.pause(), deadline.left()))


def _input(plan: Plan) -> tuple[list[Row], list[Row]]:
    """Return events and scores: both with copies, both shuffled."""
    dice = Random(plan.seed)  # noqa: S311  repeatable, not secret
    midnight = datetime.fromtimestamp(SystemClock().now_ms() // 86_400_000 * 86_400, UTC)
    yesterday = midnight - timedelta(days=1)
    past = history(plan.seed, people=plan.people, runs=plan.runs, today=yesterday)
    events = past.events + dice.sample(past.events, len(past.events) // 4)
    scores = past.scores * 2
    dice.shuffle(events)
    dice.shuffle(scores)
    return events, scores


def _bound(struck: Mapping[str, int], plan: Plan) -> int:
    """A kill repeats at most what one replica had not committed, a dead broker what all had not."""
    kills = struck.get("replica killed", 0) + plan.replicas * struck.get("broker killed", 0)
    return kills * _UNCOMMITTED


def _create(kafka: RealKafka | EmbeddedBroker, topics: Topics) -> None:
    wanted = dict.fromkeys((topics.scores, topics.events, topics.dead_letters), _PARTITIONS)
    if isinstance(kafka, RealKafka):
        kafka.create_topics(wanted)
        return
    for name, count in {**wanted, topics.changelog: _PARTITIONS}.items():
        kafka.create_topic(name, count)
