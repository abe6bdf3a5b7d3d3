from typing import Any

import pytest

from processor.domain.errors import RejectError, SettingsError
from processor.domain.outcome import Reason, Stage
from processor.enrich.event_schema import compile_schemas, model_keys
from processor.enrich.prepared_score import RouteModel
from processor.enrich.routing import Router
from tests.support.settings import MINIMAL, settings_with

ROUTE = MINIMAL["routes"][0]


def router(*routes: dict[str, Any]) -> Router:
    named = [{**ROUTE, "dataset_id": f"d{i}", **route} for i, route in enumerate(routes)]
    settings = settings_with({"routes": named})
    return Router(settings.routes, "acme", compile_schemas(settings))


def found(model: str, *routes: dict[str, Any]) -> RouteModel:
    return router(*routes).find(model)


@pytest.mark.parametrize(
    "model",
    [
        "Likelihood to upgrade account",
        "LikelihoodToUpgradeAccount",
        "likelihood-to_upgrade account",
    ],
)
def test_a_name_matches_in_every_spelling_and_has_the_key_of_the_settings(model: str) -> None:
    route_model = found(model, ROUTE)

    assert route_model.name == "upgrade"
    assert route_model.model_key == "Likelihoodtoupgradeaccount"
    assert route_model.prediction == "Likelihood to upgrade account"


def test_a_pattern_gives_the_key_of_the_records_name() -> None:
    route_model = found("Churn Risk EMEA", {"models": ["churn*"]})

    assert (route_model.model_key, route_model.prediction) == ("ChurnRiskEMEA", "Churn Risk EMEA")


def test_patterns_ignore_case_and_punctuation_as_names_do() -> None:
    assert found("churn_risk-7", {"models": ["Churn Risk [0-9]"]}).model_key == "churnrisk7"
    assert found("Likely to churn", {"models": ["Likely to churn?"]}).name == "upgrade"


def test_the_first_route_that_matches_wins() -> None:
    routes = ({"name": "emea", "models": ["*emea"]}, {"name": "all", "models": ["*"]})

    assert found("Churn EMEA", *routes).name == "emea"
    assert found("Churn", *routes).name == "all"


def test_model_key_and_prediction_of_the_route_win() -> None:
    route_model = found("v2", {"models": ["v*"], "model_key": "Upgrade", "prediction": "Up!"})

    assert (route_model.model_key, route_model.prediction) == ("Upgrade", "Up!")


@pytest.mark.parametrize("model", ["Churn", "", "!!!", "x" * 100_000])
def test_an_unknown_prediction_is_rejected_with_its_name(model: str) -> None:
    with pytest.raises(RejectError) as caught:
        found(model, ROUTE)

    reject = caught.value.reject
    assert (reject.stage, reject.reason) == (Stage.ROUTE, Reason.UNKNOWN_PREDICTION)
    assert model[:100] in reject.detail
    assert len(reject.detail) < 300


def test_a_name_without_latin_letters_needs_a_model_key() -> None:
    with pytest.raises(RejectError, match="needs a model_key"):
        found("解約予測", {"models": ["*"]})
    with pytest.raises(SettingsError, match="needs a model_key"):
        model_keys(settings_with({"routes/0/models": ["解約予測"]}).routes[0])

    assert found("解約予測", {"models": ["解約予測"], "model_key": "Churn"}).model_key == "Churn"


def test_the_cache_of_names_is_bounded() -> None:
    one = router({"models": ["*"], "model_key": "All"})

    for number in range(10_000):
        one.find(f"model {number}")

    assert len(one._cached) <= 4_096  # noqa: SLF001
