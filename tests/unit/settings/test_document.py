"""What is accepted as YAML, and what is refused before settings are built from it."""

import pytest

from processor.domain.errors import SettingsError
from processor.settings.document import MAX_BYTES, read_document, read_value


def test_each_key_has_its_line() -> None:
    document = read_document("kafka:\n  group_id: a\n\nroutes:\n  - name: b\n")

    assert document.tree == {"kafka": {"group_id": "a"}, "routes": [{"name": "b"}]}
    assert document.origins[("kafka", "group_id")] == "line 2"
    assert document.origins[("routes", 0, "name")] == "line 5"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("0123", "0123"),
        ("12:30", "12:30"),
        ("2026-11-22", "2026-11-22"),
        ("1_000", "1_000"),
        (".inf", ".inf"),
        ("true", True),
        ("-7", -7),
        ("2.5e3", 2500.0),
        ("", None),
        ("~", None),
        ("[a, 1]", ["a", 1]),
        ("{a: null}", {"a": None}),
        ("'1'", "1"),
    ],
)
def test_only_the_core_schema_of_yaml_is_applied(text: str, value: object) -> None:
    assert read_value(text) == value


def test_a_key_set_twice_is_refused_with_both_lines() -> None:
    assert read_document("a: 1\nb:\n  c: 1\n  c: 2\n").problems == [
        "b.c is set twice: on line 3 and on line 4."
    ]


@pytest.mark.parametrize(
    "text", ["a: !!python/object/apply:os.system [x]", "a: !mine x", "a: !!int x"]
)
def test_yaml_tags_are_refused(text: str) -> None:
    document = read_document(text)

    assert len(document.problems) == 1
    assert document.tree["a"] is None


def test_exponential_aliases_are_refused() -> None:
    lines = ["a: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"b{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]

    with pytest.raises(SettingsError, match="more than 20,000 values"):
        read_document("\n".join(lines))


@pytest.mark.parametrize("text", ["a: &a [*a]", "[" * 60, "a: " + "[" * 5_000 + "]" * 5_000])
def test_too_deep_nesting_is_refused(text: str) -> None:
    with pytest.raises(SettingsError):
        read_document(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1", "Line 1 is not YAML"),
        ("a: 1\n b: 2\n", "Line 2 is not YAML"),
        ("a: *nowhere", "Line 1 is not YAML"),
        ("a: \x00", "characters not allowed in YAML"),
        ("- a", "must be a mapping"),
        ("text", "must be a mapping"),
        ("a: 1\n---\nb: 2", "is not YAML"),
        ("#" * (MAX_BYTES + 1), "larger than 256 KiB"),
    ],
)
def test_text_that_is_not_a_mapping_is_refused_with_a_sentence(text: str, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        read_document(text)


def test_an_empty_file_is_an_empty_tree() -> None:
    assert read_document("# nothing\n").tree == {}
