"""Java and Maven: what is needed to run a real broker and a real registry, resolved once."""

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from tests.support.prepared import prepared

POM = Path(__file__).parents[1] / "kafka" / "pom.xml"
CACHE = POM.parent / ".cache"
_RESOLVE_SECONDS = 600


def why_missing() -> str | None:
    """Return in plain words why no Java program can be run here; None where it can."""
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    return f"{' and '.join(missing)} not found on PATH" if missing else None


def require() -> None:
    """Skip the test where Java or Maven is missing; with `CI=true` fail it."""
    if (reason := why_missing()) is None:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"Tests on a real Kafka are not skipped with CI=true, but {reason}.")
    pytest.skip(f"A real Kafka needs Java 17 and Maven: {reason}.")


def resolved(execution: str, product: str) -> Path:
    """Return `product` in the cache; Maven runs the pom's `execution` where it is missing or old.

    One lock for all of them, because a Maven repository is not safe for two processes either.
    """
    goal = f"dependency:{'build-classpath' if execution == 'broker' else 'unpack'}@{execution}"
    command = ["mvn", "-B", "-q", "-f", str(POM), f"-Dcache={CACHE}", goal]

    def resolve() -> None:
        subprocess.run(command, check=True, timeout=_RESOLVE_SECONDS)  # noqa: S603  a fixed command

    return prepared(CACHE / product, resolve, cache=CACHE, source=POM)


def free_ports(count: int) -> list[int]:
    """Return so many loopback ports that were free just now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [listener.getsockname()[1] for listener in sockets]
    for listener in sockets:
        listener.close()
    return ports
