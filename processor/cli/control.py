"""`pause`, `resume`, `skip` and `control show`: what an operator tells all replicas of a group.

They write to the control topic, which every replica follows; who may is the ACL of that topic.
"""

import getpass
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Annotated, Final

import typer
from rich.console import Console

from processor.cli.command import DEFAULT, FromFile, Json, command
from processor.control.pauses import PAUSE, PAUSED, RESUMED, describe, pause, resume
from processor.control.skips import SKIP, skip, skip_key
from processor.control.store import KafkaControlStore, open_control_store
from processor.domain.clock import Clock, Deadline, SystemClock, rfc3339
from processor.domain.control import ControlValue
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.record import Partition, Position
from processor.kafka.admin import KafkaAdmin
from processor.settings import Settings
from processor.telemetry.metrics import Metrics

_WRITE_SECONDS: Final = 15.0
_QUERY_SECONDS: Final = 5.0
_STEP_SECONDS: Final = 0.05

control = typer.Typer(no_args_is_help=True, help="Show what was told to all replicas.")

ReasonOption = Annotated[str, typer.Option("--reason", help="Why; it is kept and logged.")]


@command(control, "show")
def show_control(settings: FromFile = DEFAULT, *, as_json: Json = False) -> int:
    """Show the pauses and skips of the consumer group, who set them and since when."""
    with _opened(settings, SystemClock()) as store:
        facts = {key: store.get(key) for key in (PAUSE, RESUMED)}
        facts |= {**store.items(PAUSED), **store.items(SKIP)}
    known = {key: fact for key, fact in sorted(facts.items()) if fact is not None}
    console = Console()
    if as_json:
        console.print_json(json.dumps(known))
        return 0
    for key, fact in known.items():
        _print(_line(key, fact))
    paused = [key for key, fact in known.items() if _is_pause(key, fact)]
    _print("Intake is paused." if paused else "Intake is not paused from here.")
    return 0


def pause_intake(reason: ReasonOption, settings: FromFile = DEFAULT) -> int:
    """Pause all intake of the consumer group until `resume`; what is in progress is settled."""
    why, clock = _given(reason), SystemClock()
    with _opened(settings, clock) as store:
        pause(store, reason=why, by=_operator(), now_ms=clock.now_ms())
    _print("All replicas pause their intake within seconds; `resume` ends it.")
    return 0


def resume_intake(settings: FromFile = DEFAULT) -> int:
    """End every pause: by hand, and at a limit, whose cause is accepted by this.

    After too many rejects the counts begin anew. Partitions whose records Kafka has deleted go on
    with the oldest record that is left.
    """
    clock = SystemClock()
    with _opened(settings, clock) as store:
        ended = resume(store, by=_operator(), now_ms=clock.now_ms())
    for sentence in ended:
        _print(sentence)
    _print("All replicas resume within seconds." if ended else "Nothing is paused.")
    return 0


def skip_record(
    position: Annotated[str, typer.Argument(help="topic/partition/offset of a record.")],
    reason: ReasonOption,
    settings: FromFile = DEFAULT,
) -> int:
    """Dead-letter one record that is not settled, whatever is in it, so that the others go on.

    The record keeps its bytes and can be replayed (`dlq replay --reason skipped`). A record that is
    committed already cannot be skipped.
    """
    place, why, clock = _position(settings, position), _given(reason), SystemClock()
    _refuse_settled(settings, place, clock)
    topic_id = _topic_id(settings, place.topic, clock)
    by, now_ms = _operator(), clock.now_ms()
    with _opened(settings, clock) as store:
        known = skip(store, place, reason=why, by=by, now_ms=now_ms, topic_id=topic_id)
    if known is not None:
        _print(f"It was asked for before. {_line(skip_key(place, topic_id), known)}")
        return 0
    _print(f"{position} is skipped by the replica that has its partition, once it is read.")
    return 0


@contextmanager
def _opened(settings: Settings, clock: Clock) -> Iterator[KafkaControlStore]:
    """Open the control topic, and write what was put into it before closing.

    Raises UnavailableError where that is not acknowledged in time.
    """
    store = open_control_store(settings, Metrics(), clock, create=False)
    try:
        yield store
    except BaseException:
        store.close(0)
        raise
    if not store.close(_WRITE_SECONDS):
        raise UnavailableError("control", "the topic did not take the write in time")


def _position(settings: Settings, text: str) -> Position:
    try:
        place = Position.parse(text)
    except ValueError as error:
        sentence = f"{text!r} is not a position; write topic/partition/offset."
        raise SettingsError([sentence]) from error
    inputs = [each for each in (settings.kafka.scores, settings.kafka.events) if each is not None]
    is_input = any(each.takes(place.topic) for each in inputs)
    if not is_input and place.topic != settings.join.repartition_topic:
        raise SettingsError([f"{place.topic} is not one of the topics that this group reads."])
    return place


def _refuse_settled(settings: Settings, place: Position, clock: Clock) -> None:
    """Raise SettingsError where the group has committed the record, or it does not exist yet.

    What cannot be found out now is not refused.
    """
    partition = Partition(place.topic, place.partition)
    admin = KafkaAdmin(settings.kafka, "skip", clock)
    committed = admin.committed([partition])
    deadline = Deadline(clock, _QUERY_SECONDS)
    while not committed.done() and not deadline.over():
        clock.wait(_STEP_SECONDS)
    done = committed.offsets().get(partition, 0)
    if place.offset < done:
        sentence = (
            f"{place.topic}/{place.partition} is committed up to {done}: offset {place.offset} is "
            "settled already and cannot be skipped."
        )
        raise SettingsError([sentence])
    ends = admin.ends([partition])
    ends.wait(_QUERY_SECONDS)
    end = ends.offsets().get(partition)
    if end is not None and place.offset >= end:
        sentence = f"{place.topic}/{place.partition} ends at {end}: there is no such record yet."
        raise SettingsError([sentence])


def _topic_id(settings: Settings, topic: str, clock: Clock) -> str:
    """Return the id of a topic as replicas know it; empty where the broker has no ids."""
    admin = KafkaAdmin(settings.kafka, "skip", clock)
    cluster = admin.cluster()
    found = admin.topic_id(topic) if cluster.has_controller else ""
    return f"{cluster.id}:{found}" if found else ""


def _given(reason: str) -> str:
    if not reason.strip():
        raise SettingsError(["--reason is blank; say why, it is kept for those who ask later."])
    return reason.strip()


def _operator() -> str:
    """Return who runs the command, as far as the machine knows."""
    user = "unknown"
    with suppress(OSError, KeyError, ImportError):  # a container may have no name for its user
        user = getpass.getuser()
    return f"{user}@{socket.gethostname()}"


def _is_pause(key: str, fact: ControlValue) -> bool:
    return key == PAUSE or (key.startswith(PAUSED) and "resumed" not in fact)


def _line(key: str, fact: ControlValue) -> str:
    if _is_pause(key, fact):
        return describe(key, fact)
    since, by, reason = rfc3339(fact.get("since", 0)), fact.get("by"), fact.get("reason")
    if key.startswith(SKIP):
        state = f"done {rfc3339(fact['done'])}: {fact['result']}" if "done" in fact else "not done"
        return f"{key} by {by} at {since} ({state}): {reason}"
    if key.startswith(PAUSED):
        at, who = rfc3339(fact.get("resumed", 0)), fact.get("resumed_by")
        return f"{key} since {since}, resumed by {who} at {at}: {fact.get('sentence')}"
    return f"{key} by {by} at {since}"


def _print(sentence: str) -> None:
    Console(soft_wrap=True, highlight=False, markup=False).print(sentence)
