"""`run`: the processor itself, or with `--dry-run` everything but sending and committing."""

import gc
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, NoReturn

import structlog
import typer

from processor.app import Processor, Telemetry, build_dry_run, build_processor
from processor.cli.command import DEFAULT, ExitCode, FromFile
from processor.cli.signals import StopSignal, stop_signal
from processor.domain.clock import SystemClock
from processor.domain.errors import SettingsError, UnavailableError
from processor.domain.outcome import Reject
from processor.domain.record import Record
from processor.domain.retry import Retry, RetryPolicy
from processor.replay import CollectedDeadLetters
from processor.settings import Settings, TelemetrySettings
from processor.settings.secrets import secret_texts
from processor.telemetry.catalogue import RECORDS_SETTLED, SCORE_RUN_RECORDS
from processor.telemetry.labels import State
from processor.telemetry.logs import configure_logs
from processor.telemetry.server import TelemetryServer

_NEW_OBJECTS = 200_000
_START_RETRY = RetryPolicy(first_seconds=2.0, max_seconds=5.0)

log = structlog.get_logger()


def run(
    settings: FromFile = DEFAULT,
    *,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Send and commit nothing; print events as JSON lines."),
    ] = False,
    output: Annotated[
        Path | None, typer.Option(help="With --dry-run: write the events to this file.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="With --dry-run: stop after this many events.")
    ] = None,
) -> NoReturn:
    """Read scores and experience events from Kafka and stream score events to AEP."""
    if dry_run:
        dry_run_processor(settings, output, limit)
    run_processor(settings)


def run_processor(settings: Settings) -> NoReturn:
    """Run until SIGTERM or SIGINT, then end the process with the exit code."""
    clock = SystemClock()
    configure_logs(settings.telemetry, clock, secrets=secret_texts(settings))
    telemetry = Telemetry.create(settings, clock)
    server = _server(settings.telemetry, telemetry)
    with stop_signal() as stop:
        processor = _built(settings, telemetry, stop)
        if processor is None:
            _exit_now(ExitCode.OK)
        _tune_garbage_collection()
        log.info(
            "The processor is running.",
            code="processor_running",
            page=server.url,
            group=settings.kafka.group_id,
        )
        stop.on_request(processor.stream.stop)
        _exit_now(_run(processor))


def dry_run_processor(settings: Settings, output: Path | None, limit: int | None) -> NoReturn:
    """Run from the oldest records until a signal, or until `limit` events are written.

    Ends the process with 0, or with 1 if any record was rejected.
    """
    clock, rejects = SystemClock(), _PrintedRejects()
    configure_logs(settings.telemetry, clock, secrets=secret_texts(settings))
    telemetry = Telemetry.create(settings, clock)
    metrics = telemetry.metrics
    with ExitStack() as stack:
        lines = stack.enter_context(output.open("w")) if output else sys.stdout
        processor = build_dry_run(settings, telemetry, lines, rejects)
        with stop_signal() as stop:
            stop.on_request(processor.stream.stop)
            processor.run(
                until=lambda: limit is not None and metrics.total(SCORE_RUN_RECORDS) >= limit
            )
    settled, events = metrics.total(RECORDS_SETTLED), metrics.total(SCORE_RUN_RECORDS)
    _print(
        f"{settled:.0f} records read, {events:.0f} events, {rejects.count} rejects; nothing sent."
    )
    _exit_now(ExitCode.PROBLEMS if rejects.count else ExitCode.OK)


def _tune_garbage_collection() -> None:
    """Collect cycles rarely, and never among the objects of the start.

    Records, scores and events form no cycles; searching for cycles took a tenth of the time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 20, 50)


def _exit_now(code: ExitCode) -> NoReturn:
    """End the process at once: a Kafka client that cannot close must not delay it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _server(settings: TelemetrySettings, telemetry: Telemetry) -> TelemetryServer:
    host, port = settings.host, settings.port
    try:
        return TelemetryServer(host, port, telemetry.metrics, telemetry.health)
    except OSError as error:
        cause = (error.strerror or str(error)).lower()
        sentence = f"telemetry: the metrics page cannot be served at {host}:{port}: {cause}."
        raise SettingsError([sentence]) from error


def _built(settings: Settings, telemetry: Telemetry, stop: StopSignal) -> Processor | None:
    """Return the processor; while something is unavailable, retry until a stop is requested."""
    retry = Retry(_START_RETRY, telemetry.clock)
    while not stop.requested:
        try:
            return build_processor(settings, telemetry)
        except UnavailableError as error:
            log.warning(
                "The processor cannot start yet; retrying.", code="start_delayed", error=str(error)
            )
            telemetry.health.set_state(State.STARTING, f"Waiting for {error}.")
            telemetry.health.beat()
            telemetry.clock.wait(retry.failed())
    return None


def _run(processor: Processor) -> ExitCode:
    """Return the exit code; what is not settled is not committed, however the run ends."""
    try:
        settled = processor.run()
    except SettingsError as error:
        log.error(  # noqa: TRY400  its sentences say all
            "The processor cannot go on with its settings; nothing that was in progress is "
            "committed.",
            code="processor_settings_wrong",
            error=str(error),
        )
        return ExitCode.WRONG_SETTINGS
    except Exception:
        log.exception(
            "The processor failed; nothing that was in progress is committed.",
            code="processor_failed",
        )
        return ExitCode.PROGRAM_ERROR
    log.info("The processor has stopped.", code="processor_stopped", settled=settled)
    return ExitCode.OK if settled else ExitCode.UNSETTLED


class _PrintedRejects(CollectedDeadLetters):
    """Dead letters that are printed to standard error instead of written to Kafka."""

    count = 0

    def send(self, dead_letters: Sequence[tuple[Record, Reject]]) -> "_PrintedRejects":
        """Print position and reason of dead letters, never their content."""
        for record, reject in dead_letters:
            _print(f"rejected {record.origin}: {reject.stage}/{reject.reason} {reject.detail}")
        self.count += len(dead_letters)
        return self


def _print(sentence: str) -> None:
    print(sentence, file=sys.stderr)  # noqa: T201  command output
