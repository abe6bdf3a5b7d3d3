"""`status`: one screen that says what is wrong with a consumer group and its replicas.

Partitions, members and pauses are read from Kafka, so that they are known of dead replicas too;
state, routes and token are read from the page of each replica that is named.
"""

import json
import urllib.error
import urllib.request
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from processor.cli.command import DEFAULT, FromFile, Json
from processor.cli.status_facts import GroupReader, PartitionStatus, Progress
from processor.control.pauses import PAUSE, describe, stopped_at_limits
from processor.control.skips import SKIP
from processor.control.store import open_control_store
from processor.domain.clock import SystemClock, rfc3339
from processor.domain.errors import SettingsError, UnavailableError
from processor.settings import Settings
from processor.telemetry.catalogue import (
    CIRCUIT_OPEN,
    FAILING_RECORD_INFO,
    LAST_COMMIT_TIMESTAMP_SECONDS,
    QUOTA_USED_RATIO,
    RECORDS_UNSETTLED,
    REQUESTS,
    REQUESTS_IN_FLIGHT,
    REQUESTS_IN_FLIGHT_LIMIT,
    TOKEN_EXPIRY_TIMESTAMP_SECONDS,
    UNACCOUNTED_RECORDS,
)
from processor.telemetry.metrics import Metrics
from processor.telemetry.scrape import MetricSamples, scrape

_PAGE_SECONDS: Final = 5.0
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_WRONG: Final = {Progress.STUCK, Progress.SLOW, Progress.UNKNOWN}

UrlOption = Annotated[
    list[str] | None,
    typer.Option("--url", help="Address of a replica's page, as http://host:9400; repeatable."),
]
SecondsOption = Annotated[
    float, typer.Option(min=0.1, max=600, help="Time between two looks at the offsets.")
]


def status(
    settings: FromFile = DEFAULT,
    url: UrlOption = None,
    seconds: SecondsOption = 5.0,
    *,
    as_json: Json = False,
) -> int:
    """Show whether the group advances, where it is stuck, and the state of its replicas.

    Exits with 1 where something is wrong. Without `--url`, or where a replica does not answer, it
    says what Kafka knows: members, offsets, pauses and skips.
    """
    _check_urls(url or [])
    facts = _facts(settings, url or [], seconds)
    if as_json:
        Console().print_json(json.dumps(facts))
    else:
        _show(facts)
    return 1 if facts["problems"] else 0


def _check_urls(urls: list[str]) -> None:
    wrong = [each for each in urls if not each.startswith(("http://", "https://"))]
    if wrong:
        raise SettingsError([f"{each!r} is not an http address." for each in wrong])


def _facts(settings: Settings, urls: list[str], seconds: float) -> dict[str, Any]:
    replicas = [
        replica_facts(each.rstrip("/"), [one.name for one in settings.routes]) for each in urls
    ]
    facts: dict[str, Any] = {"members": None, "partitions": [], "pauses": [], "skips": []}
    problems = [problem for each in replicas for problem in each["problems"]]
    try:
        group = GroupReader(settings, SystemClock())
        facts["members"] = group.members()
        found = group.partitions(seconds)
        facts["partitions"] = [each._asdict() for each in found]
        problems += _group_problems(facts["members"], found)
    except UnavailableError as error:
        problems.append(f"Kafka cannot say how far the group is: {error}.")
    try:
        facts |= _control_facts(settings)
        problems += facts["pauses"]
    except (UnavailableError, SettingsError) as error:
        problems.append(f"The control topic cannot be read: {error}.")
    return {**facts, "replicas": replicas, "problems": problems}


def _group_problems(members: int | None, found: list[PartitionStatus]) -> list[str]:
    problems = ["The group has no member: no replica is running."] if members == 0 else []
    if not found:
        problems.append("No input topic exists.")
    for each in found:
        place = f"{each.topic}/{each.partition}"
        if each.progress in _WRONG:
            problems.append(f"{place} is {each.progress}: {each.lag} records are not committed.")
        if each.lost:
            problems.append(f"{place}: Kafka deleted {each.lost} records before they were read.")
    return problems


def _control_facts(settings: Settings) -> dict[str, list[str]]:
    store = open_control_store(settings, Metrics(), SystemClock(), create=False)
    try:
        by_hand = store.get(PAUSE)
        pauses = {} if by_hand is None else {PAUSE: by_hand}
        pauses |= stopped_at_limits(store)
        skips = [key for key, fact in store.items(SKIP).items() if "done" not in fact]
    finally:
        store.close(0)
    return {"pauses": [describe(key, fact) for key, fact in pauses.items()], "skips": skips}


