"""The local store: LMDB, a cache of the changelog with one named database per partition.

Values and the changelog offset up to which they hold are written in one transaction. Whatever is
wrong with the files (torn, foreign, of another format) costs a restore and nothing else.

The folder of a local store: one process at a time, and trusted only where nothing tore it.

The store is written without waiting for the disk. A process that dies loses nothing by that, the
kernel has it all; a machine that dies may leave torn pages behind. So the folder notes under which
boot of the machine it is open, and whether it was closed in good order. It also counts starts that
came to nothing: a store that kills its process is not opened again and again.
"""

import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import lmdb
import msgspec
import structlog

from processor.domain.errors import InvariantError, SettingsError, UnavailableError
from processor.state.format.store import (
    META,
    ORIGIN,
    ChangelogPosition,
    Origin,
    PersonKey,
    name_of,
    shortened,
)

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MAX_BARREN_STARTS: Final = 4


class _Note(msgspec.Struct, frozen=True):
    boot: str
    closed: bool
    barren_starts: int = 0


class StoreFolder:
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


if TYPE_CHECKING:
    from lmdb import _Database, _StatDict


_RESERVE_BYTES: Final = 16 << 20
_PAGES_PER_PUT: Final = 4
_PAGE_BYTES: Final = 4_096
_FILE: Final = "data.mdb"

log = structlog.get_logger()


