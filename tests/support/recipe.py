"""The settings of a processor under test, as the YAML file its users write."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ORG = "SIMULATOR000000000000000@AdobeOrg"
TENANT = "acme"
COHORT = (f"_{TENANT}", "loyalty", "tier")
MODELS = ("PropensityToBuy", "PropensityToChurn")


def recipe(
    bootstrap: str, inlet: str, folder: Path, **sections: Mapping[str, Any]
) -> dict[str, Any]:
    """Return settings with one route per model of `MODELS`; `sections` are merged over them.

    `inlet` is the address of an inlet up to its id; routes use the ids `one` and `two`.
    """
    base: dict[str, Any] = {
        "kafka": {
            "bootstrap_servers": bootstrap,
            "session_timeout_seconds": 6,
            "client": {"log_level": 3},
        },
        "event": {"tenant": TENANT},
        "join": {"directory": str(folder / "state"), "changelog_replication": 1},
        "aep": {"org_id": ORG, "allow_http": True, "allow_hosts": ["127.0.0.1"]},
        "routes": [
            _route(model, f"{inlet}/{name}", name)
            for model, name in zip(MODELS, ("one", "two"), strict=True)
        ],
    }
    return laid_over(base, sections)


def written(settings: Mapping[str, Any], path: Path) -> Path:
    """Write settings as YAML and return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(dict(settings), sort_keys=False))
    return path


def _route(model: str, inlet_url: str, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "models": [model],
        "inlet_url": inlet_url,
        "flow_id": f"flow-{name}",
        "dataset_id": f"dataset-{name}",
        "schema_id": f"https://ns.adobe.com/{TENANT}/schemas/{name}",
    }


def laid_over(base: dict[str, Any], more: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings with others merged over them, section by section."""
    merged = dict(base)
    for key, value in more.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            merged[key] = laid_over(old, value)
        else:
            merged[key] = value
    return merged
