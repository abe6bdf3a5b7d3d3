"""The peer Quix Streams: a streaming dataframe with a batching sink; the join is stateful."""
# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from typing import Any

import requests
from mapping import BOOTSTRAP, EVENTS, GROUP, INLET, SCORES, bodies, decode, event_of, facts_of
from quixstreams import Application, State
from quixstreams.sinks.base import BatchingSink, SinkBatch

_FACTS = 64
_COMMIT_EVERY = 2_000


class _Inlet(BatchingSink):
    def __init__(self) -> None:
        super().__init__()
        self._session = requests.Session()

    def write(self, batch: SinkBatch) -> None:
        for body in bodies([item.value for item in batch]):
            answer = self._session.post(
                INLET, data=body, headers={"Content-Type": "application/json"}, timeout=60
            )
            answer.raise_for_status()


def _joined(record: dict[str, Any], state: State) -> dict[str, Any] | None:
    known: list[dict[str, Any]] = state.get("facts", [])
    if "eventType" in record:
        state.set("facts", [*known[-_FACTS + 1 :], facts_of(record)])
        return None
    return event_of(record, known)


def _main() -> None:
    app = Application(
        broker_address=BOOTSTRAP,
        consumer_group=GROUP,
        auto_offset_reset="earliest",
        commit_every=_COMMIT_EVERY,
        state_dir="state",
        loglevel="WARNING",
    )
    frame = app.dataframe(app.topic(SCORES, value_deserializer="bytes")).apply(decode)
    if EVENTS:
        events = app.dataframe(app.topic(EVENTS, value_deserializer="bytes")).apply(decode)
        frame = frame.concat(events).apply(_joined, stateful=True)
        frame = frame[frame.apply(lambda event: event is not None)]
    else:
        frame = frame.apply(event_of)
    frame.sink(_Inlet())
    app.run()


if __name__ == "__main__":
    _main()
