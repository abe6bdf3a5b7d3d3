"""`demo`: broker, AEP simulator and processor on this machine, and a scoring history through them.

The processor runs as anybody runs it, a process of its own with a settings file; what is shown is
read from its metrics page and from the simulator, which is the judge of what arrived.

What the demo shows: a table while it runs, and a summary a newcomer understands.
"""

import json
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
from typing import Any, NamedTuple, Self

import yaml
from rich.columns import Columns
from rich.console import Console, Group, RenderableType
from rich.json import JSON
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table

from processor.domain.clock import Clock, Deadline, SystemClock
from processor.domain.errors import ProcessorError, UnavailableError
from processor.simulator.aep.process import AepProcess
from processor.simulator.environment import (
    GROUP_ID,
    EnvironmentSettings,
    SimulatedEnvironment,
    slug,
)
from processor.simulator.feed import Feed
from processor.simulator.history.settings import WEEK_MS, HistorySettings
from processor.simulator.history.history import history
from processor.simulator.history.settings import InputRecord
from processor.simulator.history.customers import SCORING_WINDOW_MS
from processor.telemetry.scrape import MetricSamples, scrape

_BUCKETS = ("low", "medium", "high")


class Moment(NamedTuple):
    """What was seen at one moment: by us, on the metrics page, and by the simulator."""

    seconds: float
    sent: dict[str, int]
    now: MetricSamples
    before_last: MetricSamples | None
    judge: dict[str, Any]
    sample: dict[str, Any] | None

    @property
    def all_accounted(self) -> bool:
        """Return whether every record that was sent has its fate."""
        return self.now.total("records_settled_total") == sum(self.sent.values())


def live_view(history_settings: HistorySettings, moment: Moment) -> RenderableType:
    """Return the table that is shown while the history plays."""
    now = moment.now
    table = Table.grid(padding=(0, 2))
    table.add_row("sent to Kafka", _count(sum(moment.sent.values())), _topics(moment))
    settled = now.total("records_settled_total")
    table.add_row("settled", _count(settled), _rate(settled, moment.seconds))
    for prediction in history_settings.predictions:
        done = now.total("items_total", route=slug(prediction), result="accepted")
        bar = ProgressBar(
            total=history_settings.customers * history_settings.runs, completed=done, width=30
        )
        table.add_row(prediction.name, _count(done), bar)
    dead = now.by("reason", "dead_letters_total")
    table.add_row("dead letters", _count(sum(dead.values())), ", ".join(sorted(dead)))
    return Panel(table, title=f"{moment.seconds:.0f} s", title_align="left")


def summary_view(
    history_settings: HistorySettings, moment: Moment, page: str, aep: str
) -> RenderableType:
    """Return what there is to say when all is played."""
    parts: list[RenderableType] = [
        _account(history_settings, moment),
        Columns([_refused(moment), _movements(history_settings, moment)], padding=(0, 2)),
    ]
    if moment.sample is not None:
        title = "One event, as the dataset has it (the last that arrived)"
        parts.append(Panel(JSON(json.dumps(moment.sample)), title=title, title_align="left"))
    parts.append(
        f"Metrics [link={page}]{page}[/link] (`/metrics`, `/readyz`), the simulated AEP "
        f"[link={aep}]{aep}[/link]; both end with the demo, `make demo KEEP=1` leaves them up."
    )
    return Group(*parts)


def _account(history_settings: HistorySettings, moment: Moment) -> Table:
    now = moment.now
    table = Table(title="What went in, and what became of it", title_justify="left")
    table.add_column("")
    table.add_column("records", justify="right")
    table.add_column("")
    for topic, count in sorted(moment.sent.items()):
        table.add_row(f"sent to `{topic}`", _count(count))
    table.add_section()
    for outcome, meaning in _FATES.items():
        table.add_row(outcome, _count(now.total("records_settled_total", outcome=outcome)), meaning)
    table.add_row("unaccounted for", _count(now.total("unaccounted_records")), "has to be 0")
    table.add_section()
    datasets = moment.judge["datasets"].values()
    accepted = sum(each["accepted"] for each in datasets)
    repeated = sum(each["repeated"] for each in datasets)
    routes = len(history_settings.predictions)
    table.add_row("events in AEP", _count(accepted), f"in {routes} datasets, one a prediction")
    table.add_row("of these twice", _count(repeated), "the same `_id` again; has to be 0")
    table.add_row("failed AEP's validation", _count(moment.judge["failedRows"]), "has to be 0")
    table.add_section()
    settled = now.total("records_settled_total")
    cpu = now.total_of("process_cpu_seconds_total")
    table.add_row("records a second", _count(settled / moment.seconds), f"{moment.seconds:.1f} s")
    table.add_row("processor time", f"{cpu:.1f} s", f"{_count(settled / cpu)} records a CPU second")
    return table


