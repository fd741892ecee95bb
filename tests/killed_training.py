"""A training that dies after its first epoch, to be resumed."""

import pytest

from monai_wsss.engines import ResumableCheckpoint


class Killed(BaseException):
    """Not an Exception: nothing on the way may hold it up."""


def die_after_first_epoch(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every later training dies once, when its first epoch is saved; returns the list of epochs that were saved."""
    save, seen = ResumableCheckpoint.save, []

    def save_and_die(self, engine):
        save(self, engine)
        seen.append(engine.state.epoch)
        if len(seen) == 1:
            raise Killed

    monkeypatch.setattr(ResumableCheckpoint, "save", save_and_die)
    return seen
