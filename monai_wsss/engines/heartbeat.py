"""A log line now and then in work that takes long."""

import logging
import time

logger = logging.getLogger(__name__)


class Heartbeat:
    """Logs how far a long piece of work has come, at most once in `every` seconds, with the time that is left.

    Args:
        name: what is being done.
        total: steps in all.
        every: seconds between two lines; work that is shorter logs nothing.
    """

    def __init__(self, name: str, total: int, every: float = 20.0) -> None:
        self.name, self.total, self.every = name, total, every
        self._began = self._last = time.monotonic()
        self._first: int | None = None  # steps that were done before, in an earlier process

    def beat(self, done: int, total: int | None = None, *_: object) -> None:
        """Report that `done` steps are done, of `total` if that is known only now."""
        self.total = self.total if total is None else total
        if self._first is None:
            self._first = done - 1
        now = time.monotonic()
        if now - self._last < self.every or done >= self.total:
            return
        self._last = now
        left = (now - self._began) / (done - self._first) * (self.total - done)
        logger.info("%s: %d of %d, about %s left", self.name, done, self.total, duration(left))


def duration(seconds: float) -> str:
    """`40 s`, `12 min` or `3 h 5 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
