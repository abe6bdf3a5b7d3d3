"""`dlq`, `explain` and `run --dry-run` on a sandbox: looked at, sent round again, left alone."""

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import structlog

from processor.cli.dead_letters import list_letters, replay_letters, show_letter
from processor.cli.explain import explain_file, explain_place
from processor.dead_letter.reader import DeadLetterReader, Selection
from processor.dead_letter.sink import KafkaDeadLetterSink
from processor.domain.clock import SystemClock, rfc3339
from processor.domain.errors import SettingsError
from processor.domain.event import Fact
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Partition, Record
from processor.kafka.topic_reader import fetch_record
from processor.settings import Settings
from processor.settings.load import load_settings
from processor.simulator.aep.simulator import AepSimulator
from processor.simulator.environment import (
    GROUP_ID,
    SCORES_TOPIC,
    EnvironmentSettings,
    SimulatedEnvironment,
)
from processor.state.format.person import encode
from processor.state.person import Person, PersonLimits, with_fact
from processor.telemetry.metrics import Metrics
from tests.support.kafka_io import committed, produce
from tests.support.paths import ROOT
from tests.support.recipe import written
from tests.support.stream_run import score_record
from tests.support.waiting import until

UNROUTED = Reject(Stage.ROUTE, Reason.UNKNOWN_PREDICTION, "No route takes this prediction.")
MALFORMED = Reject(Stage.DECODE, Reason.MALFORMED, "This is not JSON.")
ALL = Selection()
_DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def _logs_are_kept_off_what_is_printed() -> Iterator[None]:
    with structlog.testing.capture_logs():
        yield


@pytest.fixture
def sandbox() -> Iterator[SimulatedEnvironment[AepSimulator]]:
    with SimulatedEnvironment(
        AepSimulator(), EnvironmentSettings(tenant="_acme", partitions=1)
    ) as sandbox:
        yield sandbox


@pytest.fixture
def config(sandbox: SimulatedEnvironment[AepSimulator], tmp_path: Path) -> Path:
    """Write settings; the broker is slow to let a second member into a group of the old kind."""
    tree = sandbox.settings(tmp_path / "state")
    tree["kafka"]["group_protocol"] = "consumer"
    return written(tree, tmp_path / "settings.yaml")


@pytest.fixture
def settings(config: Path) -> Settings:
    return load_settings(config)


