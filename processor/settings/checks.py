"""Checks across several settings: contradictions, which are refused, and doubtful values.

`processor.http.address` checks addresses, `processor.enrich.event_schema` XDM schemas.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import combinations
from typing import TypeAlias
from zoneinfo import ZoneInfo

from processor.settings.kafka import InputSettings, matches_topic
from processor.settings.kafka_client import RESERVED
from processor.settings.score import ReadingSettings
from processor.settings.section import closest
from processor.settings.settings import CommonSettings

ENVELOPE_BYTES = 2_048
"""What the inlet's envelope adds to one event at most: header, schema reference, brackets."""

_SCORE_FIELDS = tuple(ReadingSettings().aliases)
_GRACE_SECONDS = 30.0
"""Kubernetes' default grace period; Docker's is shorter."""
_INLET_REQUESTS, _INLET_MESSAGES = 1_000, 10_000

Check: TypeAlias = Callable[[CommonSettings], Iterator[str]]


def contradictions(settings: CommonSettings) -> list[str]:
    """Return one sentence for each contradiction; the settings are refused if there is one."""
    return [sentence for check in CHECKS for sentence in check(settings)]


def advice(settings: CommonSettings) -> Iterator[str]:
    """Yield one sentence for each value that is allowed but doubtful; `check` prints them."""
    stop, limits = settings.stop, settings.aep.limits
    total = stop.drain_seconds + stop.commit_seconds + stop.close_seconds
    if total > _GRACE_SECONDS:
        yield f"A stop may take {total:g} s: give the container a grace period above that."
    if settings.kafka.group_instance_id and settings.kafka.session_timeout_seconds < total:
        yield "A static member that stops for longer than its session loses its partitions."
    if limits.requests_per_second > _INLET_REQUESTS or limits.messages_per_second > _INLET_MESSAGES:
        yield "aep.limits is above the limits of one inlet (1,000 requests, 10,000 messages per s)."
    if settings.aep.auth is None:
        yield "aep.auth is not set: the inlets must accept events without a token."
    if settings.telemetry.host not in {"127.0.0.1", "::1", "localhost"}:
        yield "telemetry.host is open to the network: metrics have no access control."


def _group(settings: CommonSettings) -> Iterator[str]:
    kafka = settings.kafka
    if kafka.session_timeout_seconds >= kafka.max_poll_interval_seconds:
        yield (
            "kafka.session_timeout_seconds must be less than kafka.max_poll_interval_seconds "
            f"({kafka.session_timeout_seconds:g} against {kafka.max_poll_interval_seconds:g})."
        )
    if kafka.poll_records > kafka.max_uncommitted_records:
        yield "kafka.poll_records must not exceed kafka.max_uncommitted_records."
    if kafka.commit_seconds >= kafka.commit_age_limit_seconds:
        yield "kafka.commit_seconds must be less than kafka.commit_age_limit_seconds."
    if kafka.group_instance_id is not None and not kafka.group_instance_id.strip():
        yield "kafka.group_instance_id is blank; remove it, or name this replica."


def _client(settings: CommonSettings) -> Iterator[str]:
    for section, client in (
        ("kafka", settings.kafka.client),
        ("dead_letter", settings.dead_letter.client),
    ):
        for name in sorted(RESERVED & client.keys()):
            yield f"{section}.client: `{name}` is set by the processor and cannot be overridden."


def _patterns(settings: CommonSettings) -> Iterator[str]:
    for name, topics in _inputs(settings):
        for topic in topics.topics:
            if topic.startswith("^") and not _compiles(topic):
                yield f"kafka.{name}.topics: `{topic}` is not a regular expression."


def _topics(settings: CommonSettings) -> Iterator[str]:
    inputs = dict(_inputs(settings))
    for (left, one), (right, other) in combinations(inputs.items(), 2):
        for topic in sorted({a for a in one.topics for b in other.topics if _same(a, b)}):
            yield f"kafka.{left} and kafka.{right} both read `{topic}`."


def _outputs(settings: CommonSettings) -> Iterator[str]:
    outputs = {
        "dead_letter.topic": settings.dead_letter.topic,
        "kafka.control_topic": settings.kafka.control_topic,
    }
    if settings.join.enabled:
        outputs["join.changelog_topic"] = settings.join.changelog_topic
    if settings.join.repartition_topic is not None:
        outputs["join.repartition_topic"] = settings.join.repartition_topic
    for key, topic in outputs.items():
        for name, topics in _inputs(settings):
            if any(_same(topic, read) for read in topics.topics):
                yield f"{key} is `{topic}`, which kafka.{name} reads: an output cannot be an input."
    for (left, one), (right, other) in combinations(outputs.items(), 2):
        if one == other:
            yield f"{left} and {right} are the same topic."


def _formats(settings: CommonSettings) -> Iterator[str]:
    for name, topics in _inputs(settings):
        if topics.format == "avro-plain" and not topics.schema_name:
            yield f"kafka.{name}.format is avro-plain, so kafka.{name}.schema_name is required."
        if topics.format != "avro-plain" and topics.schema_name:
            yield f"kafka.{name}.schema_name is only used with the format avro-plain."


