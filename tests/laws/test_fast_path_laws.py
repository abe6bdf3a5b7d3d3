"""Laws of the fast path: it reads the same as the general way, to the last bit."""

import struct
from typing import Any, TypeAlias

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from processor.codec.input_reader import InputReader
from processor.codec.json_text import decode_json
from processor.domain.errors import RejectError
from processor.settings import ReadingSettings
from tests.support.paths import ROOT
from tests.support.reading import ECID, a_model, json_record, reader_with

Json: TypeAlias = Any

_ALIASES = ReadingSettings().aliases
READER = reader_with()
# A name that JSON has to escape turns the fast path off.
GENERAL = reader_with({"reading/aliases": {**_ALIASES, "score": ['"', *_ALIASES["score"]]}})
JSON_SCHEMA_ID = next(
    int(number)
    for number, file in msgspec.json.decode((ROOT / "schemas/avro/ids.json").read_bytes()).items()
    if file.startswith("json/")
)

factors = st.fixed_dictionaries(
    {
        "code": st.sampled_from(["Counts of webVisit", "Days since last purchases"]),
        "value": st.integers(0, 40).map(str) | st.text(min_size=1, max_size=4),
        "importance": st.sampled_from(["low", "medium", "high", " HIGH ", "grave"]),
    }
)
numbers = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**70), 2**70)
optional_fields = {
    "probability": st.none() | numbers | st.sampled_from(["", " ", " 0.5 "]),
    "modelType": st.none() | st.sampled_from(["Churn", " Conversion ", "", " ", "Chu\x00rn\x7f"]),
    "influentialFactors": st.none() | st.lists(factors, max_size=3),
}
dates = st.sampled_from(
    ["2026-08-03", "20260803", "2026-08-03T00:00:00.5Z", 1_785_715_200, 1_785_715_200.25]
)
percentiles = st.none() | st.integers(-(2**70), 2**70) | st.sampled_from(["", " 92 "])
models = st.fixed_dictionaries(
    {"score": numbers, "scoreDate": dates},
    optional={**optional_fields, "percentileScore": percentiles},
)
ids = st.fixed_dictionaries(
    {"id": st.sampled_from([ECID, "C-7"])},
    optional={
        "primary": st.none() | st.booleans(),
        "authenticatedState": st.none() | st.just("ambiguous"),
    },
)
identity_maps = st.dictionaries(
    st.sampled_from(["ECID", "mcid", "email", "Loyalty"]),
    st.lists(ids, max_size=2),
    min_size=1,
    max_size=2,
)
named_ids = st.builds(lambda one: {"namespace": "crmid", **one}, ids)
profiles = st.fixed_dictionaries(
    {
        "identityMap": identity_maps,
        "_acme": st.dictionaries(
            st.sampled_from(["CustomerAI", "customerai"]),
            st.dictionaries(st.sampled_from(["Churn", "Upgrade"]), models, min_size=1, max_size=2),
            min_size=1,
            max_size=2,
        ),
    },
    optional={"_id": st.none() | st.just("p-1")},
)
flats = st.fixed_dictionaries(
    {"prediction": st.sampled_from(["Churn", " ", ""]), "score": numbers, "scoreDate": dates},
    optional={
        **optional_fields,
        "percentile": percentiles,
        "identityMap": identity_maps,
        "identities": st.lists(named_ids, max_size=2),
        "namespace": st.just("CRMID"),
        "id": st.just("7"),
        "primary": st.booleans(),
    },
)
entities = profiles | flats
envelopes = st.builds(
    lambda entity, header, meta: {
        "header": header,
        "body": {"xdmMeta": meta, "xdmEntity": entity},
    },
    entities,
    st.none() | st.just({"schemaRef": {"id": "x"}, "source": {}}) | st.just({"a": [1]}),
    st.none()
    | st.just({"schemaRef": {"id": "x"}})
    | st.just({"identityMap": {"ECID": [{"id": "9"}]}}),
)
records = entities | envelopes
keys = st.sampled_from(
    [
        *("identityMap", "endUserIDs", "identities", "id", "namespace", "primary", "_id", "_other"),
        *("header", "body", "xdmEntity", "_acme", "CustomerAI", "code", "value", "importance"),
        *("score", "scoreDate", "probability", "percentileScore", "prediction", "modelType"),
    ]
)
# Keys that are aliases, or that mean something elsewhere in a record.
aliased = st.sampled_from(
    [
        *[("Score", 1), ("propensityScore", 2), ("PROPENSITY", 0.5), ("percentile", 5)],
        *[("percentileScore", 6), ("percentilerank", 7), ("type", "Churn"), ("scoredAt", 9**11)],
        *[("factors", [{"code": "x"}]), ("modelName", "Other"), ("Prediction", "Other")],
        *[
            ("Code", "other"),
            ("VALUE", 5),
            ("Importance", "LOW"),
            ("importance", "HIGH"),
            ("primary", True),
        ],
        ("_other", {"CustomerAI": {"Churn": a_model()}}),
        ("endUserIDs", {"_experience": {"mcid": {"id": ECID}}}),
        ("identities", [{"namespace": "CRMID", "id": "8"}]),
        ("identityMap", {"CRMID": {"id": "8"}}),
        ("loyalty", {"Churn": a_model()}),
        ("body", a_model()),
    ]
)
odd: st.SearchStrategy[Json] = (
    st.sampled_from(
        [None, True, 0, -0.0, 92.0, 92.5, "", " ", "soon", [], {}, "83.1", 10**400, 1e308, ECID]
    )
    | st.builds(lambda depth: msgspec.json.decode(b"[" * depth + b"]" * depth), st.integers(1, 70))
    | st.builds(lambda model: {"CustomerAI": {"Churn": model}}, models)
    | st.just(a_model())
)


