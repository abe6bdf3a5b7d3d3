from processor.dead_letter.dead_letter import DeadLetter, headers, read
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Headers, Record

REJECT = Reject(Stage.READ, Reason.BAD_SCORE, "The score is 101.", "/score", "Churn")


def dead_letter(original: Headers = (), reject: Reject = REJECT) -> DeadLetter:
    record = Record("scores", 3, 42, 1_700_000_000_000, b"key", b"value", original)
    return DeadLetter(record, reject, time_ms=1_800_000_000_000, version="0.1.0")


def found(of: DeadLetter) -> Record:
    """Return the dead letter as it is read from Kafka."""
    return Record("dead", 0, 7, 1, of.record.key, of.record.value, headers(of))


def test_original_headers_come_first_and_unchanged() -> None:
    original = (("a", None), ("a", b"\xff"), ("cai-reason", b"mine"))

    written = headers(dead_letter(original))

    assert written[:3] == original
    assert dict(written)["cai-reason"] == b"bad_score"
    assert dict(written)["cai-topic"] == b"scores"


def test_a_dead_letter_of_a_dead_letter_can_be_read() -> None:
    inner = dead_letter()
    outer = DeadLetter(found(inner), REJECT, time_ms=5, version="0.2.0")

    assert read(found(outer)) == outer
    assert read(outer.record) == inner


def test_a_long_detail_is_shortened() -> None:
    reject = Reject(Stage.READ, Reason.BAD_SCORE, "x" * 10_000)

    again = read(found(dead_letter(reject=reject)))

    assert again is not None
    assert again.reject.detail == "x" * 500


def test_half_a_surrogate_pair_in_a_pointer_can_be_written() -> None:
    reject = Reject(Stage.READ, Reason.BAD_SCORE, "odd", pointer="/\ud800")

    assert read(found(dead_letter(reject=reject))) is not None


def test_a_record_that_is_no_dead_letter_is_none() -> None:
    whole = found(dead_letter())
    reason = next(index for index, (name, _) in enumerate(whole.headers) if name == "cai-reason")
    unknown = (*whole.headers[:reason], ("cai-reason", b"unheard_of"), *whole.headers[reason + 1 :])

    for strange in ((), (("cai-letter", b"9"),), (("cai-letter", b"1"),), unknown):
        assert read(Record("dead", 0, 7, 1, None, b"value", strange)) is None
