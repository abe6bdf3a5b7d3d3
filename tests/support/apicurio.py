"""A real schema registry: Apicurio with its Confluent-compatible interface, in memory."""

import subprocess
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

from processor.domain.clock import SystemClock
from tests.support import java
from tests.support.waiting import until

_JAR = "registry/apicurio-registry-app-2.6.13.Final-runner.jar"
_JVM = ("-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_START_SECONDS = 60


class RealRegistry:
    """Apicurio Registry on a free loopback port; it forgets everything when it stops."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.start_seconds = 0.0
        self._log = folder / "registry.log"
        self._jar = java.resolved("registry", _JAR)
        (self._port,) = java.free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Address for a client of Confluent's registry."""
        return f"http://127.0.0.1:{self._port}/apis/ccompat/v7"

    def start(self) -> None:
        """Run the registry and return when it answers."""
        clock = SystemClock()
        begun = clock.monotonic()
        address = ("-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self._port}")
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603  a fixed command
                ["java", *_JVM, *address, "-jar", self._jar.name],  # noqa: S607  found on PATH
                cwd=self._jar.parent,
                stdout=log,
                stderr=log,
            )
        until(self._answers, seconds=_START_SECONDS, what="the registry answers")
        self.start_seconds = clock.monotonic() - begun

    def stop(self) -> None:
        """Stop the registry."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text(errors="replace")[-2000:]
        try:
            with urlopen(f"{self.url}/subjects", timeout=1) as answer:  # noqa: S310  loopback
                return bool(answer.status == 200)
        except (URLError, TimeoutError, ConnectionError):
            return False
