"""What the project's files may be called and may say."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.project.syntax import problems
from tests.support.paths import ROOT
from tests.support.tree import files

TOP = {
    ".ci", ".dockerignore", ".editorconfig", ".gitattributes", ".github", ".gitignore",
    ".pre-commit-config.yaml", ".python-version", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE",
    "Makefile", "README.md", "deploy", "processor", "pyproject.toml", "schemas", "tests",
}  # fmt: skip
TEXTS = [path for path in files() if path.suffix not in {".avro", ".bin", ".gz", ".png"}]
EXACT = (ROOT / "schemas/examples", ROOT / "tests/laws/recorded")
"""Values and recordings, compared byte for byte."""
PINS = ROOT / "deploy/requirements"
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


@pytest.mark.parametrize("name", ["build.txt", "dev.txt", "runtime.txt"])
def test_pinned_packages_have_hashes_and_no_addresses(name: str) -> None:
    lines = (PINS / name).read_text(encoding="utf-8").splitlines()
    pinned = [number for number, line in enumerate(lines) if re.match(r"[a-z0-9-]+==", line)]

    assert len(pinned) > 5
    assert all("--hash=sha256:" in lines[number + 1] for number in pinned)
    assert not [line for line in lines if "://" in line or line.startswith("--")]


def test_what_runs_and_what_builds_is_pinned_as_it_is_tested() -> None:
    def pins(name: str) -> set[str]:
        text = (PINS / name).read_text(encoding="utf-8")
        return set(re.findall(r"^[a-z0-9-]+==\S+", text, re.MULTILINE))

    assert pins("runtime.txt") < pins("dev.txt")
    assert pins("build.txt") < pins("dev.txt")
    assert not [pin for pin in pins("build.txt") if pin.startswith("pytest")]


def test_text_files_parse_and_end_with_a_newline() -> None:
    checked = [path for path in TEXTS if not any(map(path.is_relative_to, EXACT))]

    assert len(checked) > 100
    assert [problem for path in checked for problem in problems(path)] == []


def test_a_broken_file_is_found(tmp_path: Path) -> None:
    for name, text in {"a.json": "{", "a.toml": "=", "a.yaml": "[", "a.md": "x"}.items():
        path = tmp_path / name
        path.write_text(text)

        assert list(problems(path))


def test_commit_hooks_run_tools_of_the_project_s_environment() -> None:
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]

    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    assert all(hook["entry"].startswith(".venv/bin/") for hook in hooks)
    assert all((Path(sys.executable).parent / hook["entry"].split()[0].split("/")[-1]).exists()
               for hook in hooks)  # fmt: skip


def test_the_wheel_has_types_and_schemas(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)  # noqa: S603  our own tool
    (wheel,) = tmp_path.glob("*.whl")

    with zipfile.ZipFile(wheel) as files_of_wheel:
        names = set(files_of_wheel.namelist())

    assert {"processor/py.typed", "processor/schemas/xdm/score-event.fieldgroup.json"} <= names
    assert not [name for name in names if name.startswith(("tests", "deploy"))]


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
    target = readme.parent / address.path if address.path else readme
    return bool(address.scheme) or (
        target.exists() and (not address.fragment or address.fragment in _anchors(target))
    )


def _anchors(document: Path) -> set[str]:
    """Return the anchors of a document's headings, as GitHub names them."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
