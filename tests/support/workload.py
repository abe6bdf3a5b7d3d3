"""A seeded scoring history with the experience events around it, in the forms met in the wild."""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from tests.support.recipe import MODELS, TENANT

_ENVELOPE = {"schemaRef": {"id": "https://ns.adobe.com/x", "contentType": "v1"}, "source": {}}
_EVENTS_EACH = 5
_DAYS = 60
_RUN_DAYS = 7


class Row(NamedTuple):
    """A record to be: whom it is about (Kafka's key) and what it says."""

    key: str
    content: dict[str, Any]


class History(NamedTuple):
    """Experience events in any order; scores by scoring run, oldest run first."""

    events: list[Row]
    scores: list[Row]


def history(seed: int, *, people: int, runs: int, today: datetime) -> History:
    """Return the history of so many people up to `today` (UTC midnight of a day in the past)."""
    dice = Random(seed)  # noqa: S311  repeatable, not secret
    ecids = [f"{seed:08d}{number:030d}" for number in range(1, people + 1)]
    events = [
        _event(dice, ecid, today) for ecid in ecids for _ in range(dice.randrange(_EVENTS_EACH))
    ]
    dice.shuffle(events)
    dates = [today - timedelta(days=_RUN_DAYS * back) for back in range(runs - 1, -1, -1)]
    scores = [_score(dice, ecid, date) for date in dates for ecid in dice.sample(ecids, people)]
    return History(events, scores)


def _score(dice: Random, ecid: str, date: datetime) -> Row:
    models = {model: _model(dice, date) for model in dice.sample(MODELS, dice.choice((1, 1, 2)))}
    match dice.randrange(4):
        case 0:
            model, leaves = next(iter(models.items()))
            return Row(ecid, {"prediction": model, **leaves, "identityMap": _identity(ecid)})
        case 1:
            entity = {"identityMap": _identity(ecid), f"_{TENANT}": {"customerai": models}}
            return Row(ecid, {"header": _ENVELOPE, "body": {"xdmMeta": {}, "xdmEntity": entity}})
        case _:
            return Row(ecid, {"identityMap": _identity(ecid), f"_{TENANT}": {"CustomerAI": models}})


def _model(dice: Random, date: datetime) -> dict[str, Any]:
    score = dice.choice((0, 24.9, 25, 74.99, 75, 100, round(dice.random() * 100, 2)))
    model: dict[str, Any] = {"score": score, "scoreDate": _written(dice, date)}
    if dice.random() < 0.8:
        model["probability"] = round(dice.random(), 4)
    if dice.random() < 0.8:
        model[dice.choice(("percentileScore", "percentile"))] = dice.randrange(1, 101)
    if dice.random() < 0.8:
        model["modelType"] = "Conversion"
    if dice.random() < 0.5:
        factor = {"code": "Counts of webVisit in last 30 days", "value": "14", "importance": "high"}
        model["influentialFactors"] = [factor]
    return model


def _written(dice: Random, date: datetime) -> str | int:
    forms: tuple[str | int, ...] = (
        date.strftime("%Y-%m-%d"),
        date.strftime("%Y-%m-%d %H:%M:%S"),
        date.strftime("%Y-%m-%dT%H:%M:%SZ"),
        date.astimezone(UTC).isoformat(),
        int(date.timestamp()),
        int(date.timestamp()) * 1_000,
    )
    return dice.choice(forms)


def _event(dice: Random, ecid: str, today: datetime) -> Row:
    at = today - timedelta(milliseconds=dice.randrange(_DAYS * 86_400_000))
    at = at.replace(microsecond=at.microsecond // 1_000 * 1_000)
    content = {
        "_id": f"{dice.getrandbits(96):024x}",
        "timestamp": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **_seen(dice),
    }
    if dice.random() < 0.5:
        content["identityMap"] = _identity(ecid)
    else:
        mcid = {"id": ecid, "primary": True, "namespace": {"code": "mcid"}}
        content["endUserIDs"] = {"_experience": {"mcid": mcid}}
    if dice.random() < 0.3:
        content["marketing"] = {"trackingCode": f"spring-{dice.randrange(5)}"}
    if dice.random() < 0.3:
        content[f"_{TENANT}"] = {"loyalty": {"tier": dice.choice(("bronze", "silver", "gold"))}}
    return Row(ecid, content)


def _seen(dice: Random) -> dict[str, Any]:
    item = [{"SKU": f"sku-{dice.randrange(50)}", "quantity": 1}]
    match dice.randrange(5):
        case 0:
            order = {"purchaseID": f"order-{dice.getrandbits(32)}", "priceTotal": 12.5}
            commerce = {"purchases": {"value": 1}, "order": order}
            return {
                "eventType": "commerce.purchases",
                "commerce": commerce,
                "productListItems": item,
            }
        case 1:
            views = {"productViews": {"value": 1}}
            return {
                "eventType": "commerce.productViews",
                "commerce": views,
                "productListItems": item,
            }
        case 2:
            return {"eventType": "search", "search": {"keywords": "tickets"}}
        case 3:
            launch = {"name": "shop", "launches": {"value": 1}}
            return {"eventType": "application.launches", "application": launch}
        case _:
            page = {"name": f"page {dice.randrange(20)}", "pageViews": {"value": 1}}
            return {"eventType": "web - pageview", "web": {"webPageDetails": page}}


def _identity(ecid: str) -> dict[str, Any]:
    return {"ECID": [{"id": ecid, "primary": True}]}
