"""The last whole reading of each collector."""

from collections.abc import Callable, Iterator, Mapping

from flyball.agent.daemon.readings import Reading


class Store:
    """Readings by collector, replaced whole: a series that a collector no longer gives is gone.

    Used from the event loop's thread only; what it hands out does not change.
    """

    def __init__(self) -> None:
        self._readings: dict[str, Reading] = {}
        self._tell: Callable[[], object] = lambda: None

    def listen(self, tell: Callable[[], object]) -> None:
        """Call ``tell`` whenever something has changed; it must not wait."""
        self._tell = tell

    def put(self, collector: str, reading: Reading) -> None:
        """Replace everything that this collector gave before."""
        self._readings[collector] = reading
        self._tell()

    def drop(self, collector: str) -> None:
        """Forget a collector whose reading no longer says what is."""
        if self._readings.pop(collector, None) is not None:
            self._tell()

    def get(self, collector: str) -> Reading | None:
        """The last reading, or None where there is none that still holds."""
        return self._readings.get(collector)

    def readings(self) -> Mapping[str, Reading]:
        """All of them, as they are now."""
        return dict(self._readings)

    def __iter__(self) -> Iterator[Reading]:
        return iter(tuple(self._readings.values()))
