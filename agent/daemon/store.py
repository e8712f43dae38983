"""The last whole reading of each collector."""

from collections.abc import Callable, Iterator, Mapping

from flyball.agent.daemon.readings import Reading


class Store:
    """Readings by collector, replaced whole: a series that a collector no longer gives is gone.

    Used from the event loop's thread, but for ``hand_in`` and ``readings``, which any thread may call; what
    it hands out does not change.
    """

    def __init__(self) -> None:
        self._readings: dict[str, Reading] = {}
        self._handed_in: dict[str, Reading] = {}
        self._tell: Callable[[], object] = lambda: None

    def listen(self, tell: Callable[[], object]) -> None:
        """Call ``tell`` whenever something has changed; it must not wait."""
        self._tell = tell

    def hand_in(self, collector: str, reading: Reading) -> None:
        """Let ``readings`` give what the loop is told of later, by ``put``, ``drop`` or ``take_back``."""
        self._handed_in[collector] = reading

    def take_back(self, collector: str, reading: Reading) -> None:
        """The reading does not count: its collector was stopped meanwhile."""
        if self._handed_in.get(collector) is reading:
            del self._handed_in[collector]

    def put(self, collector: str, reading: Reading) -> None:
        """Replace everything that this collector gave before."""
        self._readings[collector] = reading
        self._handed_in.pop(collector, None)
        self._tell()

    def drop(self, collector: str) -> None:
        """Forget a collector whose reading no longer says what is."""
        self._handed_in.pop(collector, None)
        if self._readings.pop(collector, None) is not None:
            self._tell()

    def get(self, collector: str) -> Reading | None:
        """The last reading, or None where there is none that still holds."""
        return self._readings.get(collector)

    def readings(self) -> Mapping[str, Reading]:
        """All of them, as they are now."""
        return {**self._readings, **self._handed_in}

    def __iter__(self) -> Iterator[Reading]:
        return iter(tuple(self._readings.values()))
