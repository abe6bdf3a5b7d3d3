"""Any record is read from the dead-letter topic as it was written."""

from hypothesis import given
from hypothesis import strategies as st

from processor.dead_letter.dead_letter import DeadLetter, headers, read
from processor.domain.outcome import Reason, Reject, Stage
from processor.domain.record import Record

_NAMES = st.one_of(
    st.sampled_from(["cai-letter", "cai-reason", "cai-offset", "content-type", ""]),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
)
_BYTES = st.none() | st.binary(max_size=40) | st.just(b"1")
_TEXTS = st.text(st.characters(codec="utf-8"), max_size=100)

_DEAD_LETTERS = st.builds(
    DeadLetter,
    record=st.builds(
        Record,
        topic=st.text("abc.-_", min_size=1, max_size=20),
        partition=st.integers(0, 2**31 - 1),
        offset=st.integers(0, 2**63 - 1),
        timestamp_ms=st.integers(-1, 2**53),
        key=_BYTES,
        value=_BYTES,
        headers=st.lists(st.tuples(_NAMES, _BYTES), max_size=8).map(tuple),
    ),
    reject=st.builds(
        Reject,
        stage=st.sampled_from(Stage),
        reason=st.sampled_from(Reason),
        detail=_TEXTS,
        pointer=_TEXTS,
        model=_TEXTS,
    ),
    time_ms=st.integers(0, 2**53),
    version=st.text("0123456789.", min_size=1, max_size=12),
)


@given(_DEAD_LETTERS)
def test_a_dead_letter_is_read_as_it_was_written(dead_letter: DeadLetter) -> None:
    record = dead_letter.record
    written = Record("dead", 0, 0, 0, record.key, record.value, headers(dead_letter))

    assert read(written) == dead_letter
