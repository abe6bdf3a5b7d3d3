"""Bad records of named kinds, each with the reason it should be rejected for."""

from collections.abc import Iterator
from enum import StrEnum
from typing import Any

import msgspec

from processor.domain.clock import rfc3339
from processor.domain.outcome import Reason
from processor.simulator.history.figures import DAY_MS, Figures
from processor.simulator.history.sent import Sent

_OVERSIZE = 1_200_000
_DEPTH = 100


class Poison(StrEnum):
    """What is wrong with a record."""

    BROKEN_JSON = "broken-json"
    NOT_AN_OBJECT = "not-an-object"
    BAD_FRAME = "bad-frame"
    OVERSIZE = "oversize"
    TOO_DEEP = "too-deep"
    NO_IDENTITY = "no-identity"
    PLACEHOLDER_IDENTITY = "placeholder-identity"
    SCORE_130 = "score-130"
    DATE_NONSENSE = "date-nonsense"
    FUTURE_DATE = "future-date"
    UNKNOWN_PREDICTION = "unknown-prediction"


EXPECTED: dict[Poison, frozenset[Reason]] = {
    Poison.BROKEN_JSON: frozenset({Reason.MALFORMED}),
    Poison.NOT_AN_OBJECT: frozenset({Reason.NOT_AN_OBJECT}),
    Poison.BAD_FRAME: frozenset({Reason.BAD_FRAME, Reason.UNKNOWN_SCHEMA}),
    Poison.OVERSIZE: frozenset({Reason.TOO_LARGE}),
    Poison.TOO_DEEP: frozenset({Reason.TOO_DEEP}),
    Poison.NO_IDENTITY: frozenset({Reason.NO_IDENTITY}),
    Poison.PLACEHOLDER_IDENTITY: frozenset({Reason.BAD_IDENTITY, Reason.NO_IDENTITY}),
    Poison.SCORE_130: frozenset({Reason.BAD_SCORE}),
    Poison.DATE_NONSENSE: frozenset({Reason.BAD_DATE}),
    Poison.FUTURE_DATE: frozenset({Reason.FUTURE_DATE}),
    Poison.UNKNOWN_PREDICTION: frozenset({Reason.UNKNOWN_PREDICTION}),
}
"""The reasons a processor may give for each kind."""


def poisoned(figures: Figures, at_ms: int) -> Iterator[Sent]:
    """Yield every kind of bad score record, `figures.poison` times, at an instant."""
    for round_number in range(figures.poison):
        for number, kind in enumerate(Poison):
            key = b"POISON%04d" % (round_number * len(Poison) + number)
            yield Sent(figures.scores_topic, key, _value(kind, figures, at_ms), at_ms)


def _value(kind: Poison, figures: Figures, at_ms: int) -> bytes:
    good = _record(figures, at_ms)
    match kind:
        case Poison.BROKEN_JSON:
            return good[:-40]
        case Poison.NOT_AN_OBJECT:
            return b'["%b"]' % figures.predictions[0].name.encode()
        case Poison.BAD_FRAME:
            return b"\x00\x00\x00"
        case Poison.OVERSIZE:
            return good[:-1] + b',"note":"%b"}' % (b"x" * _OVERSIZE)
        case Poison.TOO_DEEP:
            return good[:-1] + b',"deep":%b1%b}' % (b"[" * _DEPTH, b"]" * _DEPTH)
        case _:
            return _misread(kind, figures, at_ms)


def _misread(kind: Poison, figures: Figures, at_ms: int) -> bytes:
    match kind:
        case Poison.NO_IDENTITY:
            return _record(figures, at_ms, identities={})
        case Poison.PLACEHOLDER_IDENTITY:
            return _record(figures, at_ms, identities={"ECID": [{"id": "0" * 38}]})
        case Poison.SCORE_130:
            return _record(figures, at_ms, score=130.0)
        case Poison.DATE_NONSENSE:
            return _record(figures, at_ms, date="the day before yesterday")
        case Poison.FUTURE_DATE:
            return _record(figures, at_ms, date=rfc3339(at_ms + 400 * DAY_MS))
        case _:
            return _record(figures, at_ms, model="LikelihoodtobeStruckbyLightning")


def _record(figures: Figures, at_ms: int, **wrong: Any) -> bytes:  # noqa: ANN401  JSON it is
    ecid = [{"id": "31415926535897932384626433832795028841", "primary": True}]
    leaves = {
        "score": wrong.get("score", 61.5),
        "probability": 0.44,
        "percentileScore": 70,
        "modelType": figures.predictions[0].model_type,
        "scoreDate": wrong.get("date", rfc3339(at_ms)),
    }
    model = wrong.get("model", figures.predictions[0].key)
    return msgspec.json.encode(
        {
            "identityMap": wrong.get("identities", {"ECID": ecid}),
            figures.tenant: {"CustomerAI": {model: leaves}},
        }
    )
