"""The file of provisioned routes, and how it completes those of the settings."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from processor.domain.errors import SettingsError, UnavailableError
from processor.settings import PlannedRoute
from processor.settings.load import load_planned_settings, load_settings
from processor.settings.routes_file import ProvisionedRoutes, read_routes_file, write_routes_file
from tests.support.settings import MINIMAL

IDS = {
    "inlet_url": "https://dcs.adobedc.net/collection/0a1b2c",
    "flow_id": "flow",
    "dataset_id": "dataset",
    "schema_id": "schema",
}
ORG = MINIMAL["aep"]["org_id"]


def content(**changes: Any) -> ProvisionedRoutes:  # noqa: ANN401  settings
    routes = [PlannedRoute(name="upgrade", models=["M"], **IDS)]
    given = {"org_id": ORG, "sandbox_name": "prod", "tenant": "acme", "routes": routes}
    return ProvisionedRoutes(**{**given, **changes})


def write(folder: Path, route: dict[str, Any], **more: Any) -> Path:  # noqa: ANN401  settings
    tree = {**MINIMAL, "routes": [{"name": "upgrade", "models": ["M"], **route}], **more}
    path = folder / "settings.yaml"
    path.write_text(yaml.safe_dump(tree))
    return path


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / "routes.yaml"
    wanted = content(objects={"dataset upgrade": "dataset"}, pending={"flow upgrade": 5})

    write_routes_file(path, wanted)

    assert read_routes_file(path) == wanted
    assert [each.name for each in tmp_path.iterdir()] == ["routes.yaml"]


def test_ids_come_from_the_file_beside_the_settings(tmp_path: Path) -> None:
    write_routes_file(tmp_path / "routes.yaml", content())

    settings = load_settings(write(tmp_path, {}, routes_file="routes.yaml"), {})

    assert settings.routes[0].dataset_id == "dataset"
    assert settings.routes[0].inlet_url == IDS["inlet_url"]


def test_what_the_settings_say_counts(tmp_path: Path) -> None:
    write_routes_file(tmp_path / "routes.yaml", content())
    path = write(tmp_path, {"flow_id": "other"}, routes_file="routes.yaml")

    assert load_settings(path, {}).routes[0].flow_id == "other"


def test_the_file_alone_has_complete_routes(tmp_path: Path) -> None:
    write_routes_file(tmp_path / "routes.yaml", content())
    tree = {key: value for key, value in MINIMAL.items() if key != "routes"}
    path = tmp_path / "settings.yaml"
    path.write_text(yaml.safe_dump({**tree, "routes_file": "routes.yaml"}))

    assert [route.name for route in load_settings(path, {}).routes] == ["upgrade"]


def test_a_route_without_ids_is_one_problem_for_run_and_none_for_provision(tmp_path: Path) -> None:
    path = write(tmp_path, {}, routes_file="routes.yaml")

    with pytest.raises(SettingsError) as raised:
        load_settings(path, {})

    assert len(raised.value.problems) == 1
    assert "upgrade is not provisioned" in raised.value.problems[0]
    assert load_planned_settings(path, {}).routes[0].dataset_id is None


def test_a_route_without_one_id_lacks_that_one(tmp_path: Path) -> None:
    route = {key: value for key, value in IDS.items() if key != "flow_id"}

    with pytest.raises(SettingsError) as raised:
        load_settings(write(tmp_path, route), {})

    assert raised.value.problems == ["routes[0].flow_id is required."]


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"sandbox_name": "dev"}, "sandbox"),
        ({"tenant": "other"}, "tenant"),
        ({"org_id": "B@AdobeOrg"}, "organisation"),
    ],
)
def test_a_file_of_another_place_is_refused(
    tmp_path: Path, changes: dict[str, str], what: str
) -> None:
    write_routes_file(tmp_path / "routes.yaml", content(**changes))

    with pytest.raises(SettingsError, match=f"is of the {what}"):
        load_planned_settings(write(tmp_path, {}, routes_file="routes.yaml"), {})


def test_a_file_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "routes.yaml").write_text("a: 1\n")

    with pytest.raises(SettingsError, match="is not what `provision apply` writes"):
        read_routes_file(tmp_path / "routes.yaml")


def test_a_file_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be written"):
        write_routes_file(tmp_path / "missing" / "routes.yaml", content())


def test_names_of_adobes_own_datasets_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, {"dataset_name": "Customer AI Scores in EE Format – M"})

    with pytest.raises(SettingsError, match="Adobe's own datasets"):
        load_planned_settings(path, {})
