"""The local store, looked at from outside, while the processor runs or is dead."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

import lmdb
import msgspec

from processor.errors import UnavailableError
from processor.state.names import META, Mark, name_of, shortened

__all__ = ["StoreView"]

_MAX_DBS = 4_096


class StoreView:
    """One snapshot of a store, which it changes in no way; to be used as a context.

    `marks` tells which partitions it has, and up to where. Raises UnavailableError where there is
    no store to be read.
    """

    def __init__(self, directory: str) -> None:
        try:
            self._env = lmdb.open(directory, readonly=True, create=False, max_dbs=_MAX_DBS)
            self._transaction = self._env.begin()
            meta = self._env.open_db(META, self._transaction, create=False)
            self.marks = {
                int(name): msgspec.msgpack.decode(value, type=Mark)
                for name, value in self._transaction.cursor(meta)
                if name.isdigit()
            }
            self._dbs = {
                number: self._env.open_db(name_of(number), self._transaction, create=False)
                for number in self.marks
            }
        except lmdb.Error as error:
            raise UnavailableError("local store", str(error)) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._transaction.abort()
        self._env.close()

    def find(self, key: bytes) -> dict[int, bytes]:
        """Return what is stored of a person, by partition."""
        found = {
            number: self._transaction.get(shortened(key), None, db)
            for number, db in self._dbs.items()
        }
        return {number: wire for number, wire in found.items() if wire is not None}

    def scan(self, partition: int) -> Iterator[tuple[bytes, bytes]]:
        """Yield what is stored of a partition, by key."""
        yield from self._transaction.cursor(self._dbs[partition])
