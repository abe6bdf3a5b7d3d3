"""The file of provisioned routes: written by `provision apply`, read with the settings.

It has complete routes, the ids of everything they are made of, and for which organisation, sandbox
and tenant; no secret. What a route of the settings does not say is taken from the route of the same
name.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import Field, ValidationError

from processor.domain.errors import SettingsError, UnavailableError
from processor.settings.aep import PlannedRoute
from processor.settings.document import read_document
from processor.settings.section import Section

ROUTE_IDS: Final = ("inlet_url", "flow_id", "dataset_id", "schema_id")
"""What a route has only once it is provisioned, by `provision apply` or by hand."""

_HEAD: Final = (
    "# Written by `provision apply` of customer-ai-events; for version control, not for editing.\n"
)


class ProvisionedRoutes(Section):
    """The content of a routes file."""

    org_id: str
    sandbox_name: str
    tenant: str
    objects: dict[str, str] = Field(default_factory=dict)
    """Ids of the objects in AEP, by step, such as `dataset upgrade`."""
    pending: dict[str, int] = Field(default_factory=dict)
    """Steps whose object was requested and whose id is not known, with the epoch milliseconds."""
    routes: list[PlannedRoute] = Field(default_factory=list)


def read_routes_file(path: Path) -> ProvisionedRoutes | None:
    """Return what a routes file has, None where there is no file; raises SettingsError."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError([f"routes_file {path} cannot be read."]) from error
    document = read_document(text)
    try:
        found = ProvisionedRoutes.model_validate(document.tree)
    except ValidationError as error:
        sentence = f"routes_file {path} is not what `provision apply` writes."
        raise SettingsError([sentence, *document.problems]) from error
    if document.problems:
        raise SettingsError(document.problems)
    return found


def write_routes_file(path: Path, content: ProvisionedRoutes) -> None:
    """Replace a routes file as a whole: a crash leaves the old or the new one.

    Raises UnavailableError where it cannot be written.
    """
    tree = content.model_dump(mode="json", exclude={"routes"}, exclude_defaults=True)
    tree["routes"] = [
        route.model_dump(mode="json", exclude_unset=True, exclude_none=True)
        for route in content.routes
    ]
    text = _HEAD + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)
    new = path.with_name(f".{path.name}.new")
    try:
        with new.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except OSError as error:
        raise UnavailableError("routes file", f"{path} cannot be written: {error}") from error


def fill_routes(tree: dict[str, Any], folder: Path, *, complete: bool) -> list[str]:
    """Complete the routes of a settings tree from its routes file; return what is wrong.

    The file is relative to `folder`, that of the settings. With `complete` each route has to be
    provisioned in the end.
    """
    problems: list[str] = []
    file = tree.get("routes_file")
    if isinstance(file, str):
        path = folder / file
        tree["routes_file"] = str(path)
        try:
            problems += _merge(tree, read_routes_file(path), path)
        except SettingsError as error:
            return error.problems
    if complete:
        problems += _unprovisioned(tree)
    return problems


def _merge(tree: dict[str, Any], stored: ProvisionedRoutes | None, path: Path) -> list[str]:
    if stored is None:
        return []
    problems = list(_elsewhere(tree, stored, path))
    by_name = {
        route.name: route.model_dump(mode="json", exclude_unset=True) for route in stored.routes
    }
    if tree.get("routes") is None:
        tree["routes"] = list(by_name.values())
    for route in _routes(tree):
        for key, value in by_name.get(str(route.get("name")), {}).items():
            if route.get(key) is None:
                route[key] = value
    return problems


def _elsewhere(tree: Mapping[str, Any], stored: ProvisionedRoutes, path: Path) -> list[str]:
    aep, event = tree.get("aep"), tree.get("event")
    if not isinstance(aep, dict) or not isinstance(event, dict):
        return []
    wanted = {
        "organisation": (aep.get("org_id"), stored.org_id),
        "sandbox": (aep.get("sandbox_name", "prod"), stored.sandbox_name),
        "tenant": (str(event.get("tenant", "")).removeprefix("_"), stored.tenant),
    }
    return [
        f"routes_file {path} is of the {what} {has}, the settings are of {wants}: use one file for "
        "each sandbox."
        for what, (wants, has) in wanted.items()
        if wants != has
    ]


def _unprovisioned(tree: dict[str, Any]) -> list[str]:
    problems = []
    for route in _routes(tree):
        if all(route.get(key) is None for key in ROUTE_IDS):
            problems.append(
                f"The route {route.get('name')} is not provisioned: run `provision apply`, or set "
                f"{', '.join(ROUTE_IDS[:-1])} and {ROUTE_IDS[-1]}."
            )
            # One sentence about the route is enough: the settings are refused in any case.
            route.update(_PLACEHOLDERS, dataset_id=f"- {len(problems)}")
    return problems


_PLACEHOLDERS: Final = {
    "inlet_url": "https://not.provisioned/collection/0",
    "flow_id": "-",
    "schema_id": "-",
}


def _routes(tree: Mapping[str, Any]) -> list[dict[str, Any]]:
    routes = tree.get("routes")
    return [each for each in routes if isinstance(each, dict)] if isinstance(routes, list) else []
