"""The customers: who they are, how they feel, and what they did lately. One list per trait."""

import random

TIERS = (b"bronze", b"silver", b"gold")
_SHARES = (0.6, 0.9, 1.0)
_DRIFT = 0.28
_FADING = 0.6


class People:
    """All customers, by number.

    `mood` runs from -1 (about to leave) to 1 (about to buy) and drifts from week to week; it moves
    both what a customer does and how the customer is scored, so the events explain the scores.
    """

    def __init__(self, count: int, seed: int) -> None:
        dice = random.Random(f"people/{seed}")  # noqa: S311  repeatable, not secret
        self.count = count
        self.ecid = [b"%038d" % dice.randrange(10**37, 10**38) for _ in range(count)]
        self.crmid = [b"C%08d" % (40_000_000 + number) for number in range(count)]
        self.tier = [_tier(dice.random()) for _ in range(count)]
        self.mood = [max(-1.0, min(1.0, dice.gauss(-0.1, 0.45))) for _ in range(count)]
        self.visits = [0.0] * count
        self.views = [0.0] * count
        self.orders = [0.0] * count

    def drift(self, dice: random.Random) -> None:
        """Let a week pass: moods move, what was done fades from the 30 days that count."""
        gauss = dice.gauss
        self.mood = [max(-1.0, min(1.0, mood * 0.97 + gauss(0.0, _DRIFT))) for mood in self.mood]
        self.visits = [count * _FADING for count in self.visits]
        self.views = [count * _FADING for count in self.views]
        self.orders = [count * _FADING for count in self.orders]


def _tier(draw: float) -> bytes:
    return next(tier for tier, share in zip(TIERS, _SHARES, strict=True) if draw <= share)
