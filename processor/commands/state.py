"""`state`: what is remembered of one person; whether it is what the changelog says; begin anew."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from math import inf
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from rich.console import Console
from rich.json import JSON
from rich.progress import Progress as Bar
from rich.table import Table

from processor.clock import SystemClock, rfc3339
from processor.codec.identities import IdentityReader
from processor.delivered import split
from processor.delivered import unpack as score_of
from processor.enrich.identities import person_key
from processor.kept import unpack as fact_of
from processor.person import Person
from processor.settings import IdentitySettings, Settings
from processor.state.audit import Audit, Comparison, Progress, compare
from processor.state.folder import Folder
from processor.state.opening import open_reader, open_scratch
from processor.state.view import StoreView
from processor.state.wire import decode

__all__ = ["in_changelog", "key_of", "rebuild_state", "show_person", "told", "verify_state"]

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
            return Audit(reader, clock, tell, seconds=seconds).find(partitions, key)
    finally:
        reader.close()


def verify_state(settings: Settings) -> int:
    """Hold the local store against the changelog; returns 0 where it says nothing else.

    Works beside a running processor: the store is looked at first, and the changelog is always
    written before it.
    """
    limits, clock = settings.join.limits(), SystemClock()
    reader, count = open_reader(settings.join, settings.kafka, clock)
    with StoreView(settings.join.directory) as view, TemporaryDirectory() as folder:
        truth = open_scratch(Path(folder), settings.join, count)
        with told("Reading the changelog") as tell:
            ends = Audit(reader, clock, tell).replay(truth, view.marks, limits)
        found = [compare(view, truth, one, end, limits) for one, end in sorted(ends.items())]
        reader.close()
        truth.close()
    Console().print(_table(found))
    return 0 if all(one.sound for one in found) else 1


def rebuild_state(settings: Settings) -> int:
    """Delete the local store; the next start restores it. Refused while a processor uses it."""
    folder = Folder(Path(settings.join.directory))
    folder.distrust()
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
        for fact in map(fact_of, person.facts)
    ]
    scores = {
        model: [
            {"scoreDate": rfc3339(one.scored_at_ms), **_fields(one, leave_out="scored_at_ms")}
            for one in map(score_of, split(history))
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
        table.add_row(*(f"{count:,}" for count in counts), "sound" if one.sound else "differs")
    return table
