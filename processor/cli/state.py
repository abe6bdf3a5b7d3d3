"""`state`: show, verify and rebuild person state. `forget`: erase a person from it."""

import json
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.json import JSON
from rich.table import Table

from processor.cli.command import DEFAULT, FromFile, Reveal, command, progress_bar
from processor.codec.entity import IdentityReader
from processor.dead_letter.reader import DeadLetterReader, FoundDeadLetter
from processor.domain.clock import Deadline, SystemClock, rfc3339
from processor.domain.errors import SettingsError, UnavailableError
from processor.enrich.primary_identity import person_key
from processor.settings import IdentitySettings, Settings
from processor.state.format.fact import decode_fact
from processor.state.format.person import decode
from processor.state.format.score_history import decode_entry, split
from processor.state.inspect import (
    ChangelogScan,
    Comparison,
    StoreView,
    compare,
    open_changelog,
    open_reader,
    open_scratch,
)
from processor.state.local_store import StoreFolder
from processor.state.person import Person, PersonLimits

REDACTED = "redacted"
_SHOWN = frozenset({"time", "type", "kinds", "success", "scoreDate", "bucket"})
"""Fields of facts and scores that are not redacted."""
_WRITE_SECONDS = 30.0

state = typer.Typer(no_args_is_help=True, help="Show, verify and rebuild person state.")

PersonOption = Annotated[
    tuple[str, str],
    typer.Option("--person", metavar="NAMESPACE ID", help="Such as: ECID 8912...1487."),
]


@command(state, "show")
def show_person(
    person: PersonOption,
    settings: FromFile = DEFAULT,
    *,
    changelog: Annotated[
        bool,
        typer.Option("--changelog", help="Read the changelog topic instead of the local store."),
    ] = False,
    reveal: Reveal = False,
) -> int:
    """Show the state of one person; only times, event types and buckets unless revealed."""
    console, key = Console(), _key(settings.identity, person)
    if changelog:
        values = values_in_changelog(settings, key)
    else:
        with StoreView(settings.join.directory) as view:
            values = view.find(key)
    for partition, value in sorted(values.items()):
        found = decode(value)
        if found is not None:
            content = {"partition": partition, **_as_dict(found, reveal=reveal)}
            console.print(JSON(json.dumps(content)))
            return 0
    place = "changelog" if changelog else "local store (--changelog reads that of all replicas)"
    console.print(f"There is no state of this person in the {place}.")
    return 1


@command(state, "verify")
def verify_state(settings: FromFile = DEFAULT) -> int:
    """Compare the local store with the changelog topic; also while the processor runs."""
    # The store is read first, and the changelog is always written before it: beside a running
    # processor the changelog is never behind.
    limits, clock = PersonLimits.of(settings.join), SystemClock()
    reader, count = open_reader(settings.join, settings.kafka, clock)
    with StoreView(settings.join.directory) as view, TemporaryDirectory() as folder:
        expected = open_scratch(Path(folder), settings.join, count)
        with progress_bar("Reading the changelog") as progress:
            ends = ChangelogScan(reader, clock, progress).replay(expected, view.positions, limits)
        found = [compare(view, expected, each, end, limits) for each, end in sorted(ends.items())]
        reader.close()
        expected.close()
    Console().print(_table(found))
    return 0 if all(each.consistent for each in found) else 1


@command(state, "rebuild")
def rebuild_state(settings: FromFile = DEFAULT) -> int:
    """Delete the local store; the next start restores it. Refused while a processor uses it."""
    _delete_store(settings)
    Console().print("The local store is deleted; the next start restores it from the changelog.")
    return 0


def forget(person: PersonOption, settings: FromFile = DEFAULT) -> int:
    """Erase one person from the state, and list the dead letters that contain the person's id.

    Writes a tombstone to each changelog partition, since only the producer knows on which partition
    the person's records are. Running replicas apply it with their next write, stopped ones when
    they start. Exits with 1 if dead letters remain.
    """
    console = Console()
    count = _write_tombstones(settings, _key(settings.identity, person))
    topic = settings.join.changelog_topic
    console.print(f"Tombstones are written to all {count} partitions of {topic}.")
    try:
        _delete_store(settings)
        console.print("The local store here is deleted; the next start restores it.")
    except SettingsError:
        console.print("The processor that runs here deletes the person from its local store.")
    console.print(
        "The record of delivered scores is deleted too: reading the input topics again re-creates "
        "the person, and sends the scores again."
    )
    remaining = _dead_letters_with(settings, person[1].encode())
    for found in remaining:
        rejected = rfc3339(found.dead_letter.time_ms) if found.dead_letter else ""
        console.print(f"  dead letter {found.partition}/{found.offset}, rejected at {rejected}")
    console.print(
        f"{len(remaining)} dead letters contain the id of this person. Kafka deletes them, and the "
        "records in the input topics, when their retention ends; a single record cannot be removed "
        "from a topic. Data in AEP is deleted by AEP's own privacy requests."
    )
    return 1 if remaining else 0


