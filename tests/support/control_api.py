"""A client of the simulated control APIs for tests of what is read through it."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from processor.domain.errors import UnavailableError
from tests.support.aep_caller import AepCaller


class Answered(NamedTuple):
    """The decoded JSON of an answer."""

    document: Any


class SimulatorApi:
    """Calls the simulator; `paths` are the requests made, `UnavailableError` what is no 200."""

    def __init__(self, caller: AepCaller) -> None:
        self._caller = caller
        self.paths: list[str] = []

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """Return the answer to a GET."""
        full = f"{path}?{urlencode(query)}" if query else path
        self.paths.append(full)
        response = self._caller.call("GET", full, None, **dict(headers or {}))
        if response.status != 200:
            raise UnavailableError("AEP", f"{response.status}")
        return Answered(response.json)
