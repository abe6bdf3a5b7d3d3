"""Java and Maven: what is needed to run a real broker and a real registry, resolved once."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

__all__ = ["CACHE", "free_ports", "require", "resolved", "why_missing"]

_POM = Path(__file__).parents[1] / "kafka" / "pom.xml"
CACHE = _POM.parent / ".cache"
_RESOLVE_SECONDS = 600


def why_missing() -> str | None:
    """Say in plain words why no Java program can be run here; None: it can."""
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not found on PATH" if missing else None


def require() -> None:
    """Skip the test where Java or Maven is missing; fail it where CI promises them."""
    if (reason := why_missing()) is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"A real Kafka is promised here, but {reason}.")
    pytest.skip(f"A real Kafka needs Java 17 and Maven: {reason}.")


def resolved(execution: str, product: str) -> Path:
    """Return `product` in the cache, letting Maven run the pom's `execution` where it is stale."""
    path = CACHE / product
    if path.exists() and path.stat().st_mtime > _POM.stat().st_mtime:
        return path
    CACHE.mkdir(exist_ok=True)
    goal = "build-classpath" if execution == "broker" else "unpack"
    subprocess.run(  # noqa: S603  a fixed command
        ["mvn", "-B", "-q", "-f", str(_POM), f"-Dcache={CACHE}", f"dependency:{goal}@{execution}"],  # noqa: S607  found on PATH
        check=True,
        timeout=_RESOLVE_SECONDS,
    )
    path.touch()
    return path


def free_ports(count: int) -> list[int]:
    """Return so many loopback ports that were free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports
