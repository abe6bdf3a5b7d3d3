"""`run --dry-run`: all but the POST; events as JSON lines, rejects told, no trace left in Kafka."""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NoReturn

from processor.app import Watch, dry_house
from processor.clock import SystemClock
from processor.commands.letters import Unburied
from processor.commands.run import leave, signalled
from processor.outcome import Reject
from processor.record import Record
from processor.settings import Settings
from processor.settings.secrets import secret_texts
from processor.telemetry.logs import configure_logs
from processor.telemetry.metrics import Metrics

__all__ = ["dry_run_processor"]

_REJECTED = 1


def dry_run_processor(settings: Settings, output: Path | None, limit: int | None) -> NoReturn:
    """Run from the oldest records on until a signal, or until `limit` events are written.

    Ends the process with 0, or with 1 where any record was rejected.
    """
    clock, told = SystemClock(), _Told()
    configure_logs(settings.telemetry, clock, secrets=secret_texts(settings))
    watch = Watch.over(settings, clock)
    with ExitStack() as stack:
        lines = stack.enter_context(output.open("w")) if output else sys.stdout
        house = dry_house(settings, watch, lines, told)
        with signalled() as ending:
            ending.tell(house.stream.stop)
            house.run(until=_enough(watch.metrics, limit))
    settled = watch.metrics.total("records_settled")
    events = watch.metrics.total("score_run_records")
    _say(f"{settled:.0f} records read, {events:.0f} events, {told.count} rejects; nothing sent.")
    leave(_REJECTED if told.count else 0)


def _enough(metrics: Metrics, limit: int | None) -> Callable[[], bool]:
    return lambda: limit is not None and metrics.total("score_run_records") >= limit


class _Told(Unburied):
    """Letters that are told on stderr in place of being written."""

    count = 0

    def send(self, letters: Sequence[tuple[Record, Reject]]) -> "_Told":
        """Tell of letters, without a word of what is in them."""
        for record, reject in letters:
            _say(f"rejected {record.origin}: {reject.stage}/{reject.reason} {reject.detail}")
        self.count += len(letters)
        return self


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201  the face of the command
