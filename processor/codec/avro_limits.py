"""The cost of an Avro schema: how many values it can make of how few bytes.

Checked before anything is decoded, because a schema is an instruction to allocate. A schema that
contains itself recurses until the stack is exhausted; an array of zero-width items turns five bytes
into a billion values; records of empty records double with each level. All three follow from the
schema alone, so no record is scanned.
"""

from typing import Any, NamedTuple

CONSTANT = "constant"
"""A type beside Avro's own: its `value` is in no message, and every message has it."""
MAX_LEVELS = 64
_MAX_FREE_VALUES = 20_000

_WIDTHS = {"null": 0, "float": 4, "double": 8}
"""Least bytes of a primitive; all others take at least one (text and bytes: their size)."""


class UnsafeSchemaError(ValueError):
    """A schema that no record is decoded with; the message is the reason."""


class AvroCost(NamedTuple):
    """The upper bound `free + per_byte * bytes` of values that a message can unfold into.

    `width` is the least number of bytes a value takes, `levels` how deep it nests. `free` counts
    the values that take no bytes.
    """

    width: int
    free: float
    per_byte: float
    levels: int = 1

    def values(self, size: int) -> float:
        """Return how many values `size` bytes can become at most."""
        return self.free + self.per_byte * size


def avro_cost(schema: Any, named: dict[str, Any]) -> AvroCost:  # noqa: ANN401  Avro schemas are JSON
    """Return the cost of a parsed schema; `named` holds its named types by full name.

    UnsafeSchemaError: it contains itself, has items of zero width, nests deeper than 64 levels, or
    makes more than 20,000 values of no bytes at all.
    """
    cost = _CostEstimator(named).cost(schema, 1)
    if cost.free > _MAX_FREE_VALUES:
        raise UnsafeSchemaError("The schema makes too many values of no bytes at all.")
    return cost


class _CostEstimator:
    """Estimates each named type once; a type met again during its own estimate contains itself."""

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named
        self._costs: dict[str, AvroCost | None] = {}
        """None: the estimate of the type is in progress."""

    def cost(self, schema: Any, level: int) -> AvroCost:  # noqa: ANN401
        if level > MAX_LEVELS:
            raise UnsafeSchemaError(f"The schema nests deeper than {MAX_LEVELS} levels.")
        if isinstance(schema, str):
            return self._by_name(schema, level)
        if isinstance(schema, list):
            return self._union(schema, level)
        if schema["type"] == CONSTANT:
            return AvroCost(0, _count(schema["value"]), 1)
        return self._complex(schema, level)

    def _complex(self, schema: dict[str, Any], level: int) -> AvroCost:
        match schema["type"]:
            case "record" | "error":
                return self._named_once(schema["name"], schema, level)
            case "array":
                return _collection(self.cost(schema["items"], level + 1), 0)
            case "map":
                return _collection(self.cost(schema["values"], level + 1), 1)
            case "fixed":
                return _plain(_fixed_size(schema["size"]))
            case "enum":
                return _plain(1)
            case inner:
                return self.cost(inner, level)

    def _by_name(self, name: str, level: int) -> AvroCost:
        definition = self._named.get(name)
        if definition is None:
            return _plain(_WIDTHS.get(name, 1))
        if definition["type"] in ("record", "error"):
            return self._named_once(name, definition, level)
        return self.cost(definition, level)

    def _named_once(self, name: str, record: dict[str, Any], level: int) -> AvroCost:
        if name not in self._costs:
            self._costs[name] = None
            self._costs[name] = self._record(record, level)
        cost = self._costs[name]
        if cost is None:
            raise UnsafeSchemaError(f"The type {name} contains itself.")
        # The level was checked where the type was first met; here it may be deeper.
        if level + cost.levels > MAX_LEVELS + 1:
            raise UnsafeSchemaError(f"The schema nests deeper than {MAX_LEVELS} levels.")
        return cost

    def _record(self, record: dict[str, Any], level: int) -> AvroCost:
        # A byte belongs to one field, so the densest field bounds the values for each byte.
        fields = [self.cost(field["type"], level + 1) for field in record["fields"]]
        return AvroCost(
            width=sum(field.width for field in fields),
            free=1 + sum(field.free for field in fields),
            per_byte=max((field.per_byte for field in fields), default=0),
            levels=1 + max((field.levels for field in fields), default=0),
        )

    def _union(self, branches: list[Any], level: int) -> AvroCost:
        # The index takes one byte at least. A branch's free values come with that byte and those of
        # the branch itself, so they count by the byte: a union as such has no free values.
        costs = [self.cost(branch, level) for branch in branches]
        return AvroCost(
            width=1 + min((branch.width for branch in costs), default=0),
            free=0,
            per_byte=max((b.per_byte + b.free / (1 + b.width) for b in costs), default=1),
            levels=max((branch.levels for branch in costs), default=1),
        )


def _fixed_size(declared: object) -> int:
    if not isinstance(declared, int) or declared < 0:
        raise UnsafeSchemaError("A fixed type has no sensible size.")
    return declared


def _count(value: Any) -> int:  # noqa: ANN401
    """Return how many values a JSON value has, itself included."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_count, inner))


def _plain(width: int) -> AvroCost:
    return AvroCost(width, float(width == 0), 1)


def _collection(item: AvroCost, key_width: int) -> AvroCost:
    if item.width == 0:
        raise UnsafeSchemaError("An array or map has items that take no bytes.")
    # Each item brings its free values (and a map its key) with at least `width` bytes. The
    # collection itself is one value and takes one byte: the block count 0 that ends it.
    width = key_width + item.width
    return AvroCost(1, 1, item.per_byte + (item.free + key_width) / width, item.levels + 1)
