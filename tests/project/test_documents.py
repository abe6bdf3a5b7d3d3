"""The documents name files, classes and settings that exist."""

import ast
import re
from pathlib import Path

import pytest

from processor.settings.describe import reference
from processor.telemetry.catalogue import CATALOGUE
from tests.support.paths import ROOT
from tests.support.tree import files, modules

CODE_DOCUMENTS = [ROOT / "CONTRIBUTING.md", ROOT / "processor/README.md"]
DOCUMENTS = [path for path in files() if path.suffix == ".md" and path.name != "CHANGELOG.md"]
SECTIONS = ("kafka", "registry", "reading", "identity", "event", "join", "aep", "dead_letter",
            "telemetry", "stop")  # fmt: skip


def quoted(document: Path) -> list[str]:
    text = re.sub(r"```.*?```", "", document.read_text(encoding="utf-8"), flags=re.DOTALL)
    return re.findall(r"`([^`\n]+)`", text)


def classes() -> dict[str, set[str]]:
    return {
        node.name: {getattr(member, "name", "") for member in node.body}
        for tree in modules().values()
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


@pytest.mark.parametrize("document", CODE_DOCUMENTS, ids=lambda path: path.parent.name)
def test_files_in_a_document_exist(document: Path) -> None:
    named = {word for word in quoted(document) if re.fullmatch(r"[\w./]+/?", word)}
    paths = {
        word for word in named if word.endswith((".py", ".json", ".yaml", "/")) and "/" in word
    }

    assert len(paths) > 10
    assert [
        path for path in sorted(paths)
        if not ((ROOT / path).exists() or (ROOT / "processor" / path).exists())
    ] == []  # fmt: skip


@pytest.mark.parametrize("document", CODE_DOCUMENTS, ids=lambda path: path.parent.name)
def test_classes_in_a_document_exist(document: Path) -> None:
    known = classes()
    pattern = r"(?:\w+\.)?([A-Z][a-z]+(?:[A-Z]\w*)?)(?:\.([a-z_]+))?"
    named = [found for word in quoted(document) if (found := re.fullmatch(pattern, word))]
    named = [found for found in named if found[1] not in {"Namespace", "Makefile"}]

    assert len(named) > 5
    assert [found[0] for found in named if found[1] not in known] == []
    assert [
        found[0] for found in named
        if found[2] and found[2] not in known[found[1]] | {"format"}
    ] == []  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_settings_and_metrics_in_a_document_exist(document: Path) -> None:
    keys = set(re.findall(r"^ *(?:- )?([a-z_]+):", reference(), re.MULTILINE))
    metrics = {row.exposed_name for row in CATALOGUE}
    settings = [word for word in quoted(document) if re.fullmatch(r"[a-z_]+\.[a-z_.]+", word)]
    settings = [
        word for word in settings if word.split(".")[0] in SECTIONS and not word.endswith(".py")
    ]

    assert [word for word in settings if not {*word.split(".")} <= keys] == []
    assert {word for word in quoted(document) if word.startswith("cai_")} - metrics == set()
