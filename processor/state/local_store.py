"""The local store: LMDB, a cache of the changelog with one named database per partition.

Values and the changelog offset up to which they hold are written in one transaction. Whatever is
wrong with the files (torn, of another changelog, of another format) costs a restore, nothing else.
Where the changelog was deleted and created anew, the store is what is left of it: the values stay,
and the positions become 0.

The store is written without waiting for the disk. A process that dies loses nothing by that: the
kernel has all writes. A machine that dies may leave torn pages. So a note in the folder says under
which boot of the machine the store is open, and whether it was closed in order. It also counts
starts without a write: a store that kills its process is not opened again and again.
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
    LONGEST_KEY,
    META,
    ORIGIN,
    ChangelogPosition,
    Origin,
    StoreNote,
    database_name,
    store_key,
)
from processor.state.person import PersonKey

if TYPE_CHECKING:
    from lmdb import _Database, _StatDict

_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_MAX_UNPROVEN_STARTS: Final = 4
_RESERVE_BYTES: Final = 16 << 20
_PAGES_PER_PUT: Final = 4
_PAGE_BYTES: Final = 4_096
_FILE: Final = "data.mdb"

log = structlog.get_logger()


class StoreFolder:
    """The locked folder of a store: `open` it before the store's files, `release` it after them.

    Raises SettingsError where another process has it, UnavailableError where it cannot be written.
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

    def open(self) -> bool:
        """Note that the store is open; return whether its files can be trusted."""
        boot, before = _boot_id(), self._read()
        intact = before is not None and (before.closed or before.boot == boot != "")
        unproven = before.unproven_starts if before is not None and intact else 0
        trusted = intact and unproven < _MAX_UNPROVEN_STARTS
        self._write(StoreNote(boot, closed=False, unproven_starts=unproven + 1 if trusted else 1))
        return trusted

    def prove(self) -> None:
        """Note that the store of this start was read and written."""
        self._write(StoreNote(_boot_id(), closed=False))

    def invalidate(self) -> None:
        """Note that the store is broken: the next start makes a new one."""
        self._note.unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete the store's files."""
        for name in ("data.mdb", "lock.mdb"):
            (self.path / name).unlink(missing_ok=True)

    def release(self, *, closed: bool) -> None:
        """Unlock the folder; `closed` says that all of the store is on disk."""
        if closed:
            self._write(StoreNote(_boot_id(), closed=True))
        os.close(self._lock)

    def _read(self) -> StoreNote | None:
        try:
            return msgspec.json.decode(self._note.read_bytes(), type=StoreNote)
        except (OSError, msgspec.MsgspecError):
            return None

    def _write(self, note: StoreNote) -> None:
        fresh = self._note.with_suffix(".new")
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.encode(note))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._note)
        except OSError as error:
            raise UnavailableError("local store", f"{self.path}: {error.strerror}") from error


