"""`demo`: broker, AEP simulator and processor on this machine, and a scoring history for them.

The processor runs as users run it, in a process of its own with a settings file. What is shown is
read from its metrics page and from the simulator.
"""

import subprocess
import sys
import tempfile
import threading
from contextlib import ExitStack
from itertools import chain, takewhile
from pathlib import Path
from typing import Annotated, Self
from uuid import uuid4

import typer
import yaml
from rich.console import Console
from rich.live import Live

from processor.cli.check import any_failed, print_results
from processor.cli.cja import cja_results, delivered_by_route
from processor.cli.command import ExitCode
from processor.cli.demo_view import Snapshot, live_view, summary_view
from processor.cli.signals import stop_requested
from processor.domain.check_result import CheckStatus
from processor.domain.clock import Clock, Deadline, SystemClock
from processor.domain.errors import ProcessorError, UnavailableError
from processor.settings.load import load_settings
from processor.simulator.aep.cja_api import CjaConnection, CjaDataset, CjaState
from processor.simulator.aep.process import AepProcess
from processor.simulator.environment import EnvironmentSettings, SimulatedEnvironment
from processor.simulator.history.customers import SCORING_WINDOW_MS
from processor.simulator.history.history import history
from processor.simulator.history.settings import WEEK_MS, HistorySettings, InputRecord
from processor.telemetry.catalogue import READY
from processor.telemetry.scrape import MetricSamples, scrape

_PARTITIONS = 12
_POLL_SECONDS = 0.25
_READY_SECONDS = 60.0
_STOP_SECONDS = 40.0


def demo(
    *,
    customers: Annotated[int, typer.Option(min=100, help="Customers in the history.")] = 20_000,
    runs: Annotated[int, typer.Option(min=2, help="Weekly scoring runs in the history.")] = 6,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep everything running until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option(help="Port of the metrics page.")] = 9400,
    record: Annotated[
        Path | None,
        typer.Option(
            help="Append each control request and its answer to this file, as NDJSON.",
            metavar="FILE",
        ),
    ] = None,
) -> int:
    """Run broker, AEP simulator, processor and a scoring history on this machine."""
    console, clock = Console(), SystemClock()
    console.print("[bold]Customer AI scores → Kafka → XDM events → AEP[/bold], on this machine\n")
    with stop_requested() as stopped, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="customer-ai-")))
        systems = stack.enter_context(_Systems(folder, port, clock, record))
        settings = systems.environment.history_settings(
            clock.now_ms(), customers=customers, runs=runs
        )
        try:
            systems.wait_until_ready(stopped)
            last = _send_history(systems, settings, console, stopped)
            console.print(summary_view(settings, last, systems.url, systems.aep.url))
            verified = systems.verify(console)
            if keep:
                console.print("Everything keeps running until Ctrl-C.")
                stopped.wait()
        except UnavailableError as error:
            console.print(f"[red]The demo failed:[/red] {error}\n{systems.log_tail()}")
            return ExitCode.PROBLEMS
    if stopped.is_set() and not keep:
        return ExitCode.INTERRUPTED
    return ExitCode.OK if last.complete and verified else ExitCode.PROBLEMS


