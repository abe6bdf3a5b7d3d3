"""Experience events of Customer AI's four inputs, as byte templates with five slots.

The slots are, in this order: `_id`, timestamp, ECID, CRM id, loyalty tier; then the order id if the
template is an order. The rows have the layout of the Analytics and Audience Manager source
connectors and of Experience Event (EE) and Consumer Experience Event (CEE) datasets.
"""

from collections.abc import Callable

import msgspec


class EventTemplate(msgspec.Struct, frozen=True):
    """Something a customer does, on one of `pages`; `measures` and `click` are its XDM."""

    name: str
    event_type: str
    pages: tuple[str, ...]
    measures: str = ""
    click: str = ""
    order: bool = False


_ITEMS = (
    '"productListItems":[{"SKU":"FIB-500","name":"Fibre 500","quantity":1,"priceTotal":39.9,'
    '"currencyCode":"EUR"}],'
)
_ORDER = (
    '"commerce":{"purchases":{"value":1},"order":{"purchaseID":"%b","currencyCode":"EUR",'
    '"priceTotal":39.9}},'
)
EVENT_TYPES = (
    EventTemplate(
        "browse", "web.webpagedetails.pageViews", ("Home", "Plans", "Devices", "Coverage map")
    ),
    EventTemplate(
        "view",
        "commerce.productViews",
        ("Product: Fibre 500", "Product: Fibre 1000", "Plan comparison"),
        f'"commerce":{{"productViews":{{"value":1}}}},{_ITEMS}',
    ),
    EventTemplate(
        "search",
        "web.webpagedetails.pageViews",
        ("Search results",),
        '"search":{"keywords":"fibre 1000 price"},',
    ),
    EventTemplate(
        "checkout",
        "commerce.checkouts",
        ("Checkout",),
        f'"commerce":{{"checkouts":{{"value":1}}}},{_ITEMS}',
    ),
    EventTemplate(
        "order", "commerce.purchases", ("Order confirmation",), _ORDER + _ITEMS, order=True
    ),
    EventTemplate(
        "leave",
        "web.webinteraction.linkClicks",
        ("Help: cancel my contract", "Help: outages", "Help: bills"),
        click='"webInteraction":{"name":"Contact us","type":"other","linkClicks":{"value":1}},',
    ),
)


def _analytics(event: EventTemplate, page: str, tenant: str) -> str:
    del tenant
    return (
        '{"_id":"%b","timestamp":"%b","endUserIDs":{"_experience":{"mcid":{"id":"%b",'
        '"namespace":{"code":"ECID"},"primary":true},"aacustomid":{"id":"%b","namespace":'
        '{"code":"CRMID"}}}},"_experience":{"analytics":{"customDimensions":{"eVars":{"eVar1":"%b",'
        '"eVar7":"logged in"}},"event1to100":{"event1":{"value":1}},"session":{"num":3}}},'
        '"channel":{"_id":"https://ns.adobe.com/xdm/channels/web","mediaType":"owned"},'
        f'"marketing":{{"trackingCode":"autumn-upgrade"}},{event.measures}{_web(event, page)}'
        '"environment":{"type":"browser","browserDetails":{"userAgent":"Mozilla/5.0"}}}'
    )


def _audiences(event: EventTemplate, page: str, tenant: str) -> str:
    return (
        '{"_id":"%b","timestamp":"%b","identityMap":{"ECID":[{"id":"%b","primary":true}]},'
        f'"{tenant}":{{"member":"%b","loyalty":{{"tier":"%b"}}}},'
        f"{event.measures}{_web(event, page)}"
        '"segmentMemberships":[{"segmentID":{"_id":"Fibre intenders","namespace":{"code":"AAM"}},'
        '"status":"existing"},{"segmentID":{"_id":"Frequent visitors","namespace":{"code":"AAM"}},'
        '"status":"realized"}],"userActivityRegion":{"captureRegion":6},'
        '"placeContext":{"geo":{"countryCode":"DE","city":"Hamburg"}}}'
    )


def _experience(event: EventTemplate, page: str, tenant: str) -> str:
    return (
        '{"_id":"%b","timestamp":"%b","identityMap":{"ECID":[{"id":"%b","primary":true,'
        '"authenticatedState":"authenticated"}],"CRMID":[{"id":"%b"}]},'
        f'"eventType":"{event.event_type}","{tenant}":{{"loyalty":{{"tier":"%b"}}}},'
        f'{event.measures}{_web(event, page)}"marketing":{{"campaignName":"Autumn upgrade"}}}}'
    )


def _consumer(event: EventTemplate, page: str, tenant: str) -> str:
    return (
        '{"_id":"%b","timestamp":"%b","eventType":"web - pageview","endUserIDs":{"_experience":'
        '{"mcid":{"id":"%b","namespace":{"code":"mcid"}},"aacustomid":{"id":"%b","namespace":'
        f'{{"code":"crmid"}}}}}}}},"{tenant}":{{"loyalty":{{"tier":"%b"}}}},{event.measures}'
        f'{_web(event, page)}"marketing":{{"campaignGroup":"upgrade",'
        '"campaignName":"Autumn upgrade",'
        '"trackingCode":"autumn-upgrade"},"channel":{"mediaType":"owned","mediaAction":"click"}}'
    )


def _web(event: EventTemplate, page: str) -> str:
    url = "https://shop.example/" + page.lower().replace(": ", "/").replace(" ", "-")
    details = f'"webPageDetails":{{"name":"{page}","URL":"{url}","pageViews":{{"value":1}}}}'
    return f'"web":{{{event.click}{details}}},'


INPUTS: tuple[tuple[float, Callable[[EventTemplate, str, str], str]], ...] = (
    (0.45, _analytics),
    (0.10, _audiences),
    (0.25, _experience),
    (0.20, _consumer),
)
"""Each input with its share of the events."""


def render_templates(tenant: str) -> list[list[list[bytes]]]:
    """Return byte templates by input, event type and page."""
    return [
        [
            [render(template, page, tenant).encode() for page in template.pages]
            for template in EVENT_TYPES
        ]
        for _, render in INPUTS
    ]
