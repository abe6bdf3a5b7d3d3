"""`dlq`: dead letters."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from processor.cli.ending import finish, settings_from, wrong
from processor.cli.options import (
    DEFAULT,
    Config,
    Json,
    Origin,
    Reasons,
    Reveal,
    Since,
    Stages,
    Until,
)
from processor.commands import dlq as letters
from processor.dead_letter.selection import Selection
from processor.errors import SettingsError
from processor.outcome import Reason, Stage

__all__ = ["dlq"]

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
    finish(lambda: letters.list_letters(settings, chosen, as_json=as_json, one_by_one=each))


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
    finish(lambda: letters.show_letter(settings, partition, offset, reveal=reveal))


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
    finish(lambda: letters.replay_letters(settings, chosen, send=send))


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