def _boot_id() -> str:
    """Return what changes with every boot of the machine; empty where the kernel has no such id."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return ""


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
        self._max_databases = partitions + 1
        self._dbs: dict[int, _Database] = {}
        self._unproven = True
        self._origin = origin
        self.recreated = False
        """Whether the changelog was deleted and created anew since the store was closed."""
        try:
            self._open_trusted(origin)
        except BaseException:
            folder.release(closed=False)
            raise

    def position(self, partition: int) -> ChangelogPosition | None:
        """Return up to where a partition is restored; None where the store has nothing of it."""
        with self._lmdb_errors(), self._env.begin(self._meta) as transaction:
            found = transaction.get(database_name(partition))
        return msgspec.msgpack.decode(found, type=ChangelogPosition) if found else None

    def read(self, keys: Iterable[PersonKey]) -> dict[PersonKey, bytes]:
        """Return the values that the store has, from one snapshot."""
        found: dict[PersonKey, bytes] = {}
        with self._lmdb_errors(), self._env.begin() as transaction:
            get = transaction.get
            for key in keys:
                db = self._dbs.get(key[0])
                value = None if db is None else get(store_key(key[1]), None, db)
                if value is not None:
                    found[key] = value
        return found

    def write(
        self,
        changes: Mapping[int, Mapping[bytes, bytes | None]],
        positions: Mapping[int, ChangelogPosition],
    ) -> None:
        """Write values (None deletes) and positions, all or nothing."""
        with self._lmdb_errors():
            for partition in {*changes, *positions} - self._dbs.keys():
                self._dbs[partition] = self._env.open_db(database_name(partition))
            self._reserve(changes)
            with self._env.begin(write=True) as transaction:
                for partition, values in changes.items():
                    _put(transaction, self._dbs[partition], values)
                for partition, position in positions.items():
                    encoded = msgspec.msgpack.encode(position)
                    transaction.put(database_name(partition), encoded, db=self._meta)
        if self._unproven and changes:
            self._unproven = False
            self._folder.prove()

    def adopt(self, topic_id: str) -> None:
        """Be the cache of the changelog topic that has this id now, and of which it has nothing."""
        self._origin = msgspec.structs.replace(self._origin, topic_id=topic_id)
        with self._lmdb_errors(), self._env.begin(self._meta, write=True) as transaction:
            _adopt(transaction, self._origin)

    def person_values(self, partition: int) -> dict[bytes, bytes]:
        """Return the values of a partition by person key, but for keys that are stored shortened.

        A person key that long is found again only by its own records.
        """
        return {key: value for key, value in self.scan(partition) if len(key) < LONGEST_KEY}

    def drop(self, partition: int) -> None:
        """Delete all of a partition."""
        with self._lmdb_errors(), self._env.begin(write=True) as transaction:
            transaction.delete(database_name(partition), db=self._meta)
            if partition in self._dbs:
                transaction.drop(self._dbs.pop(partition))

    def partitions(self) -> list[int]:
        """Return the partitions of which the store has anything."""
        return sorted(self._dbs)

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield the keys and values of a partition, by key, from one snapshot."""
        if partition in self._dbs:
            with self._lmdb_errors(), self._env.begin(self._dbs[partition]) as transaction:
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
        """Write everything to the disk and release the folder."""
        with self._lmdb_errors():
            self._env.sync(True)
            self._env.close()
        self._folder.release(closed=True)

    def _stats(self, partitions: Iterable[int]) -> "list[_StatDict]":
        with self._lmdb_errors(), self._env.begin() as transaction:
            return [transaction.stat(self._dbs[one]) for one in partitions if one in self._dbs]

    def _open_trusted(self, origin: Origin) -> None:
        """Open the files, or new ones where they cannot be used."""
        if not self._folder.open():
            self._clear("It may be torn, or was never there.")
        try:
            self._open(origin)
        except (lmdb.MapFullError, lmdb.DiskError, lmdb.MemoryError, OSError) as error:
            raise UnavailableError("local store", str(error)) from error
        except (lmdb.Error, msgspec.MsgspecError, _OtherOriginError) as error:
            if isinstance(error, _OtherOriginError):
                log.error(  # noqa: TRY400  its sentence says all
                    "The local store belongs to another changelog topic or another cluster, or has "
                    "another format. It is deleted, and state is what the changelog has.",
                    code="local_store_of_another_changelog",
                    error=str(error),
                )
            self._clear(str(error))
            with self._lmdb_errors():
                self._open(origin)

    def _open(self, origin: Origin) -> None:
        # With `writemap`, writing a page for which the disk is too full kills the process (SIGBUS),
        # so `_reserve` allocates the space first.
        self._env = lmdb.open(
            str(self._folder.path),
            map_size=self._max_bytes,
            max_dbs=self._max_databases,
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
            before = msgspec.json.decode(found, type=Origin) if found else origin
            if not before.same_name_as(origin):
                raise _OtherOriginError(f"It belongs to {before}, and the changelog is {origin}.")
            self.recreated = before.recreated_as(origin)
            if self.recreated:
                _adopt(transaction, origin)
            elif not found or origin.topic_id:
                transaction.put(ORIGIN, msgspec.json.encode(origin))
            names = [name for name, _ in transaction.cursor() if name != ORIGIN]
        self._dbs = {int(name): self._env.open_db(name) for name in names}

    def _clear(self, error: str) -> None:
        if (self._folder.path / _FILE).exists():
            log.warning(
                "The local store is restored from the changelog.",
                code="local_store_cleared",
                error=error,
            )
        self._folder.clear()

    def _reserve(self, changes: Mapping[int, Mapping[bytes, bytes | None]]) -> None:
        """Allocate disk space for what a transaction may append, before it does."""
        info = self._env.info()
        used = (info["last_pgno"] + 1) * _PAGE_BYTES
        # LMDB copies each page that it changes: for every put at most the pages from a leaf to the
        # root, beside the overflow pages of a long value.
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
    def _lmdb_errors(self) -> Iterator[None]:
        try:
            yield
        except lmdb.MapFullError as error:
            raise UnavailableError("local store", "join.max_store_bytes is used up") from error
        except (lmdb.DiskError, lmdb.ReadonlyError, lmdb.MemoryError, OSError) as error:
            raise UnavailableError("local store", str(error)) from error
        except lmdb.Error as error:
            self._folder.invalidate()
            raise InvariantError(f"The local store is broken: {error}") from error


class _OtherOriginError(Exception):
    """The store is a cache of another changelog, or has another format."""


def _adopt(transaction: "lmdb.Transaction[bytes]", origin: Origin) -> None:
    """Note the origin, and that the changelog may lack everything."""
    transaction.put(ORIGIN, msgspec.json.encode(origin))
    for name, found in list(transaction.cursor()):
        if name != ORIGIN:
            position = msgspec.msgpack.decode(found, type=ChangelogPosition)
            transaction.put(name, msgspec.msgpack.encode(ChangelogPosition(0, position.at_ms)))


def _put(
    transaction: "lmdb.Transaction[bytes]", db: "_Database", values: Mapping[bytes, bytes | None]
) -> None:
    """Write in key order, which touches each page once."""
    puts = sorted((store_key(key), value) for key, value in values.items() if value is not None)
    transaction.cursor(db).putmulti(puts)
    for key, value in values.items():
        if value is None:
            transaction.delete(store_key(key), db=db)


def _allocate(file: Path, start: int, count: int) -> None:
    descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.posix_fallocate(descriptor, start, count)
    finally:
        os.close(descriptor)


def _disk_bytes(folder: StoreFolder) -> int:
    disk = os.statvfs(folder.path)
    return disk.f_blocks * disk.f_frsize
