"""What all measured systems share: one broker, one sink, and what the sink has seen."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from processor.simulator.broker import EmbeddedBroker
from tests.support import java
from tests.support.kafka_cluster import RealKafka
from tests.support.waiting import until


class Sink:
    """The lean inlet in a process of its own; `delay` is how long it takes to answer."""

    def __init__(self, delay: float = 0.0, *, timed: bool = False) -> None:
        (self._port,) = java.free_ports(1)
        arguments = [str(self._port), str(delay), *(["timed"] if timed else [])]
        self._process = subprocess.Popen(  # noqa: S603  a fixed command
            [sys.executable, "-m", "tests.bench.sink_server", *arguments]
        )
        until(self._answers, seconds=20, what="the sink answers")

    @property
    def url(self) -> str:
        """Address of its inlets, without an id."""
        return f"http://127.0.0.1:{self._port}/collection"

    def seen(self) -> dict[str, Any]:
        """Return events, requests, bytes and delays so far."""
        with urlopen(f"http://127.0.0.1:{self._port}/", timeout=10) as answer:
            state: dict[str, Any] = json.load(answer)
        return state

    def reset(self) -> None:
        """Start counting from zero."""
        address = f"http://127.0.0.1:{self._port}/"
        with urlopen(Request(address, method="DELETE"), timeout=10):
            pass

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait(10)

    def _answers(self) -> bool:
        try:
            return bool(self.seen())
        except (URLError, ConnectionError):
            return False


@contextmanager
def broker(folder: Path, topics: dict[str, int], *, embedded: bool) -> Iterator[str]:
    """Run a broker with these topics and yield its address."""
    if embedded:
        with EmbeddedBroker(topics) as small:
            yield small.bootstrap
        return
    kafka = RealKafka(folder / "kafka", heap_mb=1024)
    try:
        kafka.start()
        kafka.create_topics(topics)
        yield kafka.bootstrap
    finally:
        kafka.kill()
