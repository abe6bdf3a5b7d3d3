from processor.simulator.aep.ims import Ims, TokenState
from processor.simulator.aep.organisation import Credentials
from tests.support.clock import ManualClock


def test_a_token_is_valid_until_it_expires() -> None:
    clock = ManualClock()
    ims = Ims(Credentials(), clock, 100)
    bearer = f"Bearer {ims.issue()}"

    clock.advance(99)
    assert ims.state(bearer) is TokenState.VALID
    clock.advance(1)
    assert ims.state(bearer) is TokenState.EXPIRED


def test_an_invalid_token_is_missing_or_unknown() -> None:
    ims = Ims(Credentials(), ManualClock(), 100)

    assert ims.state(None) is TokenState.MISSING
    assert ims.state("Basic abc") is TokenState.MISSING
    assert ims.state("Bearer ") is TokenState.MISSING
    assert ims.state("Bearer abc") is TokenState.UNKNOWN


def test_expire_all_expires_all_earlier_tokens() -> None:
    ims = Ims(Credentials(), ManualClock(), 100)
    first = ims.issue()

    ims.expire_all()

    assert ims.state(f"Bearer {first}") is TokenState.EXPIRED
    assert ims.state(f"bearer {ims.issue()}") is TokenState.VALID
    assert ims.issued == 2
