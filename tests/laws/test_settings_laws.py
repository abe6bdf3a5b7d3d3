"""Any file and any environment: the result is settings, or sentences."""

from contextlib import suppress
from copy import deepcopy
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.errors import SettingsError
from processor.settings import Settings
from processor.settings.describe import describe
from processor.settings.load import parse_settings
from processor.settings.section import KeyPath, key_names, type_below
from tests.support.settings import MINIMAL

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(
        ["^(", "^a{99999999999}", "http://[", "//u:p@[::1", "no", "0x1f", "1e999", "@", "\x00", "*"]
    ),
)
KEYS = st.text(max_size=8)
TREES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)


def leaves(shape: object, path: KeyPath = ()) -> list[KeyPath]:
    found: list[KeyPath] = [path] if path else []
    for name in key_names(shape):
        found += leaves(type_below(shape, name), (*path, name))
    return found + (
        leaves(type_below(shape, 0), (*path, 0)) if key_names(type_below(shape, 0)) else []
    )


def changed(path: KeyPath, value: object) -> dict[str, Any]:
    tree: Any = deepcopy(MINIMAL)
    group = tree
    for key in path[:-1]:
        if isinstance(group, dict) and not isinstance(group.get(str(key)), dict | list):
            group[key] = {}
        group = group[key]
    group[path[-1]] = value
    return dict(tree)


@given(st.text(max_size=200))
def test_any_text_results_in_settings_or_sentences(text: str) -> None:
    with suppress(SettingsError):
        parse_settings(text, {})


@given(st.sampled_from(leaves(Settings)), TREES)
def test_any_value_results_in_settings_or_sentences(path: KeyPath, value: object) -> None:
    text = yaml.safe_dump(changed(path, value))

    problems = _problems_of(text)

    assert [problem for problem in problems if not problem.endswith((".", "?"))] == []


def _problems_of(text: str) -> list[str]:
    """Return the problems of a file; if there are none, its settings can be described."""
    try:
        describe(parse_settings(text, {}))
    except SettingsError as error:
        return error.problems
    return []


@given(st.sampled_from(leaves(Settings)), st.text(max_size=20), st.sampled_from(["", "__X", "__0"]))
def test_any_variable_yields_settings_or_sentences(path: KeyPath, value: str, more: str) -> None:
    name = "CAI__" + "__".join(str(key).upper() for key in path) + more

    with suppress(SettingsError):
        parse_settings(yaml.safe_dump(MINIMAL), {name: value})


def test_described_settings_can_be_loaded_again() -> None:
    settings = parse_settings(yaml.safe_dump(MINIMAL), {})

    again = parse_settings(describe(settings), {})

    assert again.model_dump(exclude={"aep": {"auth"}}) == settings.model_dump(
        exclude={"aep": {"auth"}}
    )
