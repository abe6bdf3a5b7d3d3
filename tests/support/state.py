"""Persons, scores and limits for tests, and a memory on an embedded broker."""

from hashlib import sha256
from pathlib import Path

from processor.clock import Clock, SystemClock
from processor.event import Fact, ScoreEvent
from processor.person import DeliveredScore, Limits, Person, with_fact, with_score
from processor.record import Record
from processor.settings import JoinSettings, KafkaSettings
from processor.state.memory import Memory
from processor.state.names import Key
from processor.state.opening import open_memory
from processor.telemetry.metrics import Metrics
from tests.support.waiting import until

__all__ = [
    "CHANGELOG",
    "DAY_MS",
    "INPUTS",
    "LIMITS",
    "T0",
    "delivered",
    "event_of",
    "fact",
    "joined",
    "knows",
    "opened",
    "ready",
    "remembered",
    "settled",
]

DAY_MS = 86_400_000
T0 = 1_790_000_000_000
LIMITS = JoinSettings().limits()
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


def event_of(key: Key, score: DeliveredScore, model: str = "churn") -> ScoreEvent:
    """Return the score event that such a delivered score was."""
    record = Record(INPUTS[0], key[0], 0, T0, key[1], b"{}")
    return ScoreEvent(
        score.id, "route", model, b"{}", score.scored_at_ms, score.digest, key[1], record
    )


def knows(*days: float, scores: tuple[float, ...] = (), limits: Limits = LIMITS) -> Person:
    """Return a person with facts and delivered scores of these days."""
    person = Person()
    for day in days:
        person = with_fact(person, fact(day), limits)
    for day in scores:
        person = with_score(person, "churn", delivered(day), limits)
    return person


def joined(folder: Path, **changes: object) -> JoinSettings:
    """Return join settings with a store in a folder."""
    return JoinSettings.model_validate({"directory": str(folder), **changes})


def opened(
    bootstrap: str, folder: Path, metrics: Metrics | None = None, clock: Clock | None = None
) -> Memory:
    """Return a memory without partitions yet."""
    kafka = KafkaSettings(bootstrap_servers=bootstrap)
    return open_memory(joined(folder), kafka, metrics or Metrics(), clock or SystemClock())


def ready(memory: Memory, *partitions: int, seconds: float = 20.0) -> Memory:
    """Assign partitions and wait until they are back."""
    memory.assign(partitions)

    def back() -> bool:
        memory.poll()
        return not memory.restoring

    until(back, seconds=seconds, every=0.0, what="state is restored")
    return memory


def settled(memory: Memory, seconds: float = 20.0) -> None:
    """Wait until nothing is to be written or read."""

    def calm() -> bool:
        memory.poll()
        return not memory.restoring and not memory.busy

    until(calm, seconds=seconds, every=0.001, what="nothing is under way")


def remembered(memory: Memory, *tickets: int, seconds: float = 20.0) -> None:
    """Remember tickets and wait until they are durable."""
    waiting = [memory.remember(ticket) for ticket in tickets]

    def durable() -> bool:
        memory.poll()
        return all(one.done for one in waiting)

    until(durable, seconds=seconds, every=0.001, what="changes are durable")
