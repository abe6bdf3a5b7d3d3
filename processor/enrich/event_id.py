"""Names made of a score alone: the `_id` of its event, and the digest of its content.

Both are interfaces: CJA removes no duplicates, so a change here sends every score a second time.

`_id` is the lower-case hex SHA-256 of a version, then tenant, prediction, identity namespace and
identity id, each preceded by its length in characters and a colon, then the scoreDate as epoch
milliseconds. The prediction is the model key, so neither the name of a route nor, where the route
names its models, their spelling in a record matters; another `model_key` makes other events, as it
makes other columns.

The digest covers score, probability, percentile, propensity type and the influential factors in
their order. Identities are not in it: who a score is about is said by `_id`, and a further e-mail
address does not make it another score.
"""

from hashlib import sha256

import msgspec

from processor.domain.score import Score

_VERSION = "score-event/1"
_DIGEST_BYTES = 8
_pack = msgspec.msgpack.Encoder(order="sorted").encode


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
    about = (score.score + 0.0, probability, score.percentile, score.model_type, score.factors)
    return sha256(_pack(about)).digest()[:_DIGEST_BYTES]
