"""Names of models: patterns, and the keys that are made of them."""

import re

from processor.errors import SettingsError
from processor.settings import RouteSettings

__all__ = ["MODEL_KEY", "is_key", "is_open", "is_pattern", "model_keys", "reduced"]

MODEL_KEY = "[A-Za-z0-9]{1,128}"
"""What a model key looks like, as a regular expression."""

is_key = re.compile(MODEL_KEY).fullmatch
is_pattern = re.compile(r"[*?\[]").search


def reduced(name: str) -> str:
    """Return a model name reduced to letters and digits, as Customer AI does for its key."""
    return "".join(filter(str.isalnum, name))


def is_open(route: RouteSettings) -> bool:
    """Return True where the route's model keys are not known before records come."""
    return route.model_key is None and any(map(is_pattern, route.models))


def model_keys(route: RouteSettings) -> list[str]:
    """Return the model keys a route's settings name; SettingsError where none can be made."""
    if route.model_key is not None:
        return [route.model_key]
    keys = dict.fromkeys(reduced(entry) for entry in route.models if not is_pattern(entry))
    unusable = [key for key in keys if not is_key(key)]
    if unusable:
        raise SettingsError(
            [f"It needs a model_key, for its models give {key!r}." for key in unusable]
        )
    return list(keys)