def _routes(settings: CommonSettings) -> Iterator[str]:
    routes = settings.routes
    for key in ("name", "dataset_id"):
        for value, count in Counter(getattr(route, key, None) for route in routes).items():
            if count > 1 and value is not None:
                yield f"{count} routes have the {key} `{value}`; each needs its own."
    for earlier, later in combinations(routes, 2):
        earlier_models = {_fold(model) for model in earlier.models}
        for model in later.models:
            if _fold(model) in earlier_models:
                yield f"The routes `{earlier.name}` and `{later.name}` both list `{model}`."


def _dataset_names(settings: CommonSettings) -> Iterator[str]:
    for route in settings.routes:
        name = route.dataset_name or ""
        if name.casefold().startswith("customer ai scores in ee format"):
            yield (
                f"routes.{route.name}.dataset_name is a name of Adobe's own datasets; rows of both "
                "would be in one report."
            )
    names = Counter(route.dataset_name for route in settings.routes if route.dataset_name)
    for name in (each for each, count in names.items() if count > 1):
        yield f"{names[name]} routes have the dataset_name `{name}`; each needs its own."


def _event(settings: CommonSettings) -> Iterator[str]:
    low, high = settings.event.bucket_bounds
    if not 0 < low < high <= 100:  # noqa: PLR2004  scores end at 100
        yield f"event.bucket_bounds must be ascending and within 0 to 100, not {low} and {high}."
    needed = settings.event.max_event_bytes + ENVELOPE_BYTES
    if settings.aep.limits.request_bytes < needed:
        yield f"aep.limits.request_bytes must be at least event.max_event_bytes + {ENVELOPE_BYTES}."


def _reading(settings: CommonSettings) -> Iterator[str]:
    if not _zone_exists(settings.reading.zone):
        yield f"reading.zone: `{settings.reading.zone}` is not a time zone known on this machine."
    by_lower_case = {name.lower(): name for name in _SCORE_FIELDS}
    for field in settings.reading.aliases:
        if field not in _SCORE_FIELDS:
            near = closest(field, by_lower_case)
            hint = by_lower_case[near] if near else ", ".join(_SCORE_FIELDS)
            yield f"reading.aliases.{field} is not a field of a score; did you mean {hint}?"
    folded = [namespace.lower() for namespace in settings.identity.order]
    if len(set(folded)) < len(folded):
        yield "identity.order names a namespace twice; letter case makes no difference."


def _join(settings: CommonSettings) -> Iterator[str]:
    if settings.join.keep_days < settings.join.lookback_days:
        yield "join.keep_days must not be less than join.lookback_days."
    if settings.join.repartition_topic is not None:
        yield from _repartition(settings)


def _repartition(settings: CommonSettings) -> Iterator[str]:
    if not settings.join.enabled or settings.kafka.events is None:
        yield "join.repartition_topic requires join.enabled and kafka.events."
    if settings.kafka.partitioner == "any":
        yield "join.repartition_topic requires a known partitioner; kafka.partitioner is any."


def _secrets(settings: CommonSettings) -> Iterator[str]:
    aep, auth = settings.aep, settings.aep.auth
    if auth and auth.client_secret and auth.client_secret_file:
        yield "aep.auth has both client_secret and client_secret_file; keep the file."
    if auth and not auth.client_secret and not auth.client_secret_file:
        yield "aep.auth has neither client_secret nor client_secret_file."
    if settings.registry.username and not settings.registry.password:
        yield "registry.username is given without registry.password or registry.password_file."
    if aep.proxy_username and not aep.proxy_password:
        yield "aep.proxy_username is given without aep.proxy_password or aep.proxy_password_file."


def _proxy(settings: CommonSettings) -> Iterator[str]:
    if settings.aep.proxy and re.search(r"//[^/]*@", settings.aep.proxy):
        yield "aep.proxy contains a user name or password; use the keys for them."


def _retry(settings: CommonSettings) -> Iterator[str]:
    retry = settings.aep.retry
    if retry.first_seconds > retry.max_seconds:
        yield "aep.retry.first_seconds must not exceed aep.retry.max_seconds."
    if retry.connect_timeout_seconds > retry.request_deadline_seconds:
        yield (
            "aep.retry.connect_timeout_seconds must not exceed aep.retry.request_deadline_seconds."
        )


CHECKS: tuple[Check, ...] = (
    _group,
    _client,
    _patterns,
    _topics,
    _outputs,
    _formats,
    _routes,
    _dataset_names,
    _event,
    _reading,
    _join,
    _secrets,
    _proxy,
    _retry,
)


def _inputs(settings: CommonSettings) -> Iterator[tuple[str, InputSettings]]:
    yield "scores", settings.kafka.scores
    if settings.kafka.events:
        yield "events", settings.kafka.events


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _same(one: str, other: str) -> bool:
    """Return whether two topics, of which one may be a pattern, are the same."""
    if one == other:
        return True
    topic, pattern = (other, one) if one.startswith("^") else (one, other)
    return _compiles(pattern) and matches_topic(pattern, topic)


def _zone_exists(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (KeyError, OSError, ValueError):
        return False
    return True


def _fold(model: str) -> str:
    return "".join(filter(str.isalnum, model)).casefold() or model
