"""Settings for tests: a small valid tree, and the problems of a changed one."""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import yaml

from processor.domain.errors import SettingsError
from processor.settings import Settings
from processor.settings.load import parse_settings

MINIMAL: dict[str, Any] = {
    "kafka": {"bootstrap_servers": "127.0.0.1:9092"},
    "event": {"tenant": "acme"},
    "aep": {
        "org_id": "0123456789ABCDEF01234567@AdobeOrg",
        "auth": {"client_id": "an-id", "client_secret": "a-secret"},
    },
    "routes": [
        {
            "name": "upgrade",
            "models": ["Likelihood to upgrade account"],
            "inlet_url": "https://dcs.adobedc.net/collection/0a1b2c",
            "flow_id": "flow-1",
            "dataset_id": "dataset-1",
            "schema_id": "https://ns.adobe.com/acme/schemas/1",
        }
    ],
}


def settings_with(changes: Mapping[str, Any] | None = None) -> Settings:
    """Return the minimal settings, changed at paths such as `routes/0/name`."""
    return parse_settings(_text(changes or {}), {})


def problems_of(
    changes: Mapping[str, Any] | None = None, env: Mapping[str, str] | None = None
) -> list[str]:
    """Return the problems of the minimal settings with these changes; empty if there are none."""
    try:
        parse_settings(_text(changes or {}), env or {})
    except SettingsError as error:
        return error.problems
    return []


def _text(changes: Mapping[str, Any]) -> str:
    tree: Any = deepcopy(MINIMAL)
    for path, value in changes.items():
        *above, last = [int(key) if key.isdigit() else key for key in path.split("/")]
        group = tree
        for key in above:
            group = group.setdefault(key, {}) if isinstance(group, dict) else group[key]
        if isinstance(group, list) and last == len(group):
            group.append(value)
        else:
            group[last] = value
    return yaml.safe_dump(tree, sort_keys=False)
