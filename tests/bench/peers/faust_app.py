"""The peer Faust (faust-streaming): one agent that takes batches and posts them."""
# mypy: disable-error-code="import-not-found,import-untyped,misc,untyped-decorator,no-any-return"

from typing import Any

import aiohttp
import faust
from mapping import BOOTSTRAP, GROUP, INLET, SCORES, bodies, decode, event_of

_BATCH = 1_000
_WITHIN_SECONDS = 0.1

app = faust.App(
    GROUP,
    broker=f"kafka://{BOOTSTRAP}",
    value_serializer="raw",
    web_enabled=False,
    topic_disable_leader=True,
    consumer_auto_offset_reset="earliest",
)
_scores = app.topic(SCORES, value_type=bytes, value_serializer="raw")


@app.agent(_scores)
async def deliver(stream: Any) -> None:  # noqa: ANN401  the framework's type is generic
    """Post the stream in batches."""
    async with aiohttp.ClientSession() as session:
        async for batch in stream.take(_BATCH, within=_WITHIN_SECONDS):
            for body in bodies([event_of(decode(value)) for value in batch]):
                async with session.post(
                    INLET, data=body, headers={"Content-Type": "application/json"}
                ) as answer:
                    answer.raise_for_status()
                    await answer.read()


if __name__ == "__main__":
    app.main()