_FATES = {
    "delivered": "score records whose events AEP accepted",
    "stored": "experience events, kept as context",
    "duplicate": "came a second time, unchanged: not sent again",
    "filtered": "by a named rule",
    "dead_lettered": "rejected, with their original bytes, to the dead-letter topic",
}


def _refused(moment: Moment) -> Table:
    table = Table(title="Dead letters, and why", title_justify="left")
    table.add_column("reason")
    table.add_column("letters", justify="right")
    for reason, count in sorted(moment.now.by("reason", "dead_letters_total").items()):
        table.add_row(reason, _count(count))
    return table


def _movements(history_settings: HistorySettings, moment: Moment) -> Table:
    """Return how people moved between buckets from the run before to the last one."""
    title = f"{history_settings.predictions[0].name}: moves between the last two runs"
    table = Table(title=title, title_justify="left")
    table.add_column("from \\ to")
    for bucket in _BUCKETS:
        table.add_column(bucket, justify="right")
    route = slug(history_settings.predictions[0])
    now = moment.now.by("movement", "score_movements_total", route=route)
    before = moment.before_last
    then = before.by("movement", "score_movements_total", route=route) if before else {}
    for old in _BUCKETS:
        names = [f"stayed {old}" if old == new else f"{old} to {new}" for new in _BUCKETS]
        table.add_row(old, *(_count(now.get(each, 0) - then.get(each, 0)) for each in names))
    return table


def _topics(moment: Moment) -> str:
    return ", ".join(f"{_count(count)} {topic}" for topic, count in sorted(moment.sent.items()))


def _rate(count: float, seconds: float) -> str:
    return f"{_count(count / seconds)} a second" if seconds else ""


def _count(number: float) -> str:
    return f"{number:,.0f}"


_PARTITIONS = 12
_LOOK_SECONDS = 0.25
_READY_SECONDS = 60.0
_STOP_SECONDS = 40.0
_INTERRUPTED = 130


def run_demo(*, customers: int, runs: int, keep: bool, port: int) -> int:
    """Run the demo and return its exit code: 0 when everything that was sent had its fate."""
    console, clock = Console(), SystemClock()
    last_run_ms = HistorySettings.last_monday(clock.now_ms())
    history_settings = HistorySettings(last_run_ms=last_run_ms, customers=customers, runs=runs)
    console.print("[bold]Customer AI scores → Kafka → XDM events → AEP[/bold], on this machine\n")
    with _interruptible() as interrupted, ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="customer-ai-")))
        stage = stack.enter_context(_Stage(folder, port, clock))
        try:
            stage.wait_until_ready(interrupted)
            last = _play(stage, history_settings, console, interrupted)
            console.print(summary_view(history_settings, last, stage.url, stage.aep.url))
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
    """SimulatedEnvironment and processor, up together and down together."""

    def __init__(self, folder: Path, port: int, clock: Clock) -> None:
        self.clock = clock
        self.aep = AepProcess()
        self.environment = SimulatedEnvironment(
            self.aep, EnvironmentSettings(partitions=_PARTITIONS)
        )
        self.url = f"http://127.0.0.1:{port}"
        self._folder = folder
        self._port = port
        self._processor: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.environment.start()
        settings = self.environment.settings(self._folder / "state")
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
        self.environment.close()

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

    def metrics(self) -> MetricSamples:
        """Return the processor's metrics as they are now."""
        return scrape(self.url)


class _Player(threading.Thread):
    """Sends a history while the main thread watches, run by run: the last one is told apart."""

    def __init__(self, stage: _Stage, history_settings: HistorySettings) -> None:
        super().__init__(name="history", daemon=True)
        self.feed = Feed(stage.environment.broker.bootstrap, GROUP_ID)
        self.problem: ProcessorError | None = None
        self.before_last: MetricSamples | None = None
        self._stage = stage
        self._figures = history_settings

    def run(self) -> None:
        """Send all; a problem is left for the main thread."""
        last_week_ms = self._figures.last_run_ms - WEEK_MS + SCORING_WINDOW_MS
        records = history(self._figures)
        first_later: list[InputRecord] = []

        def earlier(record: InputRecord) -> bool:
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
    stage: _Stage, history_settings: HistorySettings, console: Console, interrupted: threading.Event
) -> Moment:
    """Play a history and show how it goes; returns the last moment."""
    player, began = _Player(stage, history_settings), stage.clock.monotonic()
    player.start()
    with Live(console=console, refresh_per_second=4) as live:
        while True:
            over = not player.is_alive() and not player.feed.lag()
            moment = _moment(stage, player, stage.clock.monotonic() - began)
            live.update(live_view(history_settings, moment))
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