class LocalStore:
    """The open store. `partitions` is how many there may be; `max_bytes` bounds the file.

    Every call raises UnavailableError where the disk is at fault (nothing was written then), and
    InvariantError where the files are broken (the next start makes a new store).
    """

    def __init__(
        self, folder: StoreFolder, origin: Origin, *, partitions: int, max_bytes: int
    ) -> None:
        self._folder = folder
        self._max_bytes = min(max_bytes, _disk_bytes(folder))
        self._slots = partitions
        self._dbs: dict[int, _Database] = {}
        self._barren = True
        try:
            self._begin(origin)
        except BaseException:
            folder.release(closed=False)
            raise

    def mark(self, partition: int) -> ChangelogPosition | None:
        """Return up to where a partition is restored; None where nothing of it is here."""
        with self._at_the_door(), self._env.begin(self._meta) as transaction:
            found = transaction.get(name_of(partition))
        return msgspec.msgpack.decode(found, type=ChangelogPosition) if found else None

    def read(self, keys: Iterable[PersonKey]) -> dict[PersonKey, bytes]:
        """Return the values there are, in one snapshot."""
        found: dict[PersonKey, bytes] = {}
        with self._at_the_door(), self._env.begin() as transaction:
            get = transaction.get
            for key in keys:
                db = self._dbs.get(key[0])
                value = None if db is None else get(shortened(key[1]), None, db)
                if value is not None:
                    found[key] = value
        return found

    def write(
        self,
        changes: Mapping[int, Mapping[bytes, bytes | None]],
        marks: Mapping[int, ChangelogPosition],
    ) -> None:
        """Put values (None deletes) and move marks, all or nothing."""
        with self._at_the_door():
            for partition in {*changes, *marks} - self._dbs.keys():
                self._dbs[partition] = self._env.open_db(name_of(partition))
            self._reserve(changes)
            with self._env.begin(write=True) as transaction:
                for partition, values in changes.items():
                    _put(transaction, self._dbs[partition], values)
                for partition, mark in marks.items():
                    transaction.put(name_of(partition), msgspec.msgpack.encode(mark), db=self._meta)
        if self._barren and changes:
            self._barren = False
            self._folder.prove()

    def drop(self, partition: int) -> None:
        """Forget all of a partition."""
        with self._at_the_door(), self._env.begin(write=True) as transaction:
            transaction.delete(name_of(partition), db=self._meta)
            if partition in self._dbs:
                transaction.drop(self._dbs.pop(partition))

    def partitions(self) -> list[int]:
        """Return the partitions of which anything is here."""
        return sorted(self._dbs)

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield what is stored of a partition, by key, from one snapshot."""
        if partition in self._dbs:
            with self._at_the_door(), self._env.begin(self._dbs[partition]) as transaction:
                yield from transaction.cursor()

    def entries(self, partitions: Iterable[int]) -> int:
        """Return how many persons are stored of these partitions."""
        return sum(stat["entries"] for stat in self._stats(partitions))

    def size(self, partitions: Iterable[int]) -> int:
        """Return how many bytes these partitions take."""
        return sum(
            (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]) * stat["psize"]
            for stat in self._stats(partitions)
        )

    def close(self) -> None:
        """Bring everything to the disk and let go of the folder."""
        with self._at_the_door():
            self._env.sync(True)
            self._env.close()
        self._folder.release(closed=True)

    def _stats(self, partitions: Iterable[int]) -> "list[_StatDict]":
        with self._at_the_door(), self._env.begin() as transaction:
            return [transaction.stat(self._dbs[one]) for one in partitions if one in self._dbs]

    def _begin(self, origin: Origin) -> None:
        if not self._folder.claim():
            self._start_afresh("It may be torn, or was never there.")
        try:
            self._open(origin)
        except (lmdb.MapFullError, lmdb.DiskError, lmdb.MemoryError, OSError) as error:
            raise UnavailableError("local store", str(error)) from error
        except (lmdb.Error, msgspec.MsgspecError, _ForeignError) as error:
            self._start_afresh(str(error))
            with self._at_the_door():
                self._open(origin)

    def _open(self, origin: Origin) -> None:
        # With `writemap` a page the disk has no room for kills the process: hence `_reserve`.
        self._env = lmdb.open(
            str(self._folder.path),
            map_size=self._max_bytes,
            max_dbs=self._slots + 1,
            mode=0o600,
            writemap=True,
            sync=False,
            metasync=False,
            readahead=False,
        )
        self._reserved = 0
        self._reserve({})
        self._meta = self._env.open_db(META)
        with self._env.begin(self._meta, write=True) as transaction:
            found = transaction.get(ORIGIN)
            if found and not msgspec.json.decode(found, type=Origin).same_as(origin):
                raise _ForeignError("It belongs to another changelog or has another format.")
            if not found or origin.topic_id:
                transaction.put(ORIGIN, msgspec.json.encode(origin))
            names = [name for name, _ in transaction.cursor() if name != ORIGIN]
        self._dbs = {int(name): self._env.open_db(name) for name in names}

    def _start_afresh(self, why: str) -> None:
        if (self._folder.path / _FILE).exists():
            log.warning("The local store is made anew from the changelog.", why=why)
        self._folder.clear()

    def _reserve(self, changes: Mapping[int, Mapping[bytes, bytes | None]]) -> None:
        """Have the disk set space aside for what a transaction may append, before it does."""
        info = self._env.info()
        used = (info["last_pgno"] + 1) * _PAGE_BYTES
        wanted = used + sum(
            _PAGES_PER_PUT * _PAGE_BYTES + len(value or b"")
            for values in changes.values()
            for value in values.values()
        )
        if wanted <= self._reserved:
            return
        start, end = max(used, self._reserved), min(wanted + _RESERVE_BYTES, info["map_size"])
        if start < end:
            _allocate(self._folder.path / _FILE, start, end - start)
        self._reserved = end

    @contextmanager
    def _at_the_door(self) -> Iterator[None]:
        try:
            yield
        except lmdb.MapFullError as error:
            raise UnavailableError("local store", "join.max_store_bytes is used up") from error
        except (lmdb.DiskError, lmdb.ReadonlyError, lmdb.MemoryError, OSError) as error:
            raise UnavailableError("local store", str(error)) from error
        except lmdb.Error as error:
            self._folder.distrust()
            raise InvariantError(f"The local store is broken: {error}") from error


class _ForeignError(Exception):
    """The store is somebody else's."""


def _put(
    transaction: "lmdb.Transaction[bytes]", db: "_Database", values: Mapping[bytes, bytes | None]
) -> None:
    """Write in key order, which touches each page once."""
    puts = sorted((shortened(key), value) for key, value in values.items() if value is not None)
    transaction.cursor(db).putmulti(puts)
    for key, value in values.items():
        if value is None:
            transaction.delete(shortened(key), db=db)


def _allocate(file: Path, start: int, count: int) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.posix_fallocate(descriptor, start, count)
    finally:
        os.close(descriptor)


def _disk_bytes(folder: StoreFolder) -> int:
    disk = os.statvfs(folder.path)
    return disk.f_blocks * disk.f_frsize
