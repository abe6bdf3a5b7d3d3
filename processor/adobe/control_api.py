"""What is used of the client of the control APIs, so that tests can put another in its place."""

from collections.abc import Mapping
from typing import Any, Protocol


class Answer(Protocol):
    """What is used of an answer: its decoded JSON."""

    @property
    def document(self) -> Any: ...  # noqa: ANN401, D102  JSON


class ControlApi(Protocol):
    """What is used of the client of the control APIs."""

    async def get(
        self,
        path: str,
        query: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer to a GET; raises where it is not a success."""
        ...
