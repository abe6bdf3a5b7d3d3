"""What tests need beside Python is prepared once, and never skipped in silence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import java
from tests.support.paths import ROOT
from tests.support.prepared import prepared

PREPARE = """
import sys
from pathlib import Path
from threading import Event
from tests.support.prepared import prepared

cache = Path(sys.argv[1])

def build():
    with (cache / "builds").open("a") as builds:
        builds.write("build\\n")
    (cache / "target").write_text("half")
    Event().wait(0.5)
    (cache / "target").write_text("whole")

print(prepared(cache / "target", build, cache=cache, source=Path(sys.argv[2])).read_text())
"""


def python(*arguments: str, **env: str) -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603  our own interpreter
        [sys.executable, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
    )  # fmt: skip


def test_two_processes_at_once_prepare_once_and_both_get_it_whole(tmp_path: Path) -> None:
    cache, source = tmp_path / "cache", tmp_path / "source"
    source.touch()

    started = [python("-c", PREPARE, str(cache), str(source)) for _ in range(2)]
    printed = [process.communicate(timeout=60)[0].strip() for process in started]

    assert printed == ["whole", "whole"]
    assert (cache / "builds").read_text() == "build\n"


def test_a_preparation_that_failed_is_repeated(tmp_path: Path) -> None:
    target, source = tmp_path / "cache" / "target", tmp_path / "source"
    source.touch()

    def fail() -> None:
        target.write_text("half")
        raise TimeoutError

    with pytest.raises(TimeoutError):
        prepared(target, fail, cache=target.parent, source=source)
    prepared(target, lambda: void(target.write_text("whole")), cache=target.parent, source=source)

    assert target.read_text() == "whole"


def test_what_is_older_than_its_source_is_prepared_anew(tmp_path: Path) -> None:
    target, source = tmp_path / "target", tmp_path / "source"
    source.touch()
    prepared(target, lambda: void(target.write_text("old")), cache=tmp_path, source=source)
    late = (tmp_path / "target.complete").stat().st_mtime + 1
    os.utime(source, (late, late))

    prepared(target, lambda: void(target.write_text("new")), cache=tmp_path, source=source)

    assert target.read_text() == "new"


def void(_: object) -> None:
    """Drop a result."""


def test_without_java_a_test_on_a_real_kafka_is_skipped_with_a_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CI", raising=False)

    with pytest.raises(pytest.skip.Exception, match="java and mvn not found on PATH"):
        java.require()


def test_without_java_a_test_on_a_real_kafka_fails_in_ci(tmp_path: Path) -> None:
    """The whole way: pytest on one of them, with a PATH that has neither java nor mvn."""
    kafka_test = "tests/kafka/test_delivery.py"
    run = ["-m", "pytest", "-q", "-n0", "--maxfail=1", "-p", "no:cacheprovider", kafka_test]

    process = python(*run, CI="true", PATH=str(tmp_path))
    output, _ = process.communicate(timeout=60)

    assert process.returncode == 1, output
    assert "are not skipped with CI=true, but java and mvn not found on PATH" in output
