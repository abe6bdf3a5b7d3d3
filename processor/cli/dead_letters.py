"""`dlq`: list, show and replay dead letters."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from tempfile import TemporaryDirectory
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.json import JSON
from rich.table import Table

from processor.app import Telemetry, build_planner, build_reader, build_replay
from processor.cli.command import (
    DEFAULT,
    FromFile,
    Json,
    Origin,
    Reasons,
    Reveal,
    Since,
    Stages,
    Until,
    await_schemas,
    command,
    progress_bar,
)
from processor.cli.signals import stop_signal
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
from processor.telemetry.catalogue import DUPLICATE_SCORES, ITEMS
from processor.telemetry.logs import configure_logs

dlq = typer.Typer(no_args_is_help=True, help="List, show and replay dead letters.")


@command(dlq, "list")
def list_dead_letters(  # noqa: PLR0913  each is an option
    settings: FromFile = DEFAULT,
    *,
    reason: Reasons = None,
    stage: Stages = None,
    since: Since = None,
    until: Until = None,
    origin: Origin = None,
    each: Annotated[bool, typer.Option("--each", help="Print one line per dead letter.")] = False,
    as_json: Json = False,
) -> int:
    """Count dead letters by stage and reason."""
    console = Console()
    chosen = _selection(reason, stage, (since, until), origin)
    found = _select(settings, chosen, SystemClock())
    if each:
        for position, dead_letter in found:
            reject = dead_letter.reject
            console.print(
                position, reject.stage, reject.reason, dead_letter.record.origin, reject.detail
            )
        return 0
    groups = group_dead_letters(dead_letter for _, dead_letter in found)
    if as_json:
        console.print_json(json.dumps([_as_dict(group) for group in groups]))
    else:
        console.print(_table(groups, settings.dead_letter.topic))
    return 0


@command(dlq, "show")
def show_dead_letter(
    position: Annotated[str, typer.Argument(help="partition/offset in the dead-letter topic.")],
    settings: FromFile = DEFAULT,
    *,
    reveal: Reveal = False,
) -> int:
    """Show one dead letter; key, value and headers are redacted unless revealed."""
    try:
        partition, offset = map(int, position.split("/"))
    except ValueError as error:
        sentence = f"{position!r} is not a position; write partition/offset."
        raise SettingsError([sentence]) from error
    console = Console()
    found = DeadLetterReader(settings, SystemClock()).one(partition, offset)
    if found is None or found.dead_letter is None:
        topic = settings.dead_letter.topic
        console.print(f"There is no dead letter of this processor at {topic}/{partition}/{offset}.")
        return 1
    console.print(JSON(json.dumps(describe(found.dead_letter, reveal=reveal))))
    return 0


@command(dlq, "replay")
def replay_dead_letters(  # noqa: PLR0913  each is an option
    settings: FromFile = DEFAULT,
    *,
    reason: Reasons = None,
    stage: Stages = None,
    since: Since = None,
    until: Until = None,
    origin: Origin = None,
    send: Annotated[
        bool, typer.Option("--send", help="Send the events; otherwise only report them.")
    ] = False,
) -> int:
    """Process dead letters again with the current code and settings; sends nothing by default."""
    clock = SystemClock()
    chosen = _selection(reason, stage, (since, until), origin)
    dead_letters = [
        dead_letter
        for _, dead_letter in _select(settings, chosen, clock)
        if _is_input(settings, dead_letter.record.topic)
    ]
    if not dead_letters:
        Console().print("No dead letter matches.")
        return 0
    reader = RejectedOnlyReader(build_reader(settings, clock), _rejected_models(dead_letters))
    records = list({each.record.origin: each.record for each in dead_letters}.values())
    if send:
        configure_logs(settings.telemetry, clock, secrets=secret_texts(settings))
        return _replay(settings, records, reader, Telemetry.create(settings, clock))
    await_schemas(reader, records, clock)
    return _report(build_planner(settings, reader), records, clock.now_ms())


def _report(planner: Planner, records: Sequence[Record], now_ms: int) -> int:
    console = Console()
    plan = planner.plan(planner.decode(records, now_ms), {})
    console.print(f"{len(records)} records would be replayed:")
    for route, count in sorted(Counter(event.route for event in plan.events).items()):
        console.print(f"  {count} events to route {route}")
    _print_rejected_again(plan.rejected)
    console.print("Nothing was sent. Use --send to send the events.")
    return 1 if plan.rejected else 0


def _replay(
    settings: Settings, records: Sequence[Record], reader: RejectedOnlyReader, telemetry: Telemetry
) -> int:
    console, again = Console(), CollectedDeadLetters()
    source = DeadLetterSource(records, settings.kafka.poll_records)
    with TemporaryDirectory(prefix="customer-ai-replay-") as folder:
        join = settings.join.model_copy(update={"directory": folder})
        settings = settings.model_copy(update={"join": join})
        processor = build_replay(settings, telemetry, reader, dead_letters=source, rejects=again)
        with stop_signal() as stop:
            stop.on_request(processor.stream.stop)
            processor.run(until=lambda: source.over)
    accepted = telemetry.metrics.total(ITEMS, result="accepted")
    console.print(f"{len(records)} records were replayed: {accepted:.0f} events accepted by AEP")
    if duplicates := telemetry.metrics.total(DUPLICATE_SCORES):
        console.print(f"  {duplicates:.0f} scores had been delivered before")
    _print_rejected_again(again.rejects)
    return 0 if source.over and not again.rejects else 1


def _print_rejected_again(rejected: Iterable[tuple[Record, Reject]]) -> None:
    console = Console()
    reasons = Counter((reject.reason.value, reject.detail) for _, reject in rejected)
    for (reason, detail), count in reasons.most_common():
        console.print(f"  {count} rejected again: {reason}. {detail}")


def _select(
    settings: Settings, selection: Selection, clock: Clock
) -> Iterator[tuple[str, DeadLetter]]:
    """Yield the selected dead letters with their positions, partition/offset."""
    with progress_bar("Reading the dead-letter topic") as progress:
        for found in DeadLetterReader(settings, clock).select(selection, progress):
            if found.dead_letter is not None:
                yield f"{found.partition}/{found.offset}", found.dead_letter


def _rejected_models(dead_letters: Iterable[DeadLetter]) -> dict[str, set[str]]:
    """Return the models for which each record was rejected; an empty name means all."""
    models: dict[str, set[str]] = defaultdict(set)
    for dead_letter in dead_letters:
        models[dead_letter.record.origin].add(dead_letter.reject.model)
    return models


def _is_input(settings: Settings, topic: str) -> bool:
    """Return whether a topic is still one of the inputs, or the repartition topic."""
    inputs = (settings.kafka.scores, settings.kafka.events)
    repartitioned = topic == settings.join.repartition_topic
    return repartitioned or any(each.takes(topic) for each in inputs if each is not None)


def _as_dict(group: DeadLetterGroup) -> dict[str, object]:
    return {
        "stage": group.stage,
        "reason": group.reason,
        "count": group.count,
        "first": rfc3339(group.first_ms),
        "last": rfc3339(group.last_ms),
    }


def _table(groups: Sequence[DeadLetterGroup], topic: str) -> Table:
    table = Table(
        title=f"Dead letters in {topic}", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1)
    )
    for name in ("stage", "reason"):
        table.add_column(name, no_wrap=True)
    table.add_column("dead letters", justify="right")
    for name in ("first (UTC)", "last (UTC)"):
        table.add_column(name, no_wrap=True)
    for group in groups:
        first, last = (
            rfc3339(time_ms)[:16].replace("T", " ") for time_ms in (group.first_ms, group.last_ms)
        )
        table.add_row(group.stage, group.reason, f"{group.count:,}", first, last)
    return table


def _selection(
    reasons: list[Reason] | None,
    stages: list[Stage] | None,
    span: tuple[datetime | None, datetime | None],
    origin: str | None,
) -> Selection:
    topic, partition, first, last = _parse_origin(origin)
    return Selection(
        reasons=frozenset(reasons or ()),
        stages=frozenset(stages or ()),
        since_ms=_epoch_ms(span[0]),
        until_ms=_epoch_ms(span[1]),
        topic=topic,
        partition=partition,
        first_offset=first,
        last_offset=last,
    )


def _parse_origin(text: str | None) -> tuple[str | None, int | None, int | None, int | None]:
    if text is None:
        return None, None, None, None
    topic, _, rest = text.partition("/")
    partition, _, offsets = rest.partition("/")
    first, dash, last = offsets.partition("-")
    try:
        numbers = [int(each) if each else None for each in (partition, first, last or first)]
    except ValueError as error:
        sentence = f"{text!r} is not a position; write topic/partition/first-last."
        raise SettingsError([sentence]) from error
    return topic, numbers[0], numbers[1], numbers[2] if not dash or last else None


def _epoch_ms(time: datetime | None) -> int | None:
    if time is None:
        return None
    aware = time if time.tzinfo else time.replace(tzinfo=UTC)
    return int(aware.timestamp() * 1000)
