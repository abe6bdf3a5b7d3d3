"""One measurement: a system reads its topics from the start, watched from outside.

The window opens when the sink has seen the first tenth of the events (start-up, imports and the
group's first rebalance are over) and closes when it has seen them all, or after `seconds`. Events
per CPU-second are the events seen in the window over the CPU its process used in it.
"""

import os
import signal
import subprocess
from contextlib import suppress
from threading import Event
from typing import NamedTuple

from processor.domain.clock import SystemClock
from tests.bench import meter
from tests.bench.environment import Sink
from tests.bench.systems import System, Task
from tests.support.waiting import until

_START_SECONDS = 90
_LOOK_SECONDS = 0.05


class Limits(NamedTuple):
    """How many events there are, how many records stand for one event, and the time allowed."""

    events: int
    records_per_event: int = 1
    seconds: float = 40


class Result(NamedTuple):
    """Rates in records per second; `rss_mb` is the highest that was seen."""

    name: str
    per_cpu_second: float
    per_second: float
    rss_mb: float
    requests: int
    seen: int


def run(system: System, task: Task, sink: Sink, limits: Limits) -> Result:
    """Run a system to the end of its window and kill it; raise where nothing arrives."""
    sink.reset()
    task.folder.mkdir(parents=True, exist_ok=True)
    arguments, env = system.command(task)
    with (task.folder / "log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  commands of our own making
            arguments,
            env={**os.environ, **env},
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd=_where(task, system),
        )
    try:
        return _watched(system.name, process, sink, limits)
    except AssertionError as error:
        tail = (task.folder / "log").read_text(errors="replace")[-2_000:]
        raise AssertionError(f"{system.name}: {error}\n{tail}") from error
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its own session: it and its children only
        process.wait(10)


def _where(task: Task, system: System) -> str | None:
    return None if system.name == "this processor" else str(task.folder)


def _watched(name: str, process: subprocess.Popen[bytes], sink: Sink, limits: Limits) -> Result:
    clock, pause = SystemClock(), Event()

    def arrived() -> int:
        assert process.poll() is None, f"it ended with {process.returncode}"
        seen: int = sink.seen()["events"]
        return seen

    until(
        lambda: arrived() >= limits.events // 10,
        seconds=_START_SECONDS,
        what="the first tenth",
        every=0.01,
    )
    first, used, begun = arrived(), meter.read(process.pid), clock.monotonic()
    highest = used.rss_mb
    while (last := arrived()) < limits.events and clock.monotonic() - begun < limits.seconds:
        highest = max(highest, meter.read(process.pid).rss_mb)
        pause.wait(_LOOK_SECONDS)
    cpu = meter.read(process.pid).cpu_seconds - used.cpu_seconds
    records = (last - first) * limits.records_per_event
    elapsed = clock.monotonic() - begun
    return Result(
        name, records / max(cpu, 0.01), records / elapsed, highest, sink.seen()["requests"], last
    )
