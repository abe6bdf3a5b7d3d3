"""`run`: the processor itself, until a signal ends it."""

import gc
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

import structlog

from processor.app import House, Watch, live_house
from processor.clock import SystemClock
from processor.errors import SettingsError, StopError, UnavailableError
from processor.settings import Settings, TelemetrySettings
from processor.settings.secrets import secret_texts
from processor.telemetry.health import State
from processor.telemetry.logs import configure_logs
from processor.telemetry.server import TelemetryServer

__all__ = ["Ending", "calm_collector", "leave", "run_processor", "signalled"]

ALL_SETTLED, STOPPED_ITSELF, UNSETTLED, OUR_FAULT, NOW = 0, 3, 4, 70, 130

_NEW_OBJECTS = 200_000
_START_AGAIN_SECONDS = 2.0

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
    watch = Watch.over(settings, clock)
    server = _server(settings.telemetry, watch)
    with signalled() as ending:
        house = _assembled(settings, watch, ending)
        if house is None:
            leave(ALL_SETTLED)
        calm_collector()
        log.info("The processor is up.", page=server.url, group=settings.kafka.group_id)
        ending.tell(house.stream.stop)
        leave(_run(house))


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


def _server(telemetry: TelemetrySettings, watch: Watch) -> TelemetryServer:
    host, port = telemetry.host, telemetry.port
    try:
        return TelemetryServer(host, port, watch.metrics, watch.health)
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        sentence = f"telemetry: the metrics page cannot be served at {host}:{port}: {why}."
        raise SettingsError([sentence]) from error


def _assembled(settings: Settings, watch: Watch, ending: Ending) -> House | None:
    """Return the house; while the world does not answer, try again until the end is asked for."""
    while not ending.asked:
        try:
            return live_house(settings, watch)
        except UnavailableError as error:
            log.warning("The processor can not start yet; trying again.", reason=str(error))
            watch.health.becomes(State.STARTING, f"Waiting for {error}.")
            watch.health.beat()
            watch.clock.wait(_START_AGAIN_SECONDS)
    return None


def _run(house: House) -> int:
    """Return the exit code; what is not settled was not committed, however this ends."""
    try:
        settled = house.run()
    except StopError as error:
        log.error("The processor stopped itself.", reason=str(error))  # noqa: TRY400  no fault of ours
        return STOPPED_ITSELF
    except Exception:
        log.exception("The processor crashed; nothing that was under way is committed.")
        return OUR_FAULT
    log.info("The processor has stopped.", settled=settled)
    return ALL_SETTLED if settled else UNSETTLED
