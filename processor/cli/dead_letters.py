"""`dlq`: dead letters.

`dlq`: what was rejected and why, one letter, and round again through the current code.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.json import JSON
from rich.progress import Progress
from rich.table import Table

from processor.app import Telemetry, build_planner, build_reader, build_replay
from processor.cli.command import (
    DEFAULT,
    Config,
    Json,
    Origin,
    Reasons,
    Reveal,
    Since,
    Stages,
    Until,
    finish,
    settings_from,
    wrong,
)
from processor.cli.run import signalled
from processor.dead_letter.dead_letter import DeadLetter
from processor.dead_letter.reader import (
    DeadLetterGroup,
    DeadLetterReader,
    Selection,
    describe,
    group_dead_letters,
)
from processor.domain.clock import Clock, SystemClock, rfc3339
from processor.domain.errors import SettingsError
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Record
from processor.planner import Planner
from processor.replay import CollectedDeadLetters, DeadLetterSource, RejectedOnlyReader
from processor.settings import Settings
from processor.settings.secrets import secret_texts
from processor.telemetry.logs import configure_logs


def list_letters(
    settings: Settings, selection: Selection, *, as_json: bool, one_by_one: bool
) -> int:
    """Print letters grouped by stage and reason, or each with its place; returns the exit code."""
    console = Console()
    if one_by_one:
        with _progress() as progress:
            reader = DeadLetterReader(settings, SystemClock())
            for found in reader.select(selection, _told(progress)):
                if found.dead_letter is not None:
                    reject, origin = found.dead_letter.reject, found.dead_letter.record.origin
                    at = f"{found.partition}/{found.offset}"
                    console.print(at, reject.stage, reject.reason, origin, reject.detail)
        return 0
    found_groups = group_dead_letters(_select(settings, selection, SystemClock()))
    if as_json:
        console.print_json(json.dumps([_plain(group) for group in found_groups]))
    else:
        console.print(_table(found_groups, settings.dead_letter.topic))
    return 0


def show_letter(settings: Settings, partition: int, offset: int, *, reveal: bool) -> int:
    """Print one letter; key, value and headers only with `reveal`. Returns the exit code."""
    console = Console()
    found = DeadLetterReader(settings, SystemClock()).one(partition, offset)
    if found is None or found.dead_letter is None:
        topic = settings.dead_letter.topic
        console.print(f"There is no letter of ours at {topic}/{partition}/{offset}.")
        return 1
    console.print(JSON(json.dumps(describe(found.dead_letter, reveal=reveal))))
    return 0


def replay_letters(settings: Settings, selection: Selection, *, send: bool) -> int:
    """Take letters through the current code again; without `send` only say what would happen.

    Returns 0 where every letter found its way, 1 where some were rejected again.
    """
    clock, console = SystemClock(), Console()
    dead_letters = [one for one in _select(settings, selection, clock) if _is_ours(settings, one)]
    if not dead_letters:
        console.print("No letter matches.")
        return 0
    reader = RejectedOnlyReader(build_reader(settings, clock), _wanted(dead_letters))
    records = list(
        {dead_letter.record.origin: dead_letter.record for dead_letter in dead_letters}.values()
    )
    if send:
        configure_logs(settings.telemetry, clock, secrets=secret_texts(settings))
        return _replay(settings, records, reader, Telemetry.create(settings, clock))
    reader.fetch_schemas(records)
    return _rehearse(build_planner(settings, reader), records, clock.now_ms())


def _rehearse(planner: Planner, records: Sequence[Record], now_ms: int) -> int:
    console = Console()
    plan = planner.plan(planner.decode(records, now_ms), {})
    console.print(f"{len(records)} records would be replayed:")
    for route, count in sorted(Counter(event.route for event in plan.events).items()):
        console.print(f"  {count} events to route {route}")
    _tell_again(plan.rejected)
    console.print("Nothing was sent. Say --send to send them.")
    return 1 if plan.rejected else 0


def _replay(
    settings: Settings, records: Sequence[Record], reader: RejectedOnlyReader, telemetry: Telemetry
) -> int:
    console, again = Console(), CollectedDeadLetters()
    source = DeadLetterSource(records, settings.kafka.poll_records)
    with TemporaryDirectory(prefix="customer-ai-replay-") as folder:
        join = settings.join.model_copy(update={"directory": folder})
        apart = settings.model_copy(update={"join": join})
        processor = build_replay(apart, telemetry, reader, dead_letters=source, rejects=again)
        with signalled() as ending:
            ending.tell(processor.stream.stop)
            processor.run(until=lambda: source.over)
    accepted = telemetry.metrics.total("items", result="accepted")
    console.print(f"{len(records)} records were replayed: {accepted:.0f} events accepted by AEP")
    if merged := telemetry.metrics.total("duplicate_scores"):
        console.print(f"  {merged:.0f} scores had been delivered before")
    _tell_again(again.rejects)
    return 0 if source.over and not again.rejects else 1


def _tell_again(rejected: Iterable[tuple[Record, Reject]]) -> None:
    console = Console()
    reasons = Counter((reject.reason.value, reject.detail) for _, reject in rejected)
    for (reason, detail), count in reasons.most_common():
        console.print(f"  {count} rejected again: {reason}. {detail}")


def _select(settings: Settings, selection: Selection, clock: Clock) -> Iterable[DeadLetter]:
    with _progress() as progress:
        for found in DeadLetterReader(settings, clock).select(selection, _told(progress)):
            if found.dead_letter is not None:
                yield found.dead_letter


def _wanted(dead_letters: Iterable[DeadLetter]) -> dict[str, set[str]]:
    """Return the models each record was rejected for; an empty name means all of it."""
    wanted: dict[str, set[str]] = defaultdict(set)
    for dead_letter in dead_letters:
        wanted[dead_letter.record.origin].add(dead_letter.reject.model)
    return wanted


def _is_ours(settings: Settings, dead_letter: DeadLetter) -> bool:
    """Return whether the topic a letter came from is still one of the inputs, or our own."""
    inputs, topic = (settings.kafka.scores, settings.kafka.events), dead_letter.record.topic
    repartitioned = topic == settings.join.repartition_topic
    return repartitioned or any(each.takes(topic) for each in inputs if each is not None)


def _progress() -> Progress:
    return Progress(console=Console(stderr=True), transient=True)


def _told(progress: Progress) -> Callable[[int, int], None]:
    task = progress.add_task("Reading the dead-letter topic", total=None)

    def tell(done: int, total: int) -> None:
        progress.update(task, completed=done, total=total)

    return tell


def _plain(group: DeadLetterGroup) -> dict[str, object]:
    return {
        "stage": group.stage,
        "reason": group.reason,
        "count": group.count,
        "first": rfc3339(group.first_ms),
        "last": rfc3339(group.last_ms),
    }


def _table(found: Sequence[DeadLetterGroup], topic: str) -> Table:
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


dlq = typer.Typer(no_args_is_help=True, help="Look at dead letters, and send them round again.")


@dlq.command("list")
def dlq_list(  # noqa: PLR0913  each is an option
    config: Config = DEFAULT,
    *,
    reason: Reasons = None,
    stage: Stages = None,
    since: Since = None,
    until: Until = None,
    origin: Origin = None,
    each: Annotated[bool, typer.Option("--each", help="One line a letter.")] = False,
    as_json: Json = False,
) -> None:
    """Count dead letters by stage and reason."""
    settings = settings_from(config)
    chosen = _selection(reason, stage, (since, until), origin)
    finish(lambda: list_letters(settings, chosen, as_json=as_json, one_by_one=each))


@dlq.command("show")
def dlq_show(
    place: Annotated[str, typer.Argument(help="partition/offset in the dead-letter topic.")],
    config: Config = DEFAULT,
    *,
    reveal: Reveal = False,
) -> None:
    """Show one dead letter."""
    settings = settings_from(config)
    try:
        partition, offset = map(int, place.split("/"))
    except ValueError:
        wrong("dlq show", SettingsError([f"{place!r} is no place; write partition/offset."]))
    finish(lambda: show_letter(settings, partition, offset, reveal=reveal))


@dlq.command("replay")
def dlq_replay(  # noqa: PLR0913  each is an option
    config: Config = DEFAULT,
    *,
    reason: Reasons = None,
    stage: Stages = None,
    since: Since = None,
    until: Until = None,
    origin: Origin = None,
    send: Annotated[bool, typer.Option("--send", help="Else only say what would be sent.")] = False,
) -> None:
    """Take letters through the current code again; a dry run unless --send is given."""
    settings = settings_from(config)
    chosen = _selection(reason, stage, (since, until), origin)
    finish(lambda: replay_letters(settings, chosen, send=send))


def _selection(
    reasons: list[Reason] | None,
    stages: list[Stage] | None,
    span: tuple[datetime | None, datetime | None],
    origin: str | None,
) -> Selection:
    topic, partition, first, last = _origin(origin)
    return Selection(
        reasons=frozenset(reasons or ()),
        stages=frozenset(stages or ()),
        since_ms=_ms(span[0]),
        until_ms=_ms(span[1]),
        topic=topic,
        partition=partition,
        first_offset=first,
        last_offset=last,
    )


def _origin(text: str | None) -> tuple[str | None, int | None, int | None, int | None]:
    if text is None:
        return None, None, None, None
    topic, _, rest = text.partition("/")
    partition, _, offsets = rest.partition("/")
    first, dash, last = offsets.partition("-")
    try:
        numbers = [int(each) if each else None for each in (partition, first, last or first)]
    except ValueError:
        wrong("--origin", SettingsError([f"{text!r} is no topic/partition/first-last."]))
    return topic, numbers[0], numbers[1], numbers[2] if not dash or last else None


def _ms(moment: datetime | None) -> int | None:
    if moment is None:
        return None
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)
