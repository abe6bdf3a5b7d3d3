"""`dlq`: what was rejected and why, one letter, and round again through the current code."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from tempfile import TemporaryDirectory

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.json import JSON
from rich.progress import Progress
from rich.table import Table

from processor.app import Watch, pipeline_of, reader_of, replay_house
from processor.clock import Clock, SystemClock, rfc3339
from processor.commands.letters import LetterSource, OnlyRejected, Unburied
from processor.commands.run import signalled
from processor.dead_letter.letter import Letter
from processor.dead_letter.reader import DeadLetterReader
from processor.dead_letter.selection import Group, Selection, groups, portrait
from processor.outcome import Reject
from processor.pipeline import Pipeline
from processor.record import Record
from processor.settings import Settings
from processor.settings.secrets import secret_texts
from processor.telemetry.logs import configure_logs

__all__ = ["list_letters", "replay_letters", "show_letter"]


def list_letters(
    settings: Settings, selection: Selection, *, as_json: bool, one_by_one: bool
) -> int:
    """Print letters grouped by stage and reason, or each with its place; returns the exit code."""
    console = Console()
    if one_by_one:
        with _progress() as progress:
            reader = DeadLetterReader(settings, SystemClock())
            for found in reader.select(selection, _told(progress)):
                if found.letter is not None:
                    reject, origin = found.letter.reject, found.letter.record.origin
                    at = f"{found.partition}/{found.offset}"
                    console.print(at, reject.stage, reject.reason, origin, reject.detail)
        return 0
    found_groups = groups(_select(settings, selection, SystemClock()))
    if as_json:
        console.print_json(json.dumps([_plain(group) for group in found_groups]))
    else:
        console.print(_table(found_groups, settings.dead_letter.topic))
    return 0


def show_letter(settings: Settings, partition: int, offset: int, *, reveal: bool) -> int:
    """Print one letter; key, value and headers only with `reveal`. Returns the exit code."""
    console = Console()
    found = DeadLetterReader(settings, SystemClock()).one(partition, offset)
    if found is None or found.letter is None:
        topic = settings.dead_letter.topic
        console.print(f"There is no letter of ours at {topic}/{partition}/{offset}.")
        return 1
    console.print(JSON(json.dumps(portrait(found.letter, reveal=reveal))))
    return 0


def replay_letters(settings: Settings, selection: Selection, *, send: bool) -> int:
    """Take letters through the current code again; without `send` only say what would happen.

    Returns 0 where every letter found its way, 1 where some were rejected again.
    """
    clock, console = SystemClock(), Console()
    letters = [one for one in _select(settings, selection, clock) if _is_ours(settings, one)]
    if not letters:
        console.print("No letter matches.")
        return 0
    reader = OnlyRejected(reader_of(settings, clock), _wanted(letters))
    records = list({letter.record.origin: letter.record for letter in letters}.values())
    if send:
        configure_logs(settings.telemetry, clock, secrets=secret_texts(settings))
        return _replay(settings, records, reader, Watch.over(settings, clock))
    reader.learn(records)
    return _rehearse(pipeline_of(settings, reader), records, clock.now_ms())


def _rehearse(pipeline: Pipeline, records: Sequence[Record], now_ms: int) -> int:
    console = Console()
    plan = pipeline.plan(pipeline.survey(records, now_ms), {})
    console.print(f"{len(records)} records would be replayed:")
    for route, count in sorted(Counter(event.route for event in plan.events).items()):
        console.print(f"  {count} events to route {route}")
    _tell_again(plan.rejected)
    console.print("Nothing was sent. Say --send to send them.")
    return 1 if plan.rejected else 0


def _replay(
    settings: Settings, records: Sequence[Record], reader: OnlyRejected, watch: Watch
) -> int:
    console, again = Console(), Unburied()
    source = LetterSource(records, settings.kafka.poll_records)
    with TemporaryDirectory(prefix="customer-ai-replay-") as folder:
        join = settings.join.model_copy(update={"directory": folder})
        apart = settings.model_copy(update={"join": join})
        house = replay_house(apart, watch, reader, letters=source, again=again)
        with signalled() as ending:
            ending.tell(house.stream.stop)
            house.run(until=lambda: source.over)
    accepted = watch.metrics.total("items", outcome="accepted")
    console.print(f"{len(records)} records were replayed: {accepted:.0f} events accepted by AEP")
    if merged := watch.metrics.total("merged_scores"):
        console.print(f"  {merged:.0f} scores had been delivered before")
    _tell_again(again.again)
    return 0 if source.over and not again.again else 1


def _tell_again(rejected: Iterable[tuple[Record, Reject]]) -> None:
    console = Console()
    reasons = Counter((reject.reason.value, reject.detail) for _, reject in rejected)
    for (reason, detail), count in reasons.most_common():
        console.print(f"  {count} rejected again: {reason}. {detail}")


def _select(settings: Settings, selection: Selection, clock: Clock) -> Iterable[Letter]:
    with _progress() as progress:
        for found in DeadLetterReader(settings, clock).select(selection, _told(progress)):
            if found.letter is not None:
                yield found.letter


def _wanted(letters: Iterable[Letter]) -> dict[str, set[str]]:
    """Return the models each record was rejected for; an empty name means all of it."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for letter in letters:
        wanted[letter.record.origin].add(letter.reject.model)
    return wanted


def _is_ours(settings: Settings, letter: Letter) -> bool:
    """Return whether the topic a letter came from is still one of the inputs, or our own."""
    inputs, topic = (settings.kafka.scores, settings.kafka.events), letter.record.topic
    forwarded = topic == settings.join.repartition_topic
    return forwarded or any(each.takes(topic) for each in inputs if each is not None)


def _progress() -> Progress:
    return Progress(console=Console(stderr=True), transient=True)


def _told(progress: Progress) -> Callable[[int, int], None]:
    task = progress.add_task("Reading the dead-letter topic", total=None)

    def tell(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    return tell


def _plain(group: Group) -> dict[str, object]:
    return {
        "stage": group.stage,
        "reason": group.reason,
        "count": group.count,
        "first": rfc3339(group.first_ms),
        "last": rfc3339(group.last_ms),
    }


def _table(found: Sequence[Group], topic: str) -> Table:
    table = Table(
        title=f"Letters in {topic}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1)
    )
    for name in ("stage", "reason"):
        table.add_column(name, no_wrap=True)
    table.add_column("letters", justify="right")
    for name in ("first (UTC)", "last (UTC)"):
        table.add_column(name, no_wrap=True)
    for group in found:
        first, last = _minute(group.first_ms), _minute(group.last_ms)
        table.add_row(group.stage, group.reason, f"{group.count:,}", first, last)
    return table


def _minute(at_ms: int) -> str:
    return rfc3339(at_ms)[:16].replace("T", " ")
