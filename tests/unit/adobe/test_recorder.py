"""The record of control requests: complete lines, and nothing secret or personal in them."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from processor.adobe.recorder import ExchangeRecorder, RecordedMessage
from processor.domain.errors import UnavailableError
from tests.support.clock import ManualClock

JSON = {"Content-Type": "application/problem+json; charset=utf-8"}
CANARY = "canary-4711"


def recorded(
    folder: Path, *exchanges: tuple[str, RecordedMessage, RecordedMessage]
) -> list[dict[str, Any]]:
    path = folder / "record.ndjson"
    with ExchangeRecorder(path, ManualClock(), [CANARY]) as recorder:
        for url, request, response in exchanges:
            recorder.record("POST", url, request, 200, response)
    text = path.read_text(encoding="utf-8")
    assert CANARY not in text
    return [json.loads(line) for line in text.splitlines()]


def test_a_line_has_the_request_and_its_answer(tmp_path: Path) -> None:
    (line,) = recorded(
        tmp_path,
        (
            "https://cja.adobe.io/data/connections?limit=2&expansion=name,dataSets",
            RecordedMessage({"Accept": "application/json"}),
            RecordedMessage(JSON, b'{"content": [{"id": "dg_1", "streaming": true}], "size": 2}'),
        ),
    )

    assert line["url"] == "https://cja.adobe.io/data/connections?limit=2&expansion=name,dataSets"
    assert line["at"].endswith("Z")
    assert line["request"] == {"headers": {"accept": "application/json"}}
    assert line["response"]["status"] == 200
    assert line["response"]["body"]["content"] == [{"id": "dg_1", "streaming": True}]


def test_secrets_and_users_are_hidden_wherever_they_are(tmp_path: Path) -> None:
    headers = {"Authorization": f"Bearer {CANARY}", "x-api-key": CANARY, "Cookie": CANARY}
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = {
        "access_token": CANARY, "token_type": "bearer", "expires_in": 86399,
        "owner": {"name": CANARY, "roles": [CANARY]}, "createdUser": f"{CANARY}@AdobeID",
        "auth": {"params": {"clientSecret": CANARY}}, "text": f"in a text: {CANARY}.",
    }  # fmt: skip
    (line,) = recorded(
        tmp_path,
        (
            f"https://ims.example/token?client_secret={CANARY}&x={CANARY}",
            RecordedMessage(headers | form, f"client_secret={CANARY}&grant_type=a".encode()),
            RecordedMessage(JSON, json.dumps(answer).encode()),
        ),
    )

    body = line["response"]["body"]
    assert (body["token_type"], body["expires_in"]) == ("bearer", 86399)
    assert body["owner"] == {"name": "***", "roles": ["***"]}
    assert body["text"] == "in a text: ***."
    assert line["request"]["body"] == {"client_secret": "***", "grant_type": "a"}
    assert line["request"]["headers"]["authorization"] == "***"


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/octet-stream", f'{{"identityMap": "{CANARY}"}}\n'.encode()),
        ("application/json", f'{{"broken": "{CANARY}"'.encode()),
        ("application/json", json.dumps(["x" * 2_000_000, CANARY]).encode()),
        ("", CANARY.encode()),
    ],
)
def test_what_is_no_document_is_a_length(tmp_path: Path, content_type: str, body: bytes) -> None:
    response = RecordedMessage({"Content-Type": content_type} if content_type else {}, body)

    (line,) = recorded(tmp_path, ("https://platform.adobe.io/x", RecordedMessage({}), response))

    assert line["response"]["bytes"] == len(body)
    assert "body" not in line["response"]


def test_exchanges_are_appended_to_a_file_of_the_owner(tmp_path: Path) -> None:
    once = ("https://platform.adobe.io/x", RecordedMessage({}), RecordedMessage({}))
    recorded(tmp_path, once)

    assert len(recorded(tmp_path, once)) == 2
    mode = stat.S_IMODE((tmp_path / "record.ndjson").stat().st_mode)
    assert mode == 0o600


def test_a_file_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="cannot be opened"):
        ExchangeRecorder(tmp_path / "nowhere" / "record", ManualClock())


def test_a_full_disk_is_said() -> None:
    with (
        ExchangeRecorder(Path("/dev/full"), ManualClock()) as recorder,
        pytest.raises(UnavailableError, match="is not written"),
    ):
        recorder.record(
            "GET", "https://platform.adobe.io/", RecordedMessage({}), 0, RecordedMessage({})
        )
