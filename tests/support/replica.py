"""One replica of the processor as its users run it: a process with a settings file."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from tests.support.java import free_ports
from tests.support.recipe import written
from tests.support.waiting import until

_CHECKOUT = Path(__file__).parents[2]
_READY_SECONDS = 30


class Replica:
    """`python -m processor run` with a name and a folder of its own.

    A replica that is restarted keeps its folder, and with it its state.
    """

    def __init__(self, name: str, folder: Path, settings: Mapping[str, Any]) -> None:
        self.name = name
        self.folder = folder
        (self._port,) = free_ports(1)
        telemetry = {"telemetry": {"host": "127.0.0.1", "port": self._port}}
        self._config = written({**settings, **telemetry}, folder / "settings.yaml")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Return the address of its page."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def pid(self) -> int:
        """Return the process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Return True while the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self, env: Mapping[str, str] | None = None) -> None:
        """Start the process; its log goes to `log` in its folder."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  a fixed command
                [sys.executable, "-m", "processor", "run", "--config", str(self._config)],
                cwd=_CHECKOUT,
                env={**os.environ, **(env or {})},
                stdout=log,
                stderr=log,
            )

    def wait_ready(self, seconds: float = _READY_SECONDS) -> None:
        """Return once `/readyz` is 200; fail with the log where the process ends instead."""
        until(self._ready, seconds=seconds, what=f"{self.name} is ready", tell=self.log_tail)

    def kill(self) -> None:
        """Kill the process with SIGKILL."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def terminate(self, seconds: float = 30) -> int:
        """Stop it with SIGTERM and return its exit code; kill it and fail where it runs on."""
        assert self._process is not None
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.name} did not stop within {seconds:g} s.{self.log_tail()}"
            ) from None

    def metric(self, name: str, **labels: str) -> float:
        """Return the sum of a metric's samples that have these labels; 0.0 where it has none."""
        wanted = [f'{key}="{value}"' for key, value in labels.items()]
        total = 0.0
        for line in self.fetch("/metrics").splitlines():
            sample, _, value = line.rpartition(" ")
            if sample.partition("{")[0] == name and all(label in sample for label in wanted):
                total += float(value)
        return total

    def fetch(self, path: str) -> str:
        """Return a page of its HTTP server; raises URLError where it does not answer with 200."""
        with urlopen(f"http://127.0.0.1:{self._port}{path}", timeout=5) as answer:
            content: bytes = answer.read()
        return content.decode()

    def readiness(self) -> str:
        """Return what `/readyz` says, whether ready or not; empty while it does not answer."""
        try:
            return self.fetch("/readyz")
        except HTTPError as error:
            return error.read().decode()
        except (URLError, TimeoutError, ConnectionError):
            return ""

    def command(self, *arguments: str) -> tuple[int, str]:
        """Run a command with this replica's settings; return its exit code and what it printed."""
        done = subprocess.run(  # noqa: S603  a fixed command
            [sys.executable, "-m", "processor", *arguments, "--config", str(self._config)],
            cwd=_CHECKOUT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    @property
    def log_path(self) -> Path:
        """Return where the process writes its log."""
        return self.folder / "log"

    def log_tail(self) -> str:
        """Return the end of its log."""
        lines = self.log_path.read_text(errors="replace").splitlines()
        return "\n" + "\n".join(lines[-25:])

    def _ready(self) -> bool:
        assert self.running, f"{self.name} ended.{self.log_tail()}"
        try:
            self.fetch("/readyz")
        except (URLError, TimeoutError, ConnectionError):
            return False
        return True
