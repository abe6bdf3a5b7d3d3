"""The short cut for usual score records: when it is taken, and when not."""

import pytest

from processor.codec.dates import Dates
from processor.codec.entity import IdentityReader
from processor.codec.fast_path import FastScoreReader
from processor.codec.json_text import decode_json
from processor.domain.outcome import Reason
from processor.settings import IdentitySettings, ReadingSettings
from tests.support.paths import ROOT
from tests.support.reading import ECID, a_model, a_profile, json_record, reader_with, refusal

VALID = ROOT / "schemas/examples/customer-ai-scores/valid"
FACTOR = {"code": "Counts of webVisit", "value": "14", "importance": "high"}
FLAT = {"namespace": "CRMID", "id": "7", "prediction": "Churn", "score": 1, "scoreDate": 1}


def _usual(tenant: str = "acme", **changes: object) -> FastScoreReader:
    settings = ReadingSettings.model_validate(changes)
    return FastScoreReader(settings, tenant, IdentityReader(IdentitySettings()), Dates("UTC"))


def _taken(content: object, usual: FastScoreReader) -> bool:
    text = json_record(content).value
    assert text is not None
    taken = bool(usual.of_json(text))
    assert taken == bool(usual.of_value(decode_json(text, 64)))
    return taken


@pytest.mark.parametrize(
    "name",
    [
        *("profile-one-model", "profile-several-models", "wild-epoch-date"),
        *("envelope", "flat-identities", "flat-least", "wild-flat-identity-map"),
    ],
)
def test_examples_as_they_should_be_take_it(name: str) -> None:
    assert _taken((VALID / f"{name}.json").read_bytes(), _usual())


def test_deepest_that_takes_it_is_as_deep_as_the_least_limit() -> None:
    reader = reader_with({"reading/max_depth": 8})
    deepest = json_record((VALID / "envelope.json").read_bytes())
    nested: object = "2026-08-03"
    for _ in range(8):
        nested = [nested]

    assert reader.read(deepest).scores
    assert refusal(reader, json_record({**FLAT, "scoreDate": nested})).reason is Reason.TOO_DEEP


def test_size_is_looked_at_first() -> None:
    reader = reader_with({"reading/max_record_bytes": 1_024})
    record = a_profile(Churn=a_model(influentialFactors=[FACTOR] * 20))

    assert _taken(record, _usual())
    assert refusal(reader, json_record(record)).reason is Reason.TOO_LARGE


@pytest.mark.parametrize("tenant", ["acme", "_acme"])
def test_it_is_for_the_tenant_of_the_settings(tenant: str) -> None:
    assert _taken(a_profile(Churn=a_model()), _usual(tenant))
    assert not _taken(a_profile(Churn=a_model()), _usual("other"))


@pytest.mark.parametrize(
    "leaves",
    [
        {"Score": 1},
        {"percentile": 5},
        {"propensity": 0.5},
        {"score": None},
        {"score": "83.1"},
        {"percentileScore": 92.5},
        {"scoreDate": "soon"},
        {"influentialFactors": [{**FACTOR, "Code": "x"}]},
        {"influentialFactors": [{**FACTOR, "importance": "HIGH"}]},
        {"influentialFactors": [{**FACTOR, "value": 14}]},
        {"influentialFactors": [{**FACTOR, "value": ""}]},
        {"influentialFactors": [{"code": "x", "value": "1"}]},
        {"influentialFactors": [None]},
        {"horizonDays": 30},
    ],
)
def test_model_with_anything_unusual_does_not(leaves: dict[str, object]) -> None:
    assert _taken(a_profile(Churn=a_model(influentialFactors=[FACTOR])), _usual())
    assert not _taken(a_profile(Churn=a_model(**leaves)), _usual())


@pytest.mark.parametrize(
    "more",
    [
        {"_other": {"CustomerAI": {"Churn": a_model()}}},
        {"endUserIDs": {"_experience": {"mcid": {"id": ECID}}}},
        {"identityMap": {}},
        {"identityMap": {"ECID": [{"id": 7}]}},
        {"identityMap": {"ECID": {"id": ECID}}},
        {"_acme": {"loyalty": {}, "CustomerAI": {"Churn": a_model()}}},
        {"_acme": {"CustomerAI": {f"M{at}": a_model() for at in range(65)}}},
        {"body": {"score": 1}, "header": {}},
    ],
)
def test_record_with_anything_unusual_does_not(more: dict[str, object]) -> None:
    assert not _taken({**a_profile(Churn=a_model()), **more}, _usual())


@pytest.mark.parametrize("more", [{"prediction": " "}, {"id": None}, {"_acme": {"CustomerAI": {}}}])
def test_flat_record_with_anything_unusual_does_not(more: dict[str, object]) -> None:
    assert _taken(FLAT, _usual())
    assert not _taken({**FLAT, **more}, _usual())


@pytest.mark.parametrize("value", [None, [], 7, "x", {}, {"body": None}, {"body": {}}])
def test_what_is_no_record_does_not(value: object) -> None:
    assert _usual().of_value(value) == ()


def test_names_of_leaves_are_those_of_the_settings() -> None:
    aliases = {"score": ["points", "score"], "scoreDate": ["day"]}
    model = {"points": 5, "day": "2026-08-03"}

    assert _taken(a_profile(Churn=model), _usual(aliases=aliases))
    assert not _taken(a_profile(Churn=a_model()), _usual(aliases=aliases))


@pytest.mark.parametrize(
    "aliases",
    [
        {"score": ['a"b', "score"]},
        {"score": ["score"], "probability": ["score"]},
        {"modelType": ["modelType", "namespace"]},
        {"prediction": ["identityMap", "prediction"], "score": ["id"]},
        {"percentile": []},
    ],
)
def test_settings_that_give_a_key_two_meanings_leave_nothing_usual(
    aliases: dict[str, list[str]],
) -> None:
    usual = _usual(aliases=aliases)

    assert not _taken(a_profile(Churn={"score": 5, "scoreDate": "2026-08-03"}), usual)
    assert not _taken(FLAT, usual)


def test_tenant_named_like_the_id_leaves_nothing_usual() -> None:
    assert not _taken({**FLAT, "_id": "x"}, _usual("id"))


@pytest.mark.parametrize("score", [float("nan"), float("inf"), -float("inf")])
def test_avro_number_that_is_none_is_not_usual(score: float) -> None:
    assert _usual().of_value(FLAT)
    assert _usual().of_value({**FLAT, "score": score}) == ()
    assert _usual().of_value({**FLAT, "probability": score}) == ()
