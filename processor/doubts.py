"""What a dataset may hold twice, told completely: which records, by route and cause.

Listed is every event of which a request went out whose answer was not understood (sent again since,
or cut off by a stop), and every event that was accepted but whose record could not be settled here:
its partition left, or the processor stopped. The source tells, likewise completely, of settled
records whose commit was not confirmed.

Not listed is what only a dead process knew. After a kill all that was not committed is read again:
`kafka.max_uncommitted_records` at most. What was remembered of it merges, and is not sent twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import NamedTuple

from processor.event import ScoreEvent

__all__ = ["Doubt", "doubts"]

_LINE_CHARACTERS = 400
"""A log line is cut at 500 characters; a topic's name has 249 at most."""


class Doubt(NamedTuple):
    """Some events of one route and cause: `first-last` offsets of their records, and their count.

    `places` is `topic/partition/first-last,...`, a single record `topic/partition/offset`.
    """

    route: str
    cause: str
    places: str
    events: int


class _Run(NamedTuple):
    place: str
    events: int


def doubts(listed: Iterable[tuple[ScoreEvent, str]]) -> Iterator[Doubt]:
    """Yield what was listed by route and cause, in as many parts as log lines need."""
    groups: defaultdict[tuple[str, str], list[tuple[str, int, int]]] = defaultdict(list)
    for event, cause in listed:
        record = event.record
        place = record.topic, record.partition, record.offset
        groups[event.route, str(cause)].append(place)
    for (route, cause), places in sorted(groups.items()):
        for text, events in _lines(_runs(sorted(places))):
            yield Doubt(route, cause, text, events)


def _runs(places: list[tuple[str, int, int]]) -> Iterator[_Run]:
    """Yield the unbroken runs of offsets; two events of one record stand at one offset."""
    order = {place: at for at, place in enumerate(dict.fromkeys(places))}
    for _, group in groupby(places, lambda place: (*place[:2], place[2] - order[place])):
        run = list(group)
        (topic, number, first), last = run[0], run[-1][2]
        ends = str(first) if first == last else f"{first}-{last}"
        yield _Run(f"{topic}/{number}/{ends}", len(run))


def _lines(runs: Iterable[_Run]) -> Iterator[_Run]:
    text, events = "", 0
    for run in runs:
        if text and len(text) + len(run.place) >= _LINE_CHARACTERS:
            yield _Run(text, events)
            text, events = "", 0
        text = f"{text},{run.place}" if text else run.place
        events += run.events
    if text:
        yield _Run(text, events)
