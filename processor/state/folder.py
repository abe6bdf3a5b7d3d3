"""The folder of a local store: one process at a time, and trusted only where nothing tore it.

The store is written without waiting for the disk. A process that dies loses nothing by that, the
kernel has it all; a machine that dies may leave torn pages behind. So the folder notes under which
boot of the machine it is open, and whether it was closed in good order. It also counts starts that
came to nothing: a store that kills its process is not opened again and again.
"""

import fcntl
import os
from pathlib import Path
from typing import Final

import msgspec

from processor.errors import SettingsError, UnavailableError

__all__ = ["Folder"]

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MAX_BARREN_STARTS: Final = 4


class _Note(msgspec.Struct, frozen=True):
    boot: str
    closed: bool
    barren_starts: int = 0


class Folder:
    """A locked folder; `claim` it before anything in it is opened, `release` it after.

    Raises SettingsError where another process has it, UnavailableError where it can not be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._note = path / "note.json"
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise UnavailableError("local store", f"{path}: {error.strerror}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise SettingsError(
                [f"join.directory: another process uses {path}; each replica needs its own."]
            ) from error

    def claim(self) -> bool:
        """Note that the store is open; return whether what is in it can be trusted."""
        boot, before = _boot(), self._read()
        whole = before is not None and (before.closed or before.boot == boot != "")
        barren = before.barren_starts if before is not None and whole else 0
        trusted = whole and barren < _MAX_BARREN_STARTS
        self._write(_Note(boot, closed=False, barren_starts=barren + 1 if trusted else 1))
        return trusted

    def prove(self) -> None:
        """Note that this start was worth something: the store was read and written."""
        self._write(_Note(_boot(), closed=False))

    def distrust(self) -> None:
        """Note that the store is broken: the next start makes a new one."""
        self._note.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete the store's files."""
        for name in ("data.mdb", "lock.mdb"):
            (self.path / name).unlink(missing_ok=True)

    def release(self, *, closed: bool) -> None:
        """Unlock the folder; `closed` says that all of the store is on disk."""
        if closed:
            self._write(_Note(_boot(), closed=True))
        os.close(self._lock)

    def _read(self) -> _Note | None:
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=_Note)
        except (OSError, msgspec.MsgspecError):
            return None

    def _write(self, note: _Note) -> None:
        fresh = self._note.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(note))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._note)
        except OSError as error:
            raise UnavailableError("local store", f"{self.path}: {error.strerror}") from error


def _boot() -> str:
    """Return what changes with every boot of the machine; empty where nothing says so."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""
