"""A process that is killed while it stores state; arguments are servers, folder and when.

It stores two facts of one person, the second one when it is killed: `sent` before the changelog has
it, `acknowledged` after that, but before the local store has it.
"""

import os
import signal
import sys
from pathlib import Path

from processor.state.state_store import ChangelogStateStore
from tests.support.state import open_store, person_with, restored, store_and_wait

PERSON = (2, b"ECID|ann")


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _main(servers: str, folder: str, when: str) -> None:
    state_store: ChangelogStateStore = restored(open_store(servers, Path(folder)), 0, 1, 2, 3)
    store_and_wait(state_store, state_store.stage({PERSON: person_with(1)}))
    state_store.store(state_store.stage({PERSON: person_with(1, 2)}))
    if when == "acknowledged":
        changelog = state_store._changelog  # noqa: SLF001  to stop between its two steps
        while changelog.in_flight:
            changelog.poll(0.01)
    _kill()


if __name__ == "__main__":
    _main(*sys.argv[1:])
