"""One file and the environment become the settings, or every reason why not."""

import os
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from processor.domain.errors import SettingsError
from processor.settings.checks import contradictions
from processor.settings.document import MAX_BYTES, Document, read_document
from processor.settings.keys import KeyPath
from processor.settings.messages import sentences, unknown_keys
from processor.settings.overrides import apply_overrides
from processor.settings.secrets import fill_secrets
from processor.settings.settings import Settings


def load_settings(path: Path, env: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of a YAML file with the `CAI__` variables laid over it.

    `env` is the process's environment where not given. Raises SettingsError with all problems at
    once: unknown keys, wrong values, contradictions between them, secrets that cannot be read.
    """
    return parse_settings(_read(path), os.environ if env is None else env)


def parse_settings(text: str, env: Mapping[str, str]) -> Settings:
    """Return the settings of a YAML text; see `load_settings`."""
    document = read_document(text)
    problems = [*document.problems, *apply_overrides(document, env)]
    problems += fill_secrets(document.tree)
    settings, found = _validate(document)
    problems += found
    if settings is None or problems:
        raise SettingsError(problems)
    return settings


def _validate(document: Document) -> tuple[Settings | None, list[str]]:
    try:
        settings = Settings.model_validate(document.tree)
    except ValidationError as error:
        said = sentences(error, document.places)
        return None, said + _behind(document.tree, unknown_keys(error))
    return settings, contradictions(settings)


def _behind(tree: dict[str, Any], unknown: list[KeyPath]) -> list[str]:
    """Return the contradictions that would show once the unknown keys were gone."""
    rest = deepcopy(tree)
    for path in unknown:
        page: Any = rest
        for key in path[:-1]:
            page = page[key]
        del page[path[-1]]
    try:
        return contradictions(Settings.model_validate(rest))
    except ValidationError:
        return []


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1).decode("utf-8-sig")
    except OSError as error:
        why = os.strerror(error.errno or 0).lower()
        raise SettingsError([f"{path} cannot be read: {why}."]) from error
    except UnicodeDecodeError as error:
        raise SettingsError([f"{path} is not UTF-8 text."]) from error
