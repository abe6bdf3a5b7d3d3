"""A score that was checked, identified and routed, before anything is known of the person."""

from collections.abc import Sequence

import msgspec

from processor.domain.outcome import FilterRule
from processor.domain.score import Identity, Score
from processor.enrich.routing import RouteModel
from processor.enrich.score_rules import Bucket


class PreparedScore(msgspec.Struct, frozen=True, gc=False):
    """All that can be said of a score from the score alone; the same on every replica and replay.

    `id` is the event's `_id`, `digest` names the score's content, `person` is the key its
    state is kept under. `identities` are the usable ones, the primary one first; `left_out` has the
    namespaces of those that name nobody (`other` for namespaces the settings do not list).
    `late` says that the score date is before today (UTC), so that CJA queues it as a backfill.
    """

    score: Score
    destination: RouteModel
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
        return self.destination.name

    @property
    def model_key(self) -> str:
        """The key of the prediction: in the event, in `_id`, and in what is remembered."""
        return self.destination.model_key

    @property
    def primary(self) -> Identity:
        """The identity that names the person."""
        return self.identities[0]

    @property
    def rule(self) -> FilterRule | None:
        """The rule that says that nothing is to be sent for the score, if there is one."""
        return FilterRule.LATE_SUPPRESSED if self.late and self.destination.late == "drop" else None
