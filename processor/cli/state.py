"""`state` and `forget`: what is known of a person.

`state`: what is remembered of one person; whether it is what the changelog says; begin anew.

`forget`: take a person out of all that this processor remembers.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import msgspec
import typer
from rich.console import Console
from rich.json import JSON
from rich.progress import Progress as Bar
from rich.table import Table

from processor.cli.command import DEFAULT, Config, Reveal, finish, settings_from
from processor.codec.entity import IdentityReader
from processor.dead_letter.reader import DeadLetterReader, FoundDeadLetter
from processor.domain.clock import Deadline, SystemClock, rfc3339
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.record import Record
from processor.enrich.primary_identity import person_key
from processor.settings import IdentitySettings, Settings
from processor.state.format.fact import decode_fact
from processor.state.format.person import decode
from processor.state.format.score_history import decode_entry, split
from processor.state.inspect import ChangelogScan, Comparison, Progress, StoreView, compare
from processor.state.local_store import StoreFolder
from processor.state.person import Person, PersonLimits
from processor.state.state_store import open_changelog, open_reader, open_scratch

_BLOTTED = "..."
_TELLING = frozenset({"time", "type", "kinds", "success", "scoreDate", "bucket"})


def key_of(identity: IdentitySettings, namespace: str, name: str) -> bytes:
    """Return the key of a person; the namespace may be spelled in any way records spell it."""
    (found,) = IdentityReader(identity).read({"identityMap": {namespace: [{"id": name}]}})
    return person_key(found)


def show_person(
    settings: Settings, namespace: str, name: str, *, reveal: bool, changelog: bool
) -> int:
    """Print what is remembered of a person, from the local store or else the changelog.

    Times, event types and buckets only, unless `reveal`. Returns 1 where nothing is known.
    """
    key = key_of(settings.identity, namespace, name)
    console = Console()
    for partition, wire in sorted(
        (in_changelog if changelog else _in_store)(settings, key).items()
    ):
        person = decode(wire)
        if person is not None:
            shown = {"partition": partition, **_portrait(person, reveal=reveal)}
            console.print(JSON(json.dumps(shown)))
            return 0
    place = "changelog" if changelog else "local store (--changelog asks for all replicas')"
    console.print(f"Nothing is remembered of this person in the {place}.")
    return 1


def in_changelog(
    settings: Settings, key: bytes, *, partition: int | None = None, seconds: float = inf
) -> dict[int, bytes]:
    """Return what the changelog says of a person, by partition: of one partition, or of them all.

    Raises UnavailableError where that takes longer than so many seconds, or it does not answer.
    """
    clock = SystemClock()
    reader, count = open_reader(settings.join, settings.kafka, clock)
    try:
        with told("Reading the changelog") as tell:
            partitions = range(count) if partition is None else [partition]
            return ChangelogScan(reader, clock, tell, seconds=seconds).find(partitions, key)
    finally:
        reader.close()


def verify_state(settings: Settings) -> int:
    """Hold the local store against the changelog; returns 0 where it says nothing else.

    Works beside a running processor: the store is looked at first, and the changelog is always
    written before it.
    """
    limits, clock = PersonLimits.of(settings.join), SystemClock()
    reader, count = open_reader(settings.join, settings.kafka, clock)
    with StoreView(settings.join.directory) as view, TemporaryDirectory() as folder:
        truth = open_scratch(Path(folder), settings.join, count)
        with told("Reading the changelog") as tell:
            ends = ChangelogScan(reader, clock, tell).replay(truth, view.positions, limits)
        found = [compare(view, truth, one, end, limits) for one, end in sorted(ends.items())]
        reader.close()
        truth.close()
    Console().print(_table(found))
    return 0 if all(one.consistent for one in found) else 1


def rebuild_state(settings: Settings) -> int:
    """Delete the local store; the next start restores it. Refused while a processor uses it."""
    folder = StoreFolder(Path(settings.join.directory))
    folder.invalidate()
    folder.clear()
    folder.release(closed=False)
    Console().print("The local store is gone; the next start restores it from the changelog.")
    return 0


@contextmanager
def told(what: str) -> Iterator[Progress]:
    """Show a bar on standard error while something is read."""
    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _in_store(settings: Settings, key: bytes) -> dict[int, bytes]:
    with StoreView(settings.join.directory) as view:
        return view.find(key)


def _portrait(person: Person, *, reveal: bool) -> dict[str, object]:
    facts = [
        {"time": rfc3339(fact.time_ms), **_fields(fact, leave_out="time_ms")}
        for fact in map(decode_fact, person.facts)
    ]
    scores = {
        model: [
            {"scoreDate": rfc3339(one.scored_at_ms), **_fields(one, leave_out="scored_at_ms")}
            for one in map(decode_entry, split(history))
        ]
        for model, history in person.scores.items()
    }
    if not reveal:
        facts = [_blot(fact) for fact in facts]
        scores = {model: [_blot(one) for one in history] for model, history in scores.items()}
    return {"facts": facts, "scores": scores, "factsWereDropped": bool(person.cut)}


def _fields(value: msgspec.Struct, *, leave_out: str) -> dict[str, object]:
    """Return the fields that say something."""
    return {
        name: said
        for name, said in msgspec.structs.asdict(value).items()
        if name != leave_out and said not in ("", (), None)
    }


def _blot(shown: dict[str, object]) -> dict[str, object]:
    return {name: said if name in _TELLING else _BLOTTED for name, said in shown.items()}


def _table(found: list[Comparison]) -> Table:
    table = Table(title="Local store against changelog, in persons", title_justify="left")
    for column in ("partition", "same", "behind", "ahead", "read to", "end"):
        table.add_column(column, justify="right")
    table.add_column("verdict")
    for one in found:
        counts = (one.partition, one.same, one.behind, one.ahead, one.read_to, one.end)
        table.add_row(*(f"{count:,}" for count in counts), "sound" if one.consistent else "differs")
    return table


_WRITE_SECONDS = 30.0


def forget_person(settings: Settings, namespace: str, name: str) -> int:
    """Write tombstones for a person to the changelog, and list the dead letters that name them.

    Each partition gets one, since which one a person's records are in is for their producer to
    say. Running replicas notice when next they write to it, stopped ones when they start. Returns
    1 where dead letters are left.
    """
    console = Console()
    key = key_of(settings.identity, namespace, name)
    count = _bury(settings, key)
    console.print(f"Tombstones are in all {count} partitions of {settings.join.changelog_topic}.")
    console.print(_local(settings))
    console.print(
        "Its marks of what was delivered are gone too: reading the input topics again re-creates "
        "the person, and sends the scores again."
    )
    left = _letters(settings, name)
    for found in left:
        rejected = rfc3339(found.dead_letter.time_ms) if found.dead_letter else ""
        console.print(f"  dead letter {found.partition}/{found.offset}, rejected at {rejected}")
    console.print(
        f"{len(left)} dead letters name this person. Kafka deletes them, and the records in the "
        "input topics, when their retention ends; no single record can be taken out of a topic. "
        "What AEP has is for AEP's own privacy requests."
    )
    return 1 if left else 0


def _bury(settings: Settings, key: bytes) -> int:
    clock = SystemClock()
    changelog, count = open_changelog(settings.join, settings.kafka, clock)
    deadline = Deadline(clock, _WRITE_SECONDS)
    changelog.write({(partition, key): None for partition in range(count)})
    while changelog.in_flight and not deadline.over():
        changelog.poll(0.1)
    unwritten = changelog.unavailable_reason or (
        "no acknowledgement" if changelog.in_flight else None
    )
    changelog.close(0)
    if unwritten:
        raise UnavailableError("changelog", f"not all tombstones were written: {unwritten}")
    return count


def _local(settings: Settings) -> str:
    """Delete the local store where no processor uses it, since it still names the person."""
    try:
        folder = StoreFolder(Path(settings.join.directory))
    except SettingsError:
        return "The processor that runs here takes the person out of its local store."
    folder.invalidate()
    folder.clear()
    folder.release(closed=False)
    return "The local store here is gone; the next start restores it from the changelog."


def _letters(settings: Settings, name: str) -> list[FoundDeadLetter]:
    """Return the letters whose key or value has the person's id in it."""
    text = name.encode()
    with told("Reading the dead-letter topic") as tell:
        return [
            found
            for found in DeadLetterReader(settings, SystemClock()).scan(tell)
            if found.dead_letter is not None
            and any(text in part for part in _texts(found.dead_letter.record))
        ]


