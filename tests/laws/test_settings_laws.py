"""Whatever stands in the file or the environment: settings, or sentences."""

from contextlib import suppress
from copy import deepcopy
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from processor.domain.errors import SettingsError
from processor.settings import Settings
from processor.settings.describe import describe
from processor.settings.keys import KeyPath, names, step
from processor.settings.load import parse_settings
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
    for name in names(shape):
        found += leaves(step(shape, name), (*path, name))
    return found + (leaves(step(shape, 0), (*path, 0)) if names(step(shape, 0)) else [])


def changed(path: KeyPath, value: object) -> dict[str, Any]:
    tree: Any = deepcopy(MINIMAL)
    place = tree
    for key in path[:-1]:
        if isinstance(place, dict) and not isinstance(place.get(str(key)), dict | list):
            place[key] = {}
        place = place[key]
    place[path[-1]] = value
    return dict(tree)


@given(st.text(max_size=200))
def test_any_text_is_settings_or_sentences(text: str) -> None:
    with suppress(SettingsError):
        parse_settings(text, {})


@given(st.sampled_from(leaves(Settings)), TREES)
def test_any_value_anywhere_is_settings_or_sentences(path: KeyPath, value: object) -> None:
    text = yaml.safe_dump(changed(path, value))

    said = _said(text)

    assert [problem for problem in said if not problem.endswith((".", "?"))] == []


def _said(text: str) -> list[str]:
    """Return the problems of a file; where there are none, its settings can be shown."""
    try:
        describe(parse_settings(text, {}))
    except SettingsError as error:
        return error.problems
    return []


@given(st.sampled_from(leaves(Settings)), st.text(max_size=20), st.sampled_from(["", "__X", "__0"]))
def test_any_variable_is_settings_or_sentences(path: KeyPath, value: str, more: str) -> None:
    name = "CAI__" + "__".join(str(key).upper() for key in path) + more

    with suppress(SettingsError):
        parse_settings(yaml.safe_dump(MINIMAL), {name: value})


def test_what_is_described_can_be_read_again() -> None:
    """The settings in force, printed and read once more, are the settings in force."""
    settings = parse_settings(yaml.safe_dump(MINIMAL), {})

    again = parse_settings(describe(settings), {})

    assert again.model_dump(exclude={"aep": {"auth"}}) == settings.model_dump(
        exclude={"aep": {"auth"}}
    )
