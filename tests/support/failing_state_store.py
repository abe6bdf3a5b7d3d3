"""A process that dies while it remembers; arguments are servers, folder and when.

It remembers two facts of one person, the second one while it dies: `sent` before the changelog has
it, `acknowledged` after, but before the local store has.
"""

import os
import signal
import sys
from pathlib import Path

from processor.state.state_store import ChangelogStateStore
from tests.support.state import knows, opened, ready, remembered

__all__ = ["PERSON"]

PERSON = (2, b"ECID|ann")


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _main(servers: str, folder: str, when: str) -> None:
    state_store: ChangelogStateStore = ready(opened(servers, Path(folder)), 0, 1, 2, 3)
    remembered(state_store, state_store.stage({PERSON: knows(1)}))
    state_store.store(state_store.stage({PERSON: knows(1, 2)}))
    if when == "acknowledged":
        changelog = state_store._changelog  # noqa: SLF001  to stop between its two steps
        while changelog.in_flight:
            changelog.poll(0.01)
    _die()


if __name__ == "__main__":
    _main(*sys.argv[1:])