class _Systems:
    """Broker, simulator and processor, started and stopped together."""

    def __init__(self, folder: Path, port: int, clock: Clock, record: Path | None) -> None:
        self.clock = clock
        self.aep = AepProcess()
        self.environment = SimulatedEnvironment(
            self.aep, EnvironmentSettings(partitions=_PARTITIONS)
        )
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._port = port
        self._record = record
        self._file = folder / "settings.yaml"
        self._log = folder / "processor.log"
        self._processor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.environment.start()
        settings = self.environment.settings(self._folder / "state")
        settings["telemetry"] = {"port": self._port}
        if self._record is not None:
            settings["aep"]["record_file"] = str(self._record.absolute())
        self._file.write_text(yaml.safe_dump(settings))
        command = [sys.executable, "-m", "processor", "run", "--config", str(self._file)]
        with self._log.open("wb") as log:
            # In its own process group: Ctrl-C goes to the demo only, which stops it in order.
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
        self.environment.close()

    def log_tail(self) -> str:
        """Return the last lines of the processor's log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-12:])

    def wait_until_ready(self, stopped: threading.Event) -> None:
        """Wait for the processor; UnavailableError if it does not get ready in time."""
        deadline = Deadline(self.clock, _READY_SECONDS)
        while not stopped.wait(_POLL_SECONDS):
            self.check()
            try:
                if self.metrics().total(READY, state="ready"):
                    return
            except UnavailableError:
                if deadline.over():
                    raise

    def verify(self, console: Console) -> bool:
        """Connect the datasets in the simulated CJA, and return whether `cja verify` finds all."""
        routes = self.environment.settings(self._folder)["routes"]
        scores = [CjaDataset(route["dataset_id"], route["name"]) for route in routes]
        connection = CjaConnection(
            str(uuid4()), "Customer AI", (*scores, CjaDataset("web", "Web events"))
        )
        self.aep.set_cja(CjaState(connections=(connection,)))
        settings = load_settings(self._file)
        results = cja_results(settings, delivered_by_route(settings, [self.url]))
        good = not any_failed(results)
        passed = sum(result.mark is CheckStatus.OK for result in results)
        console.print(f"`cja verify`, with the datasets connected in a simulated CJA: {passed} of "
                      f"{len(results)} checks passed.")  # fmt: skip
        if passed < len(results):
            print_results(results, as_json=False)
        return good

    def check(self) -> None:
        """Raise UnavailableError if the processor has ended."""
        if self._processor is not None and self._processor.poll() is not None:
            code = self._processor.returncode
            raise UnavailableError("processor", f"it ended with exit code {code}")

    def metrics(self) -> MetricSamples:
        """Return the current metrics of the processor."""
        return scrape(self.url)


class _Sender(threading.Thread):
    """Sends a history on its own thread; takes the metrics before the last run."""

    def __init__(self, systems: _Systems, settings: HistorySettings) -> None:
        super().__init__(name="history", daemon=True)
        self.feed = systems.environment.feed()
        self.error: ProcessorError | None = None
        self.before_last_run: MetricSamples | None = None
        self._systems = systems
        self._settings = settings

    def run(self) -> None:
        """Send all records; an error is left in `error`."""
        last_week_ms = self._settings.last_run_ms - WEEK_MS + SCORING_WINDOW_MS
        records = history(self._settings)
        first_of_last_week: list[InputRecord] = []

        def is_earlier(record: InputRecord) -> bool:
            if record.timestamp_ms <= last_week_ms:
                return True
            first_of_last_week.append(record)
            return False

        try:
            self.feed.send(takewhile(is_earlier, records))
            while self.feed.lag() and not self.feed.stopped:
                self._systems.clock.wait(_POLL_SECONDS)
            if not self.feed.stopped:
                self.before_last_run = self._systems.metrics()
                self.feed.send(chain(first_of_last_week, records))
        except ProcessorError as error:
            self.error = error


def _send_history(
    systems: _Systems, settings: HistorySettings, console: Console, stopped: threading.Event
) -> Snapshot:
    """Send a history and show the progress; returns the last snapshot."""
    sender, start = _Sender(systems, settings), systems.clock.monotonic()
    sender.start()
    with Live(console=console, refresh_per_second=4) as live:
        while True:
            over = not sender.is_alive() and not sender.feed.lag()
            snapshot = Snapshot(
                seconds=systems.clock.monotonic() - start,
                sent=dict(sender.feed.sent),
                metrics=systems.metrics(),
                before_last_run=sender.before_last_run,
                accepted=systems.aep.summary(),
                last_event=next(iter(systems.aep.events(last=1)), None),
            )
            live.update(live_view(settings, snapshot))
            if sender.error is not None:
                raise sender.error
            if over or stopped.wait(_POLL_SECONDS):
                break
            systems.check()
    sender.feed.stop()
    sender.join()
    sender.feed.close()
    return snapshot