def replica_facts(url: str, routes: list[str]) -> dict[str, Any]:
    """Return what the page of one replica says, and `problems`; one that is dead is a problem."""
    try:
        ready, samples = _readiness(url), scrape(url)
    except (UnavailableError, ValueError) as error:
        return {"url": url, "state": "dead", "problems": [f"{url} does not answer: {error}."]}
    problems = [] if ready["ok"] else [f"{url} is {ready['state']}: {ready['reason']}"]
    problems += [f"{url}: intake is paused: {one['reason']}." for one in ready.get("paused", [])]
    if unaccounted := samples.total(UNACCOUNTED_RECORDS):
        problems.append(f"{url}: {unaccounted:g} records are unaccounted for.")
    shown = [_route(samples, route) for route in routes]
    problems += [
        f"{url}: route {one['route']}: circuit open: {', '.join(one['circuit'])}."
        for one in shown
        if one["circuit"]
    ]
    return {
        "url": url,
        "state": ready["state"],
        "reason": ready["reason"],
        "since": ready["since"],
        "unsettled": samples.total(RECORDS_UNSETTLED),
        "last_commit": _time(samples.total(LAST_COMMIT_TIMESTAMP_SECONDS)),
        "token_expiry": _time(samples.total(TOKEN_EXPIRY_TIMESTAMP_SECONDS)),
        "routes": shown,
        "problems": problems,
    }


def _route(samples: MetricSamples, route: str) -> dict[str, Any]:
    return {
        "route": route,
        "circuit": sorted(samples.by("cause", CIRCUIT_OPEN, route=route)),
        "quota_used": samples.by("quota", QUOTA_USED_RATIO, route=route),
        "in_flight": samples.total(REQUESTS_IN_FLIGHT, route=route),
        "in_flight_limit": samples.total(REQUESTS_IN_FLIGHT_LIMIT, route=route),
        "answers": samples.by("code", REQUESTS, route=route),
        "failing": sorted(samples.by("record", FAILING_RECORD_INFO, route=route)),
    }


def _readiness(url: str) -> dict[str, Any]:
    """Return the content of `/readyz`, which has the same shape with 200 and with 503."""
    try:
        with _direct.open(f"{url}/readyz", timeout=_PAGE_SECONDS) as answer:
            body = answer.read()
    except urllib.error.HTTPError as error:
        body = error.read()
    except OSError as error:
        raise UnavailableError("replica", str(error)) from error
    found: dict[str, Any] = json.loads(body)
    return found


def _time(seconds: float) -> str | None:
    return rfc3339(int(seconds * 1000)) if seconds else None


def _show(facts: dict[str, Any]) -> None:
    console = Console(highlight=False, markup=False, soft_wrap=True)
    for replica in facts["replicas"]:
        _show_replica(console, replica)
    members = facts["members"]
    console.print(f"Members of the group: {'unknown' if members is None else members}")
    columns = ("partition", "progress", "lag", "lag s", "ETA s", "headroom", "headroom s")
    table = Table(*columns)
    for one in facts["partitions"]:
        names = ("lag", "lag_seconds", "eta_seconds", "headroom_records", "headroom_seconds")
        numbers = ("-" if one[name] is None else f"{one[name]:.0f}" for name in names)
        table.add_row(f"{one['topic']}/{one['partition']}", one["progress"], *numbers)
    console.print(table)
    for key in facts["skips"]:
        console.print(f"Not done yet: {key}")
    for problem in facts["problems"]:
        console.print(f"WRONG: {problem}")
    if not facts["problems"]:
        console.print("All is well.")


def _show_replica(console: Console, replica: dict[str, Any]) -> None:
    console.print(f"{replica['url']}: {replica['state']}. {replica.get('reason', '')}")
    if "routes" not in replica:
        return
    console.print(
        f"  unsettled {replica['unsettled']:.0f}, last commit {replica['last_commit'] or 'none'}, "
        f"token until {replica['token_expiry'] or 'not in use'}"
    )
    table = Table("route", "circuit", "quota used", "in flight", "answers", "failing")
    for one in replica["routes"]:
        table.add_row(
            one["route"],
            ", ".join(one["circuit"]) or "closed",
            ", ".join(f"{key} {value:.0%}" for key, value in one["quota_used"].items()),
            f"{one['in_flight']:.0f} of {one['in_flight_limit']:.0f}",
            ", ".join(f"{code}: {count:.0f}" for code, count in one["answers"].items()),
            ", ".join(one["failing"]),
        )
    console.print(table)
