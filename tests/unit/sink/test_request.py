import json

import pytest

from processor.sink.request import Envelope
from tests.support.score_events import score_events
from tests.support.settings import settings_with


def _envelope() -> Envelope:
    settings = settings_with({"aep/source_name": 'quote " and é'})
    return Envelope(settings.aep, settings.routes[0])


def test_every_event_is_wrapped_in_the_message_adobe_documents() -> None:
    events = score_events(2)

    body = json.loads(_envelope().wrap(events))

    schema = {
        "id": "https://ns.adobe.com/acme/schemas/1",
        "contentType": "application/vnd.adobe.xed-full+json;version=1",
    }
    assert list(body) == ["messages"]
    assert body["messages"][1] == {
        "header": {
            "schemaRef": schema,
            "imsOrgId": "0123456789ABCDEF01234567@AdobeOrg",
            "datasetId": "dataset-1",
            "flowId": "flow-1",
            "source": {"name": 'quote " and é'},
        },
        "body": {"xdmMeta": {"schemaRef": schema}, "xdmEntity": json.loads(events[1].body)},
    }


@pytest.mark.parametrize("count", [1, 2, 7])
def test_the_size_of_a_body_is_known_before_it_is_made(count: int) -> None:
    envelope, events = _envelope(), score_events(count, size=333)

    size = envelope.fixed_overhead + sum(
        len(event.body) + envelope.event_overhead for event in events
    )

    assert len(envelope.wrap(events)) == size
