"""The simulator in a process of its own, so that it takes no CPU time from the process under test.

Run as a module, it reads its settings as JSON from the first argument and writes its address to
stdout. It ends when its standard input is closed, so it never outlives the process that started it.
"""

import http.client
import os
import subprocess
import sys
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec

from processor.domain.errors import UnavailableError
from processor.simulator.aep.cja_api import CjaState
from processor.simulator.aep.control import Registration
from processor.simulator.aep.faults import ScriptedFault
from processor.simulator.aep.organisation import Dataset, Organisation, StreamingConnection
from processor.simulator.aep.simulator import AepSimulator, SimulatorSettings

_TIMEOUT_SECONDS = 60.0


class AepProcess:
    """Runs `AepSimulator` in another process and queries it over HTTP.

    Registrations before `start` are sent at start. The process ends with the one that started it.
    """

    def __init__(self, settings: SimulatorSettings | None = None) -> None:
        self.settings = settings or SimulatorSettings()
        self.organisation = Organisation(permissive=self.settings.permissive)
        self.url = ""
        self._process: subprocess.Popen[bytes] | None = None
        self._registrations: list[Registration] = []

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> Self:
        """Start the process; raises `UnavailableError` if it does not write its address."""
        command = [sys.executable, "-m", "processor.simulator.aep.process"]
        self._process = subprocess.Popen(  # noqa: S603  our own module, our own settings
            [*command, msgspec.json.encode(self.settings).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the process that started it, which then ends it
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        line = self._process.stdout.readline() if self._process.stdout else b""
        if not line:
            self.close()
            raise UnavailableError("AEP simulator", "its process ended at once")
        self.url = msgspec.json.decode(line)["url"]
        for registration in self._registrations:
            self._request("POST", "/_simulator/register", registration)
        return self

    def close(self) -> None:
        """End the process; calling it twice is fine."""
        if self._process is None:
            return
        self._process.communicate(timeout=_TIMEOUT_SECONDS)
        self._process = None

    def register(
        self,
        *,
        inlet_id: str,
        flow_id: str,
        dataset: Dataset,
        authentication_required: bool = True,
    ) -> None:
        """Create, or replace, an inlet, a dataset and the flow between them."""
        registration = Registration(
            StreamingConnection(inlet_id, authentication_required), flow_id, dataset
        )
        self._registrations.append(registration)
        if self.url:
            self._request("POST", "/_simulator/register", registration)

    def inlet_url(self, inlet_id: str) -> str:
        """Return the address of an inlet, as a connection's `inletUrl` has it."""
        return f"{self.url}/collection/{inlet_id}"

    def add_faults(self, *faults: ScriptedFault) -> None:
        """Activate faults."""
        self._request("POST", "/_simulator/faults", faults)

    def clear_faults(self) -> None:
        """End all faults."""
        self._request("DELETE", "/_simulator/faults")

    def set_cja(self, state: CjaState) -> None:
        """Put connections, and what the credential may do in CJA, in place of the present ones."""
        self._request("PUT", "/_simulator/cja", state)

    def expire_tokens(self) -> None:
        """Make every token expire now."""
        self._request("POST", "/_simulator/expire-tokens")

    def summary(self) -> dict[str, Any]:
        """Return the counts of `GET /_simulator/accepted`."""
        counts: dict[str, Any] = self._request("GET", "/_simulator/accepted")
        return counts

    def events(self, dataset_id: str | None = None, last: int = 20) -> list[dict[str, Any]]:
        """Return the last accepted events, decoded, oldest first."""
        query = f"&dataset={dataset_id}" if dataset_id else ""
        events: list[dict[str, Any]] = self._request(
            "GET", f"/_simulator/events?last={last}{query}"
        )
        return events

    def failed_rows(self, dataset_id: str | None = None) -> list[dict[str, Any]]:
        """Return the accepted messages that failed validation, with `_errors`, oldest first."""
        query = f"?dataset={dataset_id}" if dataset_id else ""
        rows: list[dict[str, Any]] = self._request("GET", f"/_simulator/failed{query}")
        return rows

    def _request(self, method: str, path: str, content: object = None) -> Any:  # noqa: ANN401  JSON
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=_TIMEOUT_SECONDS)
        try:
            body = None if content is None else msgspec.json.encode(content)
            connection.request(method, path, body)
            response = connection.getresponse()
            text = response.read()
        except OSError as error:
            raise UnavailableError("AEP simulator", str(error)) from error
        finally:
            connection.close()
        if response.status >= http.client.BAD_REQUEST:
            raise UnavailableError("AEP simulator", f"{path}: {text.decode()}")
        return msgspec.json.decode(text)


def _main() -> None:
    text = sys.argv[1] if len(sys.argv) > 1 else "{}"
    settings = msgspec.json.decode(text, type=SimulatorSettings)
    with AepSimulator(settings=settings) as simulator:
        sys.stdout.write(msgspec.json.encode({"url": simulator.url}).decode() + "\n")
        sys.stdout.flush()
        sys.stdin.read()


if __name__ == "__main__":
    _main()