def _texts(record: Record) -> tuple[bytes, bytes]:
    return record.key or b"", record.value or b""


state = typer.Typer(no_args_is_help=True, help="Look at what is known of persons.")

PersonOption = Annotated[
    tuple[str, str],
    typer.Option("--person", metavar="NAMESPACE ID", prompt=False, help="Such as ECID and an id."),
]


@state.command("show")
def state_show(
    person: PersonOption,
    config: Config = DEFAULT,
    *,
    changelog: Annotated[
        bool, typer.Option("--changelog", help="Read the topic instead of the local store.")
    ] = False,
    reveal: Reveal = False,
) -> None:
    """Show what is known of one person; what it says is blotted out unless revealed."""
    settings = settings_from(config)
    namespace, identity = person
    finish(lambda: show_person(settings, namespace, identity, reveal=reveal, changelog=changelog))


@state.command("verify")
def state_verify(config: Config = DEFAULT) -> None:
    """Hold the local store against the changelog topic."""
    settings = settings_from(config)
    finish(lambda: verify_state(settings))


@state.command("rebuild")
def state_rebuild(config: Config = DEFAULT) -> None:
    """Drop the local store; the next start restores it from the changelog topic."""
    settings = settings_from(config)
    finish(lambda: rebuild_state(settings))


def forget(person: PersonOption, config: Config = DEFAULT) -> None:
    """Erase what is known of one person, in the local store and in the changelog topic."""
    settings = settings_from(config)
    namespace, identity = person
    finish(lambda: forget_person(settings, namespace, identity))
