"""A writer schema completed by the newest schema of its name.

What was written is kept, all of it and as it was written. Of the newest schema only this is taken:
the name of a field whose old name is one of its `aliases`, and the `default` of a field that the
writer does not have. So a producer may rename, add and leave out fields of a schema that is shipped
here, as a tenant does with its own name.
"""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from processor.codec.avro_limits import CONSTANT


class ParsedSchema(NamedTuple):
    """A schema as fastavro parses it, and its named types by full name."""

    schema: Any
    named: dict[str, Any]


def completed(written: ParsedSchema, newest: ParsedSchema) -> ParsedSchema:
    """Return the schema that reads the messages of `written`, which must not contain itself.

    Records are found by their place, or by their full name where the newest schema does not have
    the place. Types that are not the same in both stay as they were written.
    """
    completion = _Completion(written, newest)
    return ParsedSchema(completion.of(written.schema, newest.schema), completion.named)


class _Completion:
    """Completes each pair of a written record and a newest one once."""

    def __init__(self, written: ParsedSchema, newest: ParsedSchema) -> None:
        self.named = dict(written.named)
        self._written = written.named
        self._newest = newest.named

    def of(self, written: Any, newest: Any) -> Any:  # noqa: ANN401  Avro schemas are JSON
        """Return a written type completed; `newest` is None where there is no such place."""
        if isinstance(written, list):
            return [self.of(branch, newest) for branch in written]
        if isinstance(written, str):
            declared = self._written.get(written)
            return written if declared is None else self.of(declared, newest)
        match written["type"]:
            case "record" | "error":
                return self._record(written, self._same_record(written["name"], newest))
            case "array":
                return {**written, "items": self._part(written, newest, "items")}
            case "map":
                return {**written, "values": self._part(written, newest, "values")}
            case _:
                return written

    def _record(self, written: dict[str, Any], newest: dict[str, Any] | None) -> str:
        """Return the name of the completed record, which no schema can have."""
        name = f"{written['name']}|{newest['name'] if newest else ''}"
        if name not in self.named:
            fields = self._fields(written["fields"], newest["fields"] if newest else ())
            self.named[name] = {**written, "name": name, "fields": fields}
        return name

    def _fields(
        self, written: Sequence[dict[str, Any]], newest: Sequence[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        names = _names([field["name"] for field in written], newest)
        types = {field["name"]: field["type"] for field in newest}
        read = [
            {"name": name, "type": self.of(field["type"], types.get(name))}
            for name, field in zip(names, written, strict=True)
        ]
        # The letter case of names does not count: a default must not hide what was written.
        has = {name.casefold() for name in names}
        return read + [
            {"name": field["name"], "type": {"type": CONSTANT, "value": field["default"]}}
            for field in newest
            if "default" in field and field["name"].casefold() not in has
        ]

    def _part(self, written: dict[str, Any], newest: Any, part: str) -> Any:  # noqa: ANN401
        same = (each for each in self._branches(newest) if each["type"] == written["type"])
        return self.of(written[part], next(same, {}).get(part))

    def _same_record(self, name: str, newest: Any) -> dict[str, Any] | None:  # noqa: ANN401
        records = [each for each in self._branches(newest) if each["type"] == "record"]
        for same in (lambda one: one, _last_part):
            for record in records:
                if same(record["name"]) == same(name):
                    return record
        if len(records) == 1:
            return records[0]
        named = self._newest.get(name)
        return named if named and named["type"] == "record" else None

    def _branches(self, newest: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
        for branch in newest if isinstance(newest, list) else [newest]:
            found = self._newest.get(branch) if isinstance(branch, str) else branch
            if isinstance(found, dict):
                yield found


def _names(written: Sequence[str], newest: Sequence[dict[str, Any]]) -> list[str]:
    """Return the names to read fields by; two fields never get the same one."""
    current, renamed = {field["name"] for field in newest}, dict[str, str]()
    for field in newest:
        if field["name"] not in written:
            old = [one for one in field.get("aliases", ()) if one in written and one not in current]
            renamed |= {old[0]: field["name"]} if old else {}
    return [renamed.get(name, name) for name in written]


def _last_part(name: str) -> str:
    return name.rpartition(".")[2]
