"""`forget`: take a person out of all that this processor remembers."""

from pathlib import Path

from rich.console import Console

from processor.clock import Deadline, SystemClock, rfc3339
from processor.commands.state import key_of, told
from processor.dead_letter.reader import DeadLetterReader
from processor.dead_letter.selection import Found
from processor.errors import SettingsError, UnavailableError
from processor.record import Record
from processor.settings import Settings
from processor.state.folder import Folder
from processor.state.opening import open_changelog

__all__ = ["forget_person"]

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
        rejected = rfc3339(found.letter.time_ms) if found.letter else ""
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
    changelog.send({(partition, key): None for partition in range(count)})
    while changelog.flying and not deadline.over():
        changelog.poll(0.1)
    unwritten = changelog.holding or ("no acknowledgement" if changelog.flying else None)
    changelog.close(0)
    if unwritten:
        raise UnavailableError("changelog", f"not all tombstones were written: {unwritten}")
    return count


def _local(settings: Settings) -> str:
    """Delete the local store where no processor uses it, since it still names the person."""
    try:
        folder = Folder(Path(settings.join.directory))
    except SettingsError:
        return "The processor that runs here takes the person out of its local store."
    folder.distrust()
    folder.clear()
    folder.release(closed=False)
    return "The local store here is gone; the next start restores it from the changelog."


def _letters(settings: Settings, name: str) -> list[Found]:
    """Return the letters whose key or value has the person's id in it."""
    text = name.encode()
    with told("Reading the dead-letter topic") as tell:
        return [
            found
            for found in DeadLetterReader(settings, SystemClock()).scan(tell)
            if found.letter is not None
            and any(text in part for part in _texts(found.letter.record))
        ]


def _texts(record: Record) -> tuple[bytes, bytes]:
    return record.key or b"", record.value or b""
