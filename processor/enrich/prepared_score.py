"""A checked, identified and routed score, and the `_id` and the digest made from it.

Both are interfaces: CJA removes no duplicates, so a change here sends every score a second time.

`_id` is the lower-case hex SHA-256 of a version, then tenant, prediction, identity namespace and
identity id, each preceded by its length in characters and a colon, then the scoreDate as epoch
milliseconds. The prediction is the model key, so neither the name of a route nor, where the route
names its models, their spelling in a record matters; another `model_key` makes other events, as it
makes other columns.

The digest covers score, probability, percentile, propensity type and the influential factors in
their order. It does not cover identities: the person is part of `_id`, and a further e-mail address
does not make it another score.
"""

from collections.abc import Sequence
from hashlib import sha256

import msgspec

from processor.domain.outcome import FilterRule
from processor.domain.score import Identity, Score
from processor.enrich.event_schema import EventSchema
from processor.enrich.score_rules import Bucket

_VERSION = "score-event/1"
_DIGEST_BYTES = 8
_pack = msgspec.msgpack.Encoder(order="sorted").encode


class RouteModel(msgspec.Struct, frozen=True, gc=False):
    """One prediction of a route, and the constants that its events share."""

    name: str
    """The name of the route."""
    model_key: str
    prediction: str
    late: str
    pointer: str
    """JSON pointer of the prediction's object in the event."""
    seed: str
    """The prediction's part of `_id`."""
    schema: EventSchema


class PreparedScore(msgspec.Struct, frozen=True, gc=False):
    """All that follows from a score alone; the same on every replica and replay.

    `id` is the event's `_id`, `digest` identifies the score's content, `person` is the key of the
    person state. `identities` are the usable ones, the primary one first; `left_out` has the
    namespaces of the unusable ones (`other` for namespaces the settings do not list).
    `late` means that the score date is before today (UTC), so that CJA queues it as a backfill.
    """

    score: Score
    route_model: RouteModel
    id: str
    digest: bytes
    person: bytes
    identities: Sequence[Identity]
    bucket: Bucket
    late: bool
    left_out: tuple[str, ...] = ()

    @property
    def route(self) -> str:
        """The name of the route that takes the score."""
        return self.route_model.name

    @property
    def model_key(self) -> str:
        """The key of the prediction: in the event, in `_id`, and in the person state."""
        return self.route_model.model_key

    @property
    def primary(self) -> Identity:
        """The identity that the person key is made of."""
        return self.identities[0]

    @property
    def rule(self) -> FilterRule | None:
        """The rule that filters the score, None where an event is to be sent for it."""
        return FilterRule.LATE_SUPPRESSED if self.late and self.route_model.late == "drop" else None


def id_seed(tenant: str, model_key: str) -> str:
    """Return the part of the input of `event_id` that all scores of a prediction share."""
    return f"{_VERSION}|{len(tenant)}:{tenant}{len(model_key)}:{model_key}"


def event_id(seed: str, namespace: str, identity: str, scored_at_ms: int) -> str:
    """Return the `_id`: the same for the same person, prediction and instant, whatever else."""
    text = f"{seed}{len(namespace)}:{namespace}{len(identity)}:{identity}{scored_at_ms}"
    return sha256(text.encode()).hexdigest()


def digest(score: Score) -> bytes:
    """Return 8 bytes that differ where the content of two scores differs."""
    # Adding 0.0 makes 83 and 83.0, and -0.0 and 0.0, the same.
    probability = None if score.probability is None else score.probability + 0.0
    content = (score.score + 0.0, probability, score.percentile, score.model_type, score.factors)
    return sha256(_pack(content)).digest()[:_DIGEST_BYTES]
