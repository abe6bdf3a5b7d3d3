"""Persons, scores and limits for tests, and a state store on an embedded broker."""

from hashlib import sha256
from pathlib import Path

from processor.domain.clock import Clock, SystemClock
from processor.domain.event import Fact, ScoreEvent
from processor.domain.record import Record
from processor.settings import JoinSettings, KafkaSettings
from processor.state.format.score_history import DeliveredScore
from processor.state.person import Person, PersonKey, PersonLimits, with_fact, with_score
from processor.state.state_store import ChangelogStateStore, open_state_store
from processor.telemetry.metrics import Metrics
from tests.support.waiting import until

DAY_MS = 86_400_000
T0 = 1_790_000_000_000
LIMITS = PersonLimits.of(JoinSettings())
INPUTS = ("customer-ai-scores", "experience-events")
CHANGELOG = "customer-ai-scores-state"


def fact(day: float) -> Fact:
    """Return a fact so many days after `T0`."""
    return Fact(T0 + round(day * DAY_MS), f"event-{day}")


def delivered(day: float, content: str = "a", score: float = 50.0) -> DeliveredScore:
    """Return a delivered score dated so many days after `T0`."""
    at_ms = T0 + round(day * DAY_MS)
    name = sha256(str(at_ms).encode()).hexdigest()
    return DeliveredScore(at_ms, name, sha256(content.encode()).digest()[:8], score, "medium")


def event_of(key: PersonKey, score: DeliveredScore, model: str = "churn") -> ScoreEvent:
    """Return the score event that such a delivered score was."""
    record = Record(INPUTS[0], key[0], 0, T0, key[1], b"{}")
    return ScoreEvent(
        score.id,
        "route",
        model,
        b"{}",
        score.scored_at_ms,
        score.digest,
        key[1],
        record,
        position=score.position,
    )


def person_with(
    *days: float, scores: tuple[float, ...] = (), limits: PersonLimits = LIMITS
) -> Person:
    """Return a person with facts and delivered scores of these days."""
    person = Person()
    for day in days:
        person = with_fact(person, fact(day), limits)
    for day in scores:
        person = with_score(person, "churn", delivered(day), limits)
    return person


def join_settings(folder: Path, **changes: object) -> JoinSettings:
    """Return join settings with a store in a folder."""
    return JoinSettings.model_validate({"directory": str(folder), **changes})


def open_store(
    bootstrap: str, folder: Path, metrics: Metrics | None = None, clock: Clock | None = None
) -> ChangelogStateStore:
    """Return a state store without partitions yet."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    return open_state_store(
        join_settings(folder), kafka, metrics or Metrics(), clock or SystemClock()
    )


def restored(
    state_store: ChangelogStateStore, *partitions: int, seconds: float = 20.0
) -> ChangelogStateStore:
    """Assign partitions and wait until they are restored."""
    state_store.assign(partitions)

    def done() -> bool:
        state_store.poll()
        return not state_store.restoring

    until(done, seconds=seconds, every=0.0, what="state is restored")
    return state_store


def wait_idle(state_store: ChangelogStateStore, seconds: float = 20.0) -> None:
    """Wait until nothing is to be written or read."""

    def idle() -> bool:
        state_store.poll()
        return not state_store.restoring and not state_store.busy

    until(idle, seconds=seconds, every=0.001, what="nothing is in progress")


def store_and_wait(state_store: ChangelogStateStore, *tickets: int, seconds: float = 20.0) -> None:
    """Store tickets and wait until they are durable."""
    writes = [state_store.store(ticket) for ticket in tickets]

    def durable() -> bool:
        state_store.poll()
        return all(write.done for write in writes)

    until(durable, seconds=seconds, every=0.001, what="changes are durable")
