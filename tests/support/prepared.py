"""Files that are built once and shared by all tests: one process builds, the others wait for it."""

import fcntl
from collections.abc import Callable
from pathlib import Path


def prepared(target: Path, build: Callable[[], None], *, cache: Path, source: Path) -> Path:
    """Return `target`, built by `build` unless it is complete and newer than `source`.

    `cache` is the folder that holds it, and its lock: any number of processes may call this at the
    same time, also for different targets. A build that fails or is killed is repeated, because the
    stamp that marks a target as complete is written after it.
    """
    cache.mkdir(parents=True, exist_ok=True)
    stamp = cache / f"{'.'.join(target.relative_to(cache).parts)}.complete"
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # released with the file, and by a process that dies
        if not (target.exists() and _is_newer(stamp, source)):
            stamp.unlink(missing_ok=True)
            build()
            stamp.touch()
    return target


def _is_newer(stamp: Path, source: Path) -> bool:
    return stamp.exists() and stamp.stat().st_mtime > source.stat().st_mtime
