"""What counts as a difference between a blueprint and what AEP has."""

from copy import deepcopy
from typing import Any

import pytest

from processor.adobe.blueprint import Blueprint, Ids, dataset_name, unnamed_models
from processor.adobe.drift import differences, is_model, missing_fields, profile_enabled
from processor.adobe.objects import AepObject
from processor.settings import PlannedRoute

ROUTE = PlannedRoute(name="upgrade", models=["Likelihood to upgrade"])
BLUEPRINT = Blueprint("_acme", [ROUTE])
(GROUP, *_) = BLUEPRINT.wanted


def field_group(*path: str, **change: Any) -> AepObject:  # noqa: ANN401  XDM
    body = deepcopy(BLUEPRINT.group)
    place = body["definitions"]["customFields"]["properties"]["_acme"]
    for step in path:
        place = place["properties"][step]
    for key, value in change.items():
        if value is None:
            del place[key]
        else:
            place[key] = value
    return AepObject("id", body)


def found(*path: str, **change: Any) -> list[str]:  # noqa: ANN401  XDM
    return list(differences(BLUEPRINT, GROUP, field_group(*path, **change), Ids()))


SCORE = ("CustomerAI", "Likelihoodtoupgrade", "score")


def test_the_same_field_group_has_no_difference() -> None:
    assert found() == []
    assert missing_fields(BLUEPRINT, field_group()) == {}


def test_texts_and_the_bounds_that_the_registry_adds_are_no_difference() -> None:
    path = ("scoreContext", "daysSinceLastEvent")
    assert found(*SCORE, title="Another", description="Another") == []
    assert found(*path, maximum=2**31 - 1, **{"meta:xdmType": "int"}) == []


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"type": "string"}, "has the type string, not number"),
        ({"maximum": 50}, "has the maximum 50, not 100"),
        ({"minimum": 10}, "has the minimum 10, not 0"),
    ],
)
def test_a_field_that_refuses_what_we_send_is_a_difference(
    change: dict[str, Any], sentence: str
) -> None:
    assert found(*SCORE, **change) == [f"_acme.CustomerAI.Likelihoodtoupgrade.score {sentence}"]


def test_wider_bounds_are_no_difference() -> None:
    assert found(*SCORE, maximum=1_000) == []


def test_a_field_that_others_require_is_a_difference() -> None:
    assert found("scoreContext", required=["somebodysField"]) == [
        "_acme.scoreContext requires somebodysField"
    ]


def test_missing_fields_are_named_by_their_place_topmost_only() -> None:
    models = "/definitions/customFields/properties/_acme/properties/CustomerAI/properties"
    more = Blueprint("acme", [ROUTE, PlannedRoute(name="churn", models=["Churn"])])

    missing = missing_fields(more, field_group())

    assert list(missing) == [f"{models}/Churn"]
    assert is_model(f"{models}/Churn")
    assert not is_model(f"{models}/Churn/properties/score")


def test_names_of_datasets_say_the_prediction() -> None:
    assert dataset_name(ROUTE) == "Customer AI Scores – Likelihood to upgrade (events)"
    assert dataset_name(ROUTE.model_copy(update={"dataset_name": "Mine"})) == "Mine"


def test_a_pattern_names_no_prediction() -> None:
    assert unnamed_models([ROUTE]) == []
    assert len(unnamed_models([PlannedRoute(name="all", models=["Likelihood*"])])) == 1


@pytest.mark.parametrize(
    ("tags", "enabled"),
    [
        ({"unifiedProfile": ["enabled:true"]}, True),
        ({"unifiedProfile": ["enabled: true", "isUpsert: true"]}, True),
        ({"unifiedProfile": ["enabled:false"]}, False),
        ({}, False),
        (None, False),
    ],
)
def test_profile_is_read_from_the_tags(tags: object, *, enabled: bool) -> None:
    assert profile_enabled({"tags": tags}) is enabled
