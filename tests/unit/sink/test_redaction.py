import json

import pytest

from processor.sink.response import redact

_EVENT = json.dumps(
    {
        "_id": "0a1b",
        "identityMap": {"Email": [{"id": "john.smith@example.com", "primary": True}]},
        "_acme": {"CustomerAI": {"Churn": {"score": 83.1}}},
    }
).encode()


def test_types_codes_pointers_and_keywords_stay() -> None:
    message = {
        "report": {
            "cause": {
                "_streamingValidation": [
                    {
                        "schemaLocation": "#/properties/_id",
                        "pointerToViolation": "#/_id",
                        "keyword": "type",
                        "message": "DCVS-1104-400 expected type: String, found: Long",
                    }
                ]
            }
        }
    }

    sentence, pointer = redact(message, _EVENT)

    assert "DCVS-1104-400 expected type: String, found: Long" in sentence
    assert pointer == "/_id"


def test_adobes_own_text_stays_readable() -> None:
    message = "The 'header' field is mandatory. Provide a valid 'header' value and try again."

    assert redact(message, _EVENT)[0] == message


def test_keys_of_the_event_stay_and_unknown_words_are_removed() -> None:
    sentence, _ = redact("extraneous key [CustomerAI] is not permitted, see Smith", _EVENT)

    assert "CustomerAI" in sentence
    assert "Smith" not in sentence


@pytest.mark.parametrize(
    "secret",
    [
        "john.smith@example.com",
        "John Smith",
        "09876543210987654321098765432109876543",
        "83.1",
        "+49 170 1234567",
        "C-1234567",
        "eyJhbGciOi.J9.x-y_z",
        "0A1B2C@AdobeOrg",
        "Müller",
        "555-1234",
    ],
)
@pytest.mark.parametrize(
    "sentence",
    [
        "The value '{}' is not valid",
        "inletId: [{}] expected type: String",
        "#/identityMap/{}/id: required key missing",
        "{}",
        '{{"message": "{}"}}',
        "found: {}.",
    ],
)
def test_no_value_is_in_the_redacted_text(sentence: str, secret: str) -> None:
    for message in (sentence.format(secret), {"message": sentence.format(secret)}, [[secret]]):
        text, pointer = redact(message, _EVENT)

        for part in secret.replace("@", " ").split():
            assert part not in text
            assert part not in pointer


def test_a_message_of_any_size_and_shape_is_bounded() -> None:
    deep: object = "missing"
    for _ in range(500):
        deep = {"cause": [deep]}

    for message in (
        "missing " * 100_000,
        {"message": ["required"] * 10_000},
        deep,
        None,
        7,
        [None],
    ):
        assert len(redact(message, b"not json")[0]) <= 400


def test_control_characters_are_removed() -> None:
    sentence, _ = redact("missing\n\x1b[31mkey\u2028\u202e value\x00", _EVENT)

    assert sentence.isprintable()
