"""A clock that tests set by hand."""


class ManualClock:
    """Wall and monotonic time, moved together by `advance` and apart by assignment."""

    def __init__(self, now_ms: int = 1_795_000_000_000, monotonic: float = 1_000.0) -> None:
        self.wall_ms = now_ms
        self.seconds = monotonic

    def now_ms(self) -> int:
        return self.wall_ms

    def monotonic(self) -> float:
        return self.seconds

    def wait(self, seconds: float) -> None:
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Move the time forward by so many seconds, at once."""
        self.seconds += seconds
        self.wall_ms += round(seconds * 1000)
