"""The peer Bytewax: a dataflow with a batching sink; the join keeps facts in a stateful map."""
# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from typing import Any

import bytewax.operators as op
import requests
from bytewax.connectors.kafka import KafkaSource, KafkaSourceMessage
from bytewax.dataflow import Dataflow
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import cluster_main
from mapping import BOOTSTRAP, EVENTS, INLET, SCORES, bodies, decode, event_of, facts_of

_BATCH = 2_000
_FACTS = 64


class _Requests(StatelessSinkPartition[dict[str, Any]]):
    def __init__(self) -> None:
        self._session = requests.Session()

    def write_batch(self, items: list[dict[str, Any]]) -> None:
        for body in bodies(items):
            answer = self._session.post(
                INLET, data=body, headers={"Content-Type": "application/json"}, timeout=60
            )
            answer.raise_for_status()


class _Inlet(DynamicSink[dict[str, Any]]):
    def build(self, step_id: str, worker_index: int, worker_count: int) -> _Requests:  # noqa: ARG002  the framework's signature
        return _Requests()


def _source(topic: str) -> KafkaSource:
    return KafkaSource([BOOTSTRAP], [topic], tail=True, batch_size=_BATCH)


def _keyed(message: KafkaSourceMessage) -> tuple[str, dict[str, Any]]:
    return (message.key or b"").decode(), decode(message.value)


def _joined(
    past: list[dict[str, Any]] | None, record: dict[str, Any]
) -> tuple[list[dict[str, Any]], dict[str, Any] | None]:
    known = past or []
    if "eventType" in record:
        return [*known[-_FACTS + 1 :], facts_of(record)], None
    return known, event_of(record, known)


def _flow() -> Dataflow:
    flow = Dataflow("bench")
    scores = op.input("scores", flow, _source(SCORES))
    if EVENTS:
        both = op.merge("both", scores, op.input("events", flow, _source(EVENTS)))
        keyed = op.map("keyed", both, _keyed)
        out = op.filter_map("made", op.stateful_map("join", keyed, _joined), lambda pair: pair[1])
    else:
        out = op.map("made", scores, lambda message: event_of(decode(message.value)))
    op.output("inlet", out, _Inlet())
    return flow


if __name__ == "__main__":
    cluster_main(_flow(), [], 0)
