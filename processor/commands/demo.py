"""`demo`: broker, AEP simulator and processor on this machine, and a scoring history through them.

The processor runs as anybody runs it, a process of its own with a settings file; what is shown is
read from its metrics page and from the simulator, which is the judge of what arrived.
"""

import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import chain, takewhile
from pathlib import Path
from types import FrameType
from typing import Self

import yaml
from rich.console import Console
from rich.live import Live

from processor.clock import Clock, Deadline, SystemClock
from processor.commands.demo_view import Moment, live_view, summary_view
from processor.errors import ProcessorError, UnavailableError
from processor.sandbox.aep.process import AepProcess
from processor.sandbox.feed import Feed
from processor.sandbox.history.figures import WEEK_MS, Figures
from processor.sandbox.history.history import history
from processor.sandbox.history.sent import Sent
from processor.sandbox.history.visits import QUIET_MS
from processor.sandbox.sandbox import GROUP_ID, Sandbox, SandboxSettings
from processor.telemetry.scrape import Reading, scrape

__all__ = ["run_demo"]

_PARTITIONS = 12
_LOOK_SECONDS = 0.25
_READY_SECONDS = 60.0
_STOP_SECONDS = 40.0
_INTERRUPTED = 130


def run_demo(*, customers: int, runs: int, keep: bool, port: int) -> int:
    """Run the demo and return its exit code: 0 when everything that was sent had its fate."""
    console, clock = Console(), SystemClock()
    last_run_ms = Figures.last_monday(clock.now_ms())
    figures = Figures(last_run_ms=last_run_ms, customers=customers, runs=runs)
    console.print("[bold]Customer AI scores → Kafka → XDM events → AEP[/bold], on this machine\n")
    with _interruptible() as interrupted, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="customer-ai-")))
        stage = stack.enter_context(_Stage(folder, port, clock))
        try:
            stage.wait_until_ready(interrupted)
            last = _play(stage, figures, console, interrupted)
            console.print(summary_view(figures, last, stage.url, stage.aep.url))
            if keep:
                console.print("It stays up until Ctrl-C.")
                interrupted.wait()
        except UnavailableError as error:
            console.print(f"[red]The demo ended early:[/red] {error}\n{stage.log_tail()}")
            return 1
    if interrupted.is_set() and not keep:
        return _INTERRUPTED
    return 0 if last.all_accounted else 1


class _Stage:
    """Sandbox and processor, up together and down together."""

    def __init__(self, folder: Path, port: int, clock: Clock) -> None:
        self.clock = clock
        self.aep = AepProcess()
        self.sandbox = Sandbox(self.aep, SandboxSettings(partitions=_PARTITIONS))
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._port = port
        self._processor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.sandbox.start()
        settings = self.sandbox.settings(self._folder / "state")
        settings["telemetry"] = {"port": self._port}
        file = self._folder / "settings.yaml"
        file.write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "processor", "run", "--config", str(file)]
        with self._log.open("wb") as log:
            # A group of its own: Ctrl-C is for the demo, which then stops it in order.
            self._processor = subprocess.Popen(  # noqa: S603  our own command
                command, stdout=log, stderr=log, start_new_session=True
            )
        return self

    def __exit__(self, *_: object) -> None:
        if self._processor is not None and self._processor.poll() is None:
            self._processor.terminate()
            try:
                self._processor.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._processor.kill()
        self.sandbox.close()

    @property
    def _log(self) -> Path:
        return self._folder / "processor.log"

    def log_tail(self) -> str:
        """Return the last lines the processor logged."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-12:])

    def wait_until_ready(self, interrupted: threading.Event) -> None:
        """Wait for the metrics page; UnavailableError where the processor does not come up."""
        deadline = Deadline(self.clock, _READY_SECONDS)
        while not interrupted.wait(_LOOK_SECONDS):
            self.check()
            try:
                if self.metrics().total("ready", reason="ready"):
                    return
            except UnavailableError:
                if deadline.over():
                    raise

    def check(self) -> None:
        """Raise UnavailableError where the processor has ended."""
        if self._processor is not None and self._processor.poll() is not None:
            code = self._processor.returncode
            raise UnavailableError("processor", f"it ended with exit code {code}")

    def metrics(self) -> Reading:
        """Return the processor's metrics as they are now."""
        return scrape(self.url)


class _Player(threading.Thread):
    """Sends a history while the main thread watches, run by run: the last one is told apart."""

    def __init__(self, stage: _Stage, figures: Figures) -> None:
        super().__init__(name="history", daemon=True)
        self.feed = Feed(stage.sandbox.broker.bootstrap, GROUP_ID)
        self.problem: ProcessorError | None = None
        self.before_last: Reading | None = None
        self._stage = stage
        self._figures = figures

    def run(self) -> None:
        """Send all; a problem is left for the main thread."""
        last_week_ms = self._figures.last_run_ms - WEEK_MS + QUIET_MS
        records = history(self._figures)
        first_later: list[Sent] = []

        def earlier(record: Sent) -> bool:
            if record.timestamp_ms <= last_week_ms:
                return True
            first_later.append(record)
            return False

        try:
            self.feed.send(takewhile(earlier, records))
            if self._drained():
                self.before_last = self._stage.metrics()
                self.feed.send(chain(first_later, records))
        except ProcessorError as error:
            self.problem = error

    def _drained(self) -> bool:
        while self.feed.lag() and not self.feed.stopped:
            self._stage.clock.wait(_LOOK_SECONDS)
        return not self.feed.stopped


def _play(
    stage: _Stage, figures: Figures, console: Console, interrupted: threading.Event
) -> Moment:
    """Play a history and show how it goes; returns the last moment."""
    player, began = _Player(stage, figures), stage.clock.monotonic()
    player.start()
    with Live(console=console, refresh_per_second=4) as live:
        while True:
            over = not player.is_alive() and not player.feed.lag()
            moment = _moment(stage, player, stage.clock.monotonic() - began)
            live.update(live_view(figures, moment))
            if player.problem is not None:
                raise player.problem
            if over or interrupted.wait(_LOOK_SECONDS):
                break
            stage.check()
    player.feed.stop()
    player.join()
    player.feed.close()
    return moment


def _moment(stage: _Stage, player: _Player, seconds: float) -> Moment:
    return Moment(
        seconds=seconds,
        sent=dict(player.feed.sent),
        now=stage.metrics(),
        before_last=player.before_last,
        judge=stage.aep.summary(),
        sample=next(iter(stage.aep.events(last=1)), None),
    )


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """Turn Ctrl-C and SIGTERM into an event, so that everything is taken down in order."""
    asked = threading.Event()

    def note(number: int, frame: FrameType | None) -> None:
        del number, frame
        asked.set()

    before = {each: signal.signal(each, note) for each in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