def values_in_changelog(
    settings: Settings, key: bytes, *, partition: int | None = None, seconds: float = inf
) -> dict[int, bytes]:
    """Return the encoded state of a person in the changelog, by partition: in one or in all.

    Raises UnavailableError if that takes longer than `seconds`, or Kafka does not respond.
    """
    clock = SystemClock()
    reader, count = open_reader(settings.join, settings.kafka, clock)
    try:
        with progress_bar("Reading the changelog") as progress:
            partitions = range(count) if partition is None else [partition]
            return ChangelogScan(reader, clock, progress, seconds=seconds).find(partitions, key)
    finally:
        reader.close()


def _key(identity: IdentitySettings, person: tuple[str, str]) -> bytes:
    """Return the key of a person; the namespace may have any spelling that records may have."""
    namespace, name = person
    (found,) = IdentityReader(identity).read({"identityMap": {namespace: [{"id": name}]}})
    return person_key(found)


def _as_dict(person: Person, *, reveal: bool) -> dict[str, object]:
    facts = [
        {"time": rfc3339(fact.time_ms), **_fields(fact, without="time_ms")}
        for fact in map(decode_fact, person.facts)
    ]
    scores = {
        model: [
            {"scoreDate": rfc3339(each.scored_at_ms), **_fields(each, without="scored_at_ms")}
            for each in map(decode_entry, split(history))
        ]
        for model, history in person.scores.items()
    }
    if not reveal:
        facts = [_redacted(fact) for fact in facts]
        scores = {model: [_redacted(each) for each in history] for model, history in scores.items()}
    return {"facts": facts, "scores": scores, "factsWereDropped": bool(person.cut)}


def _fields(value: msgspec.Struct, *, without: str) -> dict[str, object]:
    """Return the fields that are not empty."""
    return {
        name: content
        for name, content in msgspec.structs.asdict(value).items()
        if name != without and content not in ("", (), None)
    }


def _redacted(fields: dict[str, object]) -> dict[str, object]:
    return {name: value if name in _SHOWN else REDACTED for name, value in fields.items()}


def _table(found: list[Comparison]) -> Table:
    table = Table(title="Persons in local store and changelog", title_justify="left")
    for column in ("partition", "same", "behind", "ahead", "read to", "end"):
        table.add_column(column, justify="right")
    table.add_column("result")
    for each in found:
        counts = (each.partition, each.same, each.behind, each.ahead, each.read_to, each.end)
        table.add_row(
            *(f"{count:,}" for count in counts), "equal" if each.consistent else "differs"
        )
    return table


def _delete_store(settings: Settings) -> None:
    folder = StoreFolder(Path(settings.join.directory))
    folder.invalidate()
    folder.clear()
    folder.release(closed=False)


def _write_tombstones(settings: Settings, key: bytes) -> int:
    clock = SystemClock()
    changelog, count = open_changelog(settings.join, settings.kafka, clock)
    deadline = Deadline(clock, _WRITE_SECONDS)
    changelog.write({(partition, key): None for partition in range(count)})
    while changelog.in_flight and not deadline.over():
        changelog.poll(0.1)
    error = changelog.unavailable_reason or ("no acknowledgement" if changelog.in_flight else None)
    changelog.close(0)
    if error:
        raise UnavailableError("changelog", f"not all tombstones were written: {error}")
    return count


def _dead_letters_with(settings: Settings, text: bytes) -> list[FoundDeadLetter]:
    """Return the dead letters whose key or value contains the text."""
    with progress_bar("Reading the dead-letter topic") as progress:
        return [
            found
            for found in DeadLetterReader(settings, SystemClock()).scan(progress)
            if found.dead_letter is not None
            and any(
                text in (part or b"")
                for part in (found.dead_letter.record.key, found.dead_letter.record.value)
            )
        ]
