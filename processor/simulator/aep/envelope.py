"""The envelope of a streaming message, read and checked as the inlet does. Pure.

Source of the sentences: AEP "streaming multiple messages in a single request", "retrieving failed
batches", and responses seen by users of Adobe's Kafka sink connector (its issues 62 and 70). Where
Adobe documents a rule without a sentence, the sentence here has the same form.
"""

from typing import Any

import msgspec

from processor.simulator.aep.organisation import Dataset, Organisation

NO_RAW = msgspec.Raw(b"")
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding a body may raise: it is not JSON, not UTF-8, or nested too deeply."""
_UNKNOWN_FORMAT = "Message has unknown xdm format"
_WRONG_ORG = "Message has an absent or wrong ims org in the header"
_BRACE = ord("{")
_NO_ENTITY = {"_validationErrors": [{"message": "Payload body is missing xdmEntity"}]}
_NO_SOURCE = {
    "_errors": {"_streamingValidation": [{"message": "Payload header is missing Source Name"}]}
}


class Body(msgspec.Struct):
    """The body of a message."""

    meta: msgspec.Raw = msgspec.field(name="xdmMeta", default=NO_RAW)
    entity: msgspec.Raw = msgspec.field(name="xdmEntity", default=NO_RAW)


class Message(msgspec.Struct):
    """One message, decoded only as far as needed; absent and malformed parts are empty."""

    header: msgspec.Raw = NO_RAW
    body: Body = msgspec.field(default_factory=Body)


class SimulatedBatch(msgspec.Struct):
    """The body of a batch request."""

    messages: list[Message]


class _SchemaRef(msgspec.Struct, frozen=True):
    id: str
    content_type: str = msgspec.field(name="contentType")


class _Meta(msgspec.Struct):
    schema_ref: _SchemaRef = msgspec.field(name="schemaRef")


class _Source(msgspec.Struct):
    name: str = ""


class _Header(msgspec.Struct):
    schema_ref: _SchemaRef | None = msgspec.field(name="schemaRef", default=None)
    org_id: str = msgspec.field(name="imsOrgId", default="")
    dataset_id: str = msgspec.field(name="datasetId", default="")
    flow_id: str = msgspec.field(name="flowId", default="")
    source: _Source = msgspec.field(default_factory=_Source)


class MessageVerdict(msgspec.Struct, frozen=True):
    """The inlet's verdict on an envelope: refused with a sentence, or accepted for a dataset.

    `async_errors` is what the asynchronous validation writes beside an accepted message that it
    puts into a failed batch.
    """

    dataset_id: str = ""
    refusal: str = ""
    flow_id: str = ""
    async_errors: dict[str, Any] | None = None


_batch = msgspec.json.Decoder(SimulatedBatch)
_loose_batch = msgspec.json.Decoder(dict[str, list[msgspec.Raw]])
_message = msgspec.json.Decoder(Message)
_parts = msgspec.json.Decoder(dict[str, msgspec.Raw])
_header = msgspec.json.Decoder(_Header)
_meta = msgspec.json.Decoder(_Meta)


def read_batch(body: bytes) -> list[Message]:
    """Return the messages of a batch; raises one of `UNREADABLE` if it is not a batch."""
    try:
        return _batch.decode(body).messages
    except msgspec.ValidationError:
        raws = _loose_batch.decode(body).get("messages")
        if raws is None:
            raise
        return [read_message(bytes(raw)) for raw in raws]


def read_message(text: bytes) -> Message:
    """Return one message; anything but an object is returned as a message without parts.

    Raises one of `UNREADABLE` if the text cannot be decoded.
    """
    try:
        return _message.decode(text)
    except msgspec.ValidationError:
        parts = _object(text)
        body = _object(bytes(parts.get("body", NO_RAW)))
        entity, meta = body.get("xdmEntity", NO_RAW), body.get("xdmMeta", NO_RAW)
        return Message(parts.get("header", NO_RAW), Body(meta, entity))


def check_message(message: Message, organisation: Organisation, inlet_id: str) -> MessageVerdict:
    """Return the inlet's verdict on a message; the entity itself is validated later."""
    header = _read_header(message.header)
    if header is None:
        sentence = _mandatory("header")
    else:
        sentence = _refusal(header, message.body, organisation, inlet_id)
    if header is None or sentence:
        return MessageVerdict(refusal=sentence)
    if not has_entity(message):
        return MessageVerdict(header.dataset_id, "", header.flow_id, _NO_ENTITY)
    errors = None if header.source.name else _NO_SOURCE
    return MessageVerdict(header.dataset_id, "", header.flow_id, errors)


def has_entity(message: Message) -> bool:
    """Return whether the message has an entity that is an object."""
    entity = memoryview(message.body.entity)
    return len(entity) > 0 and entity[0] == _BRACE


def _refusal(header: _Header, body: Body, organisation: Organisation, inlet_id: str) -> str:
    if header.org_id != organisation.org_id:
        return _named(_WRONG_ORG, organisation, inlet_id)
    if header.schema_ref is None or _read_meta(body.meta) != header.schema_ref:
        return _named(_UNKNOWN_FORMAT, organisation, inlet_id)
    if not header.dataset_id:
        return _mandatory("datasetId")
    if not header.flow_id:
        return _mandatory("flowId")
    if organisation.permissive:
        return ""
    return _target_refusal(header, header.schema_ref, organisation, inlet_id)


def _target_refusal(
    header: _Header, ref: _SchemaRef, organisation: Organisation, inlet_id: str
) -> str:
    dataset = organisation.datasets.get(header.dataset_id)
    if dataset is None:
        return _named(f"Dataset [{header.dataset_id}] was not found", organisation, inlet_id)
    flow = organisation.flows.get(header.flow_id)
    if flow is None or (flow.inlet_id, flow.dataset_id) != (inlet_id, dataset.id):
        return _named(
            f"Flow [{header.flow_id}] does not belong to this inlet and dataset",
            organisation,
            inlet_id,
        )
    return "" if _fits(ref, dataset) else _named(_UNKNOWN_FORMAT, organisation, inlet_id)


def _fits(ref: _SchemaRef, dataset: Dataset) -> bool:
    same_type = _plain(ref.content_type) == _plain(dataset.content_type)
    return ref.id == dataset.schema_id and same_type


def _plain(content_type: str) -> str:
    # Adobe's documentation writes the version with and without a blank and with and without ".0".
    return content_type.replace(" ", "").removesuffix(".0")


def _named(sentence: str, organisation: Organisation, inlet_id: str) -> str:
    return f"inletId: [{inlet_id}] imsOrgId: [{organisation.org_id}] {sentence}"


def _mandatory(field: str) -> str:
    return f"The '{field}' field is mandatory. Provide a valid '{field}' value and try again."


def _read_header(raw: msgspec.Raw) -> _Header | None:
    try:
        return _header.decode(raw)
    except UNREADABLE:
        return None


def _read_meta(raw: msgspec.Raw) -> _SchemaRef | None:
    try:
        return _meta.decode(raw).schema_ref
    except UNREADABLE:
        return None


def _object(text: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _parts.decode(text) if text else {}
    except UNREADABLE:
        return {}
