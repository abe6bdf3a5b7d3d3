"""`run --dry-run`: all but the POST; events as JSON lines, rejects told, no trace left in Kafka.

`run`: the processor itself, until a signal ends it.
"""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import NoReturn

import structlog

from processor.app import Processor, Telemetry, build_dry_run, build_processor
from processor.domain.clock import SystemClock
from processor.domain.errors import SettingsError, StopError, UnavailableError
from processor.domain.outcome import Reject
from processor.domain.record import Record
from processor.domain.retry import Retry, RetryPolicy
from processor.replay import CollectedDeadLetters
from processor.settings import Settings, TelemetrySettings
from processor.settings.secrets import secret_texts
from processor.telemetry.health import State
from processor.telemetry.logs import configure_logs
from processor.telemetry.metrics import Metrics
from processor.telemetry.server import TelemetryServer

ALL_SETTLED, STOPPED_ITSELF, UNSETTLED, OUR_FAULT, NOW = 0, 3, 4, 70, 130

_NEW_OBJECTS = 200_000
_START_RETRY = RetryPolicy(first_seconds=2.0, max_seconds=5.0)

log = structlog.get_logger()


class Ending:
    """Whether a signal asked for the end, and whom to tell of it.

    It only sets flags: a signal handler that raises inside the Kafka client loses records.
    """

    def __init__(self) -> None:
        self.asked = False
        self._stop: Callable[[], None] | None = None

    def tell(self, stop: Callable[[], None]) -> None:
        """Name who is to be told; at once, where the end was asked for already."""
        self._stop = stop
        if self.asked:
            stop()

    def ask(self, number: int, frame: FrameType | None) -> None:
        """Hear a signal; a second one ends the process at once."""
        del number, frame
        if self.asked:
            os._exit(NOW)
        self.asked = True
        if self._stop is not None:
            self._stop()


def run_processor(settings: Settings) -> NoReturn:
    """Run until SIGTERM or SIGINT, then end the process with a code that says how it went."""
    clock = SystemClock()
    configure_logs(settings.telemetry, clock, secrets=secret_texts(settings))
    telemetry = Telemetry.create(settings, clock)
    server = _server(settings.telemetry, telemetry)
    with signalled() as ending:
        processor = _assembled(settings, telemetry, ending)
        if processor is None:
            leave(ALL_SETTLED)
        calm_collector()
        log.info("The processor is up.", page=server.url, group=settings.kafka.group_id)
        ending.tell(processor.stream.stop)
        leave(_run(processor))


def calm_collector() -> None:
    """Let the cycle collector look seldom, and never at what start-up made.

    Records, scores and events form no cycles; looking for some took a tenth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 50)


def leave(code: int) -> NoReturn:
    """End the process at once: a Kafka client that cannot say goodbye must not keep it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def signalled() -> Iterator[Ending]:
    """Let SIGTERM and SIGINT ask for the end, in order; a second one ends the process at once."""
    ending = Ending()
    before = {each: signal.signal(each, ending.ask) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield ending
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _server(settings: TelemetrySettings, telemetry: Telemetry) -> TelemetryServer:
    host, port = settings.host, settings.port
    try:
        return TelemetryServer(host, port, telemetry.metrics, telemetry.health)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        sentence = f"telemetry: the metrics page cannot be served at {host}:{port}: {why}."
        raise SettingsError([sentence]) from error


def _assembled(settings: Settings, telemetry: Telemetry, ending: Ending) -> Processor | None:
    """Return the house; while the world does not answer, try again until the end is asked for."""
    retry = Retry(_START_RETRY, telemetry.clock)
    while not ending.asked:
        try:
            return build_processor(settings, telemetry)
        except UnavailableError as error:
            log.warning("The processor can not start yet; trying again.", reason=str(error))
            telemetry.health.set_state(State.STARTING, f"Waiting for {error}.")
            telemetry.health.beat()
            telemetry.clock.wait(retry.failed())
    return None


def _run(processor: Processor) -> int:
    """Return the exit code; what is not settled was not committed, however this ends."""
    try:
        settled = processor.run()
    except StopError as error:
        log.error("The processor stopped itself.", reason=str(error))  # noqa: TRY400  no fault of ours
        return STOPPED_ITSELF
    except Exception:
        log.exception("The processor crashed; nothing that was under way is committed.")
        return OUR_FAULT
    log.info("The processor has stopped.", settled=settled)
    return ALL_SETTLED if settled else UNSETTLED


_REJECTED = 1


def dry_run_processor(settings: Settings, output: Path | None, limit: int | None) -> NoReturn:
    """Run from the oldest records on until a signal, or until `limit` events are written.

    Ends the process with 0, or with 1 where any record was rejected.
    """
    clock, told = SystemClock(), _Told()
    configure_logs(settings.telemetry, clock, secrets=secret_texts(settings))
    telemetry = Telemetry.create(settings, clock)
    with ExitStack() as stack:
        lines = stack.enter_context(output.open("w")) if output else sys.stdout
        processor = build_dry_run(settings, telemetry, lines, told)
        with signalled() as ending:
            ending.tell(processor.stream.stop)
            processor.run(until=_enough(telemetry.metrics, limit))
    settled = telemetry.metrics.total("records_settled")
    events = telemetry.metrics.total("score_run_records")
    _say(f"{settled:.0f} records read, {events:.0f} events, {told.count} rejects; nothing sent.")
    leave(_REJECTED if told.count else 0)


def _enough(metrics: Metrics, limit: int | None) -> Callable[[], bool]:
    return lambda: limit is not None and metrics.total("score_run_records") >= limit


class _Told(CollectedDeadLetters):
    """Letters that are told on stderr in place of being written."""

    count = 0

    def send(self, dead_letters: Sequence[tuple[Record, Reject]]) -> "_Told":
        """Tell of letters, without a word of what is in them."""
        for record, reject in dead_letters:
            _say(f"rejected {record.origin}: {reject.stage}/{reject.reason} {reject.detail}")
        self.count += len(dead_letters)
        return self


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201  the face of the command
