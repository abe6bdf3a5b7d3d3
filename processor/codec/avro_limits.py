"""How much an Avro schema can make of how few bytes: checked before any Avro is decoded.

A schema is an instruction to allocate. One that names itself recurses until the stack is gone; an
array of zero-width items turns five bytes into a billion values; records of records of nothing
double with each level. All three are seen in the schema, so no record needs to be scanned.
"""

from typing import Any, NamedTuple

MAX_LEVELS = 64
_MAX_FREE_VALUES = 20_000

_WIDTHS = {"null": 0, "float": 4, "double": 8}


class UnsafeSchemaError(ValueError):
    """A schema that no record is decoded with; the message says why."""


class AvroCost(NamedTuple):
    """The upper bound `free + per_byte * bytes` of values that a message can unfold into.

    `width` is the least number of bytes a value takes, `levels` how deep it nests.
    """

    width: int
    free: float
    per_byte: float
    levels: int = 1

    def values(self, size: int) -> float:
        """Return how many values `size` bytes can become at most."""
        return self.free + self.per_byte * size


def avro_cost(schema: Any, named: dict[str, Any]) -> AvroCost:  # noqa: ANN401  Avro schemas are JSON
    """Weigh a parsed schema; `named` holds its named types by full name.

    UnsafeSchemaError: it names itself, has items of zero width, nests deeper than 64 levels, or
    makes more than 20,000 values of no bytes at all.
    """
    weight = _CostEstimator(named).cost(schema, 1)
    if weight.free > _MAX_FREE_VALUES:
        raise UnsafeSchemaError("The schema makes too many values of no bytes at all.")
    return weight


class _CostEstimator:
    """Weighs each named type once; a type met again while it is being weighed names itself."""

    def __init__(self, named: dict[str, Any]) -> None:
        self._named = named
        self._weighed: dict[str, AvroCost | None] = {}

    def cost(self, schema: Any, level: int) -> AvroCost:  # noqa: ANN401
        if level > MAX_LEVELS:
            raise UnsafeSchemaError(f"The schema nests deeper than {MAX_LEVELS} levels.")
        if isinstance(schema, str):
            return self._by_name(schema, level)
        if isinstance(schema, list):
            return self._union(schema, level)
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
                return _plain(_size(schema["size"]))
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
        if name not in self._weighed:
            self._weighed[name] = None
            self._weighed[name] = self._record(record, level)
        weight = self._weighed[name]
        if weight is None:
            raise UnsafeSchemaError(f"The type {name} contains itself.")
        if level + weight.levels > MAX_LEVELS + 1:
            raise UnsafeSchemaError(f"The schema nests deeper than {MAX_LEVELS} levels.")
        return weight

    def _record(self, record: dict[str, Any], level: int) -> AvroCost:
        fields = [self.cost(field["type"], level + 1) for field in record["fields"]]
        return AvroCost(
            width=sum(field.width for field in fields),
            free=1 + sum(field.free for field in fields),
            per_byte=max((field.per_byte for field in fields), default=0),
            levels=1 + max((field.levels for field in fields), default=0),
        )

    def _union(self, branches: list[Any], level: int) -> AvroCost:
        weights = [self.cost(branch, level) for branch in branches]
        return AvroCost(
            width=1 + min((branch.width for branch in weights), default=0),
            free=0,
            per_byte=max((b.per_byte + b.free / (1 + b.width) for b in weights), default=1),
            levels=max((branch.levels for branch in weights), default=1),
        )


def _size(declared: object) -> int:
    if not isinstance(declared, int) or declared < 0:
        raise UnsafeSchemaError("A fixed type has no sensible size.")
    return declared


def _plain(width: int) -> AvroCost:
    return AvroCost(width, float(width == 0), 1)


def _collection(item: AvroCost, key_width: int) -> AvroCost:
    if item.width == 0:
        raise UnsafeSchemaError("An array or map has items that take no bytes.")
    width = key_width + item.width
    return AvroCost(1, 1, item.per_byte + (item.free + key_width) / width, item.levels + 1)
