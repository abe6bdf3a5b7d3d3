"""What the project's files may be called and may say."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.support.paths import ROOT
from tests.support.tree import files

TOP = {
    ".ci", ".dockerignore", ".editorconfig", ".gitattributes", ".github", ".gitignore",
    ".pre-commit-config.yaml", ".python-version", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE",
    "Makefile", "README.md", "constraints.txt", "deploy", "processor", "pyproject.toml",
    "requirements.txt", "schemas", "tests",
}  # fmt: skip
TEXTS = [path for path in files() if path.suffix not in {".avro", ".bin", ".gz", ".png"}]
READMES = [path for path in files() if path.suffix == ".md"]

# Written in pieces, so that this file does not say what it forbids.
REGISTRIES = ["py" + "pi.org", "python" + "hosted.org", "npm" + "js.", "mav" + "en.org",
              "mav" + "en.com", "crates" + ".io"]  # fmt: skip
MACHINE_PATHS = ["/" + place + "/" for place in ("work", "farm", "root", "home/user")]
FORBIDDEN = re.compile("|".join(map(re.escape, [*REGISTRIES, *MACHINE_PATHS])), re.IGNORECASE)
SECRETS = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{36}\b"
    r"|\beyJ[A-Za-z0-9_-]{20,}\.eyJ[A-Za-z0-9_-]{20,}\."
)


def test_top_level_names_are_fixed() -> None:
    assert {path.relative_to(ROOT).parts[0] for path in files()} <= TOP


@pytest.mark.parametrize("pattern", [FORBIDDEN, SECRETS], ids=["places", "secrets"])
def test_no_file_names_a_registry_a_machine_or_a_secret(pattern: re.Pattern[str]) -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in TEXTS
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if pattern.search(line)
    ]

    assert found == []


def test_no_file_is_large() -> None:
    assert [path.name for path in files() if path.stat().st_size > 1_000_000] == []


def test_pinned_packages_have_hashes_and_no_addresses() -> None:
    for name in ("constraints.txt", "requirements.txt"):
        lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
        pinned = [at for at, line in enumerate(lines) if re.match(r"[a-z0-9-]+==", line)]

        assert len(pinned) > 20
        assert all("--hash=sha256:" in lines[at + 1] for at in pinned)
        assert not [line for line in lines if "://" in line or line.startswith("--")]


def test_what_runs_is_pinned_as_it_is_tested() -> None:
    def pins(name: str) -> set[str]:
        return set(re.findall(r"^[a-z0-9-]+==\S+", (ROOT / name).read_text("utf-8"), re.MULTILINE))

    assert pins("requirements.txt") < pins("constraints.txt")


@pytest.mark.parametrize("folder", ["", "processor", "schemas", "deploy", "tests"])
def test_a_folder_explains_itself(folder: str) -> None:
    assert (ROOT / folder / "README.md").is_file()


@pytest.mark.parametrize("readme", READMES, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(readme: Path) -> None:
    text = re.sub(r"```.*?```", "", readme.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = re.findall(r"\]\(([^)\s]+)\)", text)

    assert [link for link in links if not _exists(readme, link)] == []


def _exists(readme: Path, link: str) -> bool:
    address = urlsplit(link)
    return bool(address.scheme) or (readme.parent / address.path).exists()