def good(offset: int) -> Record:
    """Return a record of a person of its own that the sandbox's settings deliver."""
    date = rfc3339((SystemClock().now_ms() // _DAY_MS - 7) * _DAY_MS)
    return score_record(offset, person=offset + 1, scoreDate=date)


def bad(offset: int) -> Record:
    return Record(SCORES_TOPIC, 0, offset, 1_700_000_000_000, b"a-key", b'{"email": "ann@')


def identity(record: Record) -> str:
    content = json.loads(record.value or b"")
    found: str = content["identityMap"]["ECID"][0]["id"]
    return found


def bury(settings: Settings, *dead_letters: tuple[Record, Reject]) -> None:
    door = KafkaDeadLetterSink(settings, Metrics(), SystemClock())
    sending = door.send(dead_letters)

    def written() -> bool:
        door.poll()
        return sending.done

    until(written, seconds=9, what="the letters are written", every=0.01)
    assert door.close(5)


def feed(sandbox: SimulatedEnvironment[AepSimulator], *records: Record) -> None:
    for record in records:
        produce(sandbox.broker, SCORES_TOPIC, [record.value or b""], key=record.key)


def said(capsys: pytest.CaptureFixture[str]) -> str:
    """Return what was printed since the last look, wherever its lines were broken."""
    return " ".join(capsys.readouterr().out.split())


def test_letters_are_listed_by_stage_and_reason(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    bury(settings, (good(1), UNROUTED), (bad(2), MALFORMED), (bad(3), MALFORMED))

    assert list_letters(settings, ALL, as_json=True, one_by_one=False) == 0

    listed = json.loads(capsys.readouterr().out)
    assert [(each["stage"], each["reason"], each["count"]) for each in listed] == [
        ("decode", "malformed", 2),
        ("route", "unknown_prediction", 1),
    ]


def test_letters_that_are_meant_are_listed_each_with_its_place_and_without_content(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    bury(settings, (good(1), UNROUTED), (bad(2), MALFORMED))
    chosen = Selection(reasons=frozenset({Reason.MALFORMED}))

    assert list_letters(settings, chosen, as_json=False, one_by_one=True) == 0

    text = said(capsys)
    assert text == f"0/1 decode malformed {SCORES_TOPIC}/0/2 This is not JSON."


def test_a_letter_is_shown_without_what_is_personal(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    bury(settings, (bad(2), MALFORMED))

    assert show_letter(settings, 0, 0, reveal=False) == 0

    shown = json.loads(capsys.readouterr().out)
    assert shown["origin"] == f"{SCORES_TOPIC}/0/2"
    assert (shown["stage"], shown["reason"]) == ("decode", "malformed")
    assert shown["key"].startswith("5 bytes, sha256 ")
    assert shown["value"].startswith("15 bytes, sha256 ")


def test_a_letter_is_shown_whole_on_request(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    bury(settings, (bad(2), MALFORMED))

    assert show_letter(settings, 0, 0, reveal=True) == 0

    shown = json.loads(capsys.readouterr().out)
    assert (shown["key"], shown["value"]) == ("a-key", '{"email": "ann@')


def test_no_letter_is_shown_where_there_is_none(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    assert show_letter(settings, 0, 7, reveal=True) == 1

    assert "no letter of ours" in said(capsys)


def test_a_rehearsed_replay_says_what_would_happen_and_sends_nothing(
    sandbox: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bury(settings, (good(1), UNROUTED), (bad(2), MALFORMED))

    assert replay_letters(settings, ALL, send=False) == 1

    text = said(capsys)
    assert "2 records would be replayed: 1 events to route upgrade-account" in text
    assert "1 rejected again: malformed." in text
    assert "Nothing was sent." in text
    assert sandbox.simulator.ledger.distinct() == 0
    assert sandbox.simulator.summary()["requests"] == {}


def test_a_replay_delivers_once_and_merges_when_it_is_repeated(
    sandbox: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    bury(settings, (good(1), UNROUTED), (good(2), UNROUTED))

    assert replay_letters(settings, ALL, send=True) == 0
    assert "2 records were replayed: 2 events accepted by AEP" in said(capsys)

    assert replay_letters(settings, ALL, send=True) == 0
    text = said(capsys)
    assert "0 events accepted by AEP 2 scores had been delivered before" in text
    assert [sandbox.simulator.ledger.accepted(), sandbox.simulator.ledger.distinct()] == [2, 2]
    assert committed(sandbox.broker, GROUP_ID, Partition(SCORES_TOPIC, 0)) == [-1001]


def test_what_is_rejected_again_keeps_its_one_letter(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    bury(settings, (bad(2), MALFORMED))

    assert replay_letters(settings, ALL, send=True) == 1

    assert "1 rejected again: malformed." in said(capsys)
    list_letters(settings, ALL, as_json=True, one_by_one=False)
    assert [each["count"] for each in json.loads(capsys.readouterr().out)] == [1]


def test_a_record_is_explained_step_by_step_with_the_person_blotted_out(
    sandbox: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(sandbox, good(0))

    assert explain_place(settings, f"{SCORES_TOPIC}/0/0", reveal=False) == 0

    text = said(capsys)
    steps = ["record", "read", "routed", "identified", "named", "valid"]
    places = [text.index(f"✓ {step} ") for step in steps]
    assert places == sorted(places)
    assert "to upgrade-account" in text
    assert identity(good(0)) not in text


def test_a_score_is_explained_with_what_is_known_of_its_person(
    sandbox: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(sandbox, good(0))
    at_ms = SystemClock().now_ms() // _DAY_MS * _DAY_MS - 8 * _DAY_MS
    fact = Fact(at_ms, "event", kinds=("webVisit",), page="a-page")
    wire = encode(with_fact(Person(), fact, PersonLimits.of(settings.join)))
    key = f"ECID|{identity(good(0))}".encode()
    produce(sandbox.broker, settings.join.changelog_topic, [wire], key=key)

    assert explain_place(settings, f"{SCORES_TOPIC}/0/0", reveal=True) == 0

    text = said(capsys)
    assert "✓ context" in text
    assert '"contextStatus": "complete"' in text
    assert '"lastPageName": "a-page"' in text

    assert explain_place(settings, f"{SCORES_TOPIC}/0/0", reveal=False) == 0
    assert "a-page" not in said(capsys)


def test_a_person_of_whom_nothing_is_known_has_a_context_that_says_so(
    sandbox: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(sandbox, good(0))

    assert explain_place(settings, f"{SCORES_TOPIC}/0/0", reveal=False) == 0

    assert '"contextStatus": "none"' in said(capsys)


def test_a_record_is_explained_where_the_changelog_can_not_be_read(
    sandbox: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(sandbox, good(0))
    elsewhere = settings.join.model_copy(update={"changelog_topic": "a-topic-that-is-not"})

    settings = settings.model_copy(update={"join": elsewhere})
    assert explain_place(settings, f"{SCORES_TOPIC}/0/0", reveal=False) == 0

    text = said(capsys)
    assert "✗ context is left out: " in text
    assert "a-topic-that-is-not" in text
    assert "contextStatus" not in text


def test_a_partition_that_there_is_not_holds_no_record(
    sandbox: SimulatedEnvironment[AepSimulator], settings: Settings
) -> None:
    feed(sandbox, good(0))

    assert fetch_record(settings.kafka, SCORES_TOPIC, 4_711, 0, clock=SystemClock()) is None


def test_a_record_is_explained_whole_on_request(
    sandbox: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(sandbox, good(0))

    assert explain_place(settings, f"{SCORES_TOPIC}/0/0", reveal=True) == 0

    assert identity(good(0)) in said(capsys)


def test_a_bad_record_is_explained_up_to_where_it_is_rejected(
    sandbox: SimulatedEnvironment[AepSimulator],
    settings: Settings,
    capsys: pytest.CaptureFixture[str],
) -> None:
    feed(sandbox, bad(0))

    assert explain_place(settings, f"{SCORES_TOPIC}/0/0", reveal=False) == 1

    text = said(capsys)
    assert "✗ decode malformed" in text
    assert "ann@" not in text


def test_a_file_is_explained_as_a_record(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "record.json"
    file.write_bytes(good(0).value or b"")

    assert explain_file(settings, file, None, reveal=False) == 0

    text = said(capsys)
    assert "✓ valid" in text
    assert "✗ context is left out: a file has no partition" in text
    assert "contextStatus" not in text
    assert identity(good(0)) not in text


def test_a_place_that_is_none_and_one_that_is_empty_are_said_to_be_so(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SettingsError, match="topic/partition/offset"):
        explain_place(settings, "nowhere", reveal=False)

    assert explain_place(settings, f"{SCORES_TOPIC}/0/5", reveal=False) == 1
    assert "There is no record" in said(capsys)


def dry_run(config: Path, lines: Path, limit: int) -> subprocess.CompletedProcess[str]:
    options = ["--config", str(config), "--output", str(lines), "--limit", str(limit)]
    return subprocess.run(  # noqa: S603  our own code
        [sys.executable, "-m", "processor", "run", "--dry-run", *options],
        cwd=ROOT,
        check=False,
        timeout=60,
        capture_output=True,
        text=True,
    )


def assert_no_trace(sandbox: SimulatedEnvironment[AepSimulator], settings: Settings) -> None:
    for group in (GROUP_ID, f"{GROUP_ID}-dry-run"):
        assert committed(sandbox.broker, group, Partition(SCORES_TOPIC, 0)) == [-1001]
    assert sandbox.simulator.summary()["requests"] == {}
    assert not Path(settings.join.directory).exists()


def events_in(lines: Path) -> Sequence[dict[str, object]]:
    return [json.loads(line) for line in lines.read_text().splitlines()]


def test_a_dry_run_writes_events_as_json_lines_and_leaves_no_trace(
    sandbox: SimulatedEnvironment[AepSimulator], config: Path, settings: Settings, tmp_path: Path
) -> None:
    feed(sandbox, good(0), good(1), good(2))

    ran = dry_run(config, tmp_path / "lines", 3)

    assert ran.returncode == 0, ran.stderr
    assert "3 records read, 3 events, 0 rejects; nothing sent." in ran.stderr
    events = events_in(tmp_path / "lines")
    assert len({event["_id"] for event in events}) == 3
    assert {event["eventType"] for event in events} == {"customerAI.scored"}
    assert_no_trace(sandbox, settings)


def test_a_dry_run_tells_rejects_by_their_place_and_ends_with_1(
    sandbox: SimulatedEnvironment[AepSimulator], config: Path, settings: Settings, tmp_path: Path
) -> None:
    feed(sandbox, bad(0), good(1))

    ran = dry_run(config, tmp_path / "lines", 1)

    assert ran.returncode == 1, ran.stderr
    assert f"rejected {SCORES_TOPIC}/0/0: decode/malformed" in ran.stderr
    assert "ann@" not in ran.stdout + ran.stderr
    assert len(events_in(tmp_path / "lines")) == 1
    assert list(DeadLetterReader(settings, SystemClock()).scan()) == []
    assert_no_trace(sandbox, settings)


def test_a_second_dry_run_begins_with_what_kafka_has_left(
    sandbox: SimulatedEnvironment[AepSimulator], config: Path, tmp_path: Path
) -> None:
    """A trace of the first would have it miss the deleted ones, and stop."""
    feed(sandbox, good(0))
    assert dry_run(config, tmp_path / "first", 1).returncode == 0
    feed(sandbox, good(1))
    sandbox.broker.delete_records(SCORES_TOPIC, 0, 1)

    ran = dry_run(config, tmp_path / "second", 1)

    assert ran.returncode == 0, ran.stderr
    assert len(events_in(tmp_path / "second")) == 1