def _objects(value: Json) -> list[Json]:
    """Return the objects and lists within a value, itself included."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    own = [value] if isinstance(value, dict | list) else []
    return [*own, *(found for one in inner for found in _objects(one))]


def _changed(data: st.DataObject, record: Json) -> Json:
    """Return a record with one change that may take it off the fast path."""
    record = msgspec.json.decode(msgspec.json.encode(record))
    node = data.draw(st.sampled_from(_objects(record)))
    if isinstance(node, list):
        node.insert(0, data.draw(odd))
    elif data.draw(st.booleans()):
        key, value = data.draw(aliased)
        node[key] = value
    elif node and data.draw(st.booleans()):
        key = data.draw(st.sampled_from(sorted(node)))
        value = node.pop(key)
        if data.draw(st.booleans()):
            node[data.draw(st.just(key.upper()) | keys)] = value
    else:
        node[data.draw(keys | st.sampled_from([*sorted(node), "x"]))] = data.draw(odd)
    return record


def _result(reader: InputReader, value: bytes) -> str:
    """Return the result of a record as text, because `==` takes 0.0 for -0.0 and 1 for True."""
    record = json_record(value)
    reader.fetch_schemas([record])
    try:
        return repr(reader.read(record))
    except RejectError as error:
        return repr(error.reject)


def _assert_same(text: bytes) -> None:
    framed = b"\x00" + struct.pack(">I", JSON_SCHEMA_ID) + text
    expected = _result(GENERAL, text)

    assert _result(READER, text) == expected
    assert _result(READER, framed) == expected


@given(records)
@settings(max_examples=300)
def test_fast_and_general_way_read_the_same(record: Json) -> None:
    _assert_same(msgspec.json.encode(record))


@given(records, st.data())
@settings(max_examples=600)
def test_fast_and_general_way_read_changed_records_the_same(
    record: Json, data: st.DataObject
) -> None:
    for _ in range(data.draw(st.integers(1, 2))):
        record = _changed(data, record)
    _assert_same(msgspec.json.encode(record))


@given(records, st.data())
@settings(max_examples=300)
def test_fast_and_general_way_reject_damaged_text_the_same(
    record: Json, data: st.DataObject
) -> None:
    text = bytearray(msgspec.json.encode(record))
    start = data.draw(st.integers(0, len(text)))
    pieces = [b"", b"\xff", b"NaN", b"1e400", b"-0", b'"\\ud800"', b"\xef\xbb\xbf", b'"a":1,', b"{"]
    text[start : start + data.draw(st.integers(0, 3))] = data.draw(st.sampled_from(pieces))

    assert _result(READER, bytes(text)) == _result(GENERAL, bytes(text))


scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | inner.map(lambda one: [[{"a": [[{"b": [one]}]]}]])
    ),
)


@given(trees)
@settings(max_examples=300)
def test_shallow_json_is_decoded_as_by_msgspec(tree: Json) -> None:
    text = msgspec.json.encode(tree)

    assert repr(decode_json(text, 64)) == repr(msgspec.json.decode(text))
