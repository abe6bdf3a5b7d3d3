"""`run`: the processor itself, until a signal ends it."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import structlog

from processor.app import House, Watch, live_house
from processor.clock import SystemClock
from processor.errors import StopError, UnavailableError
from processor.settings import Settings
from processor.settings.secrets import secret_texts
from processor.telemetry.health import State
from processor.telemetry.logs import configure_logs
from processor.telemetry.server import TelemetryServer

__all__ = ["leave", "run_processor", "signalled"]

ALL_SETTLED, STOPPED_ITSELF, UNSETTLED, OUR_FAULT, NOW = 0, 3, 4, 70, 130

_START_AGAIN_SECONDS = 2.0

log = structlog.get_logger()


def run_processor(settings: Settings) -> NoReturn:
    """Run until SIGTERM or SIGINT, then end the process with a code that says how it went."""
    clock = SystemClock()
    configure_logs(settings.telemetry, clock, secrets=secret_texts(settings))
    watch = Watch.over(settings, clock)
    telemetry = settings.telemetry
    server = TelemetryServer(telemetry.host, telemetry.port, watch.metrics, watch.health)
    house = _assembled(settings, watch)
    log.info("The processor is up.", page=server.url, group=settings.kafka.group_id)
    leave(_run(house))


def leave(code: int) -> NoReturn:
    """End the process at once: a Kafka client that cannot say goodbye must not keep it."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


@contextmanager
def signalled(house: House) -> Iterator[None]:
    """Let SIGTERM and SIGINT stop the loop; a second one ends the process at once.

    The handlers only set a flag: one that raises inside the Kafka client loses records.
    """
    asked = False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        del number, frame
        if asked:
            os._exit(NOW)
        asked = True
        house.stream.stop()

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _assembled(settings: Settings, watch: Watch) -> House:
    """Return the house; while the world does not answer, try again. A signal ends the process."""
    while True:
        try:
            return live_house(settings, watch)
        except UnavailableError as error:
            log.warning("The processor can not start yet; trying again.", reason=str(error))
            watch.health.becomes(State.STARTING, f"Waiting for {error}.")
            watch.health.beat()
            watch.clock.wait(_START_AGAIN_SECONDS)


def _run(house: House) -> int:
    """Return the exit code; what is not settled was not committed, however this ends."""
    try:
        with signalled(house):
            settled = house.run()
    except StopError as error:
        log.error("The processor stopped itself.", reason=str(error))  # noqa: TRY400  no fault of ours
        return STOPPED_ITSELF
    except Exception:
        log.exception("The processor crashed; nothing that was under way is committed.")
        return OUR_FAULT
    log.info("The processor has stopped.", settled=settled)
    return ALL_SETTLED if settled else UNSETTLED
