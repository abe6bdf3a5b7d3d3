"""The measured systems: the processor and its peers, commands that read topics and post events."""

import subprocess
import sys
import venv
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.support.framed import SCORE_ROW
from tests.support.prepared import prepared
from tests.support.recipe import ORG, recipe, written

_HERE = Path(__file__).parent
_CACHE = _HERE / ".cache"
PEERS = {"Bytewax": "bytewax_flow", "Quix Streams": "quix_app", "Faust": "faust_app"}


class Task(NamedTuple):
    """What is to be done: read these topics, post there."""

    bootstrap: str
    scores: str
    events: str | None
    inlet: str
    folder: Path
    registry: str | None
    """Set where the scores are Avro."""


class System(NamedTuple):
    """A name, how to run it (`command(task)` gives arguments and environment), can it join?"""

    name: str
    command: Callable[[Task], tuple[list[str], dict[str, str]]]
    joins: bool = True


def systems() -> list[System]:
    """Return the processor and every peer that is installed."""
    ours = [System("this processor", _is_ours)]
    here = [name for name in PEERS if _python(name).exists()]
    return ours + [System(name, _peer(name), joins=name != "Faust") for name in here]


def prepare() -> None:
    """Install each peer into an environment of its own, where it is not there yet."""
    for name, script in PEERS.items():
        wanted = _HERE / "peers" / f"{script.partition('_')[0]}.txt"
        prepared(_python(name), partial(_install, name, wanted), cache=_CACHE, source=wanted)


def _install(name: str, wanted: Path) -> None:
    python = _python(name)
    venv.create(python.parents[1], with_pip=True, clear=True)
    command = [str(python), "-m", "pip", "install", "--quiet", "-r", str(wanted)]
    subprocess.run(command, check=True)  # noqa: S603  a fixed command


def _is_ours(task: Task) -> tuple[list[str], dict[str, str]]:
    settings = recipe(
        task.bootstrap,
        task.inlet,
        task.folder,
        kafka={
            "group_id": f"bench-{task.folder.name}",
            "scores": {"topics": [task.scores]},
            "events": {"topics": [task.events]} if task.events else None,
        },
        join={"enabled": task.events is not None, "changelog_topic": f"{task.folder.name}-state"},
        aep={"org_id": ORG, "limits": {"requests_per_second": 1e6, "messages_per_second": 1e6}},
        telemetry={"port": 0},
        registry={"url": task.registry} if task.registry else {},
    )
    config = written(settings, task.folder / "settings.yaml")
    return [sys.executable, "-m", "processor", "run", "--config", str(config)], {}


def _peer(name: str) -> Callable[[Task], tuple[list[str], dict[str, str]]]:
    script = str(_HERE / "peers" / f"{PEERS[name]}.py")

    def command(task: Task) -> tuple[list[str], dict[str, str]]:
        env = {
            "BENCH_BOOTSTRAP": task.bootstrap,
            "BENCH_GROUP": task.folder.name,
            "BENCH_SCORES": task.scores,
            "BENCH_EVENTS": task.events or "",
            "BENCH_INLET": f"{task.inlet}/bench",
            "BENCH_AVRO": SCORE_ROW if task.registry else "",
        }
        worker = ["worker", "-l", "warn"] if name == "Faust" else []
        return [str(_python(name)), script, *worker], env

    return command


def _python(name: str) -> Path:
    return _CACHE / PEERS[name].partition("_")[0] / "bin" / "python"
