"""SIGTERM and SIGINT as a request to stop in order, instead of an exception at any point."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from processor.cli.command import ExitCode


class StopSignal:
    """Whether a signal requested a stop, and the function to call for it.

    The handler only sets flags: a handler that raises inside the Kafka client loses records.
    """

    def __init__(self) -> None:
        self.requested = False
        self._stop: Callable[[], None] | None = None

    def on_request(self, stop: Callable[[], None]) -> None:
        """Call `stop` when a stop is requested; at once if it was requested before."""
        self._stop = stop
        if self.requested:
            stop()

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal; a second one ends the process at once."""
        del number, frame
        if self.requested:
            os._exit(ExitCode.INTERRUPTED)
        self.requested = True
        if self._stop is not None:
            self._stop()


@contextmanager
def stop_signal() -> Iterator[StopSignal]:
    """Yield a StopSignal that handles SIGTERM and SIGINT."""
    stop = StopSignal()
    with _handled_by(stop.handle):
        yield stop


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM and SIGINT set."""
    requested = threading.Event()
    with _handled_by(lambda *_: requested.set()):
        yield requested


@contextmanager
def _handled_by(handler: Callable[[int, FrameType | None], Any]) -> Iterator[None]:
    before = {each: signal.signal(each, handler) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, previous in before.items():
            signal.signal(each, previous)
