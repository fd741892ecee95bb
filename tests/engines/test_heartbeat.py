"""How far long work has come."""

import logging

import pytest

from monai_wsss.engines import Heartbeat
from monai_wsss.engines.heartbeat import duration


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets."""
    now = [0.0]
    monkeypatch.setattr("monai_wsss.engines.heartbeat.time.monotonic", lambda: now[0])
    return now


def beats(caplog, clock, heartbeat, times):
    with caplog.at_level(logging.INFO):
        for done, seconds in times:
            clock[0] = seconds
            heartbeat.beat(done)
    return [record.getMessage() for record in caplog.records]


def test_one_line_in_twenty_seconds_and_none_at_the_end(caplog, clock):
    # 10 steps in 100 s: 10 s a step; after 2 steps 8 are left, after 5 steps 5
    times = [(1, 10), (2, 20), (3, 30), (5, 50), (10, 100)]
    assert beats(caplog, clock, Heartbeat("seed: case", 10), times) == [
        "seed: case: 2 of 10, about 80 s left",
        "seed: case: 5 of 10, about 50 s left",
    ]


def test_short_work_says_nothing(caplog, clock):
    assert beats(caplog, clock, Heartbeat("x", 3), [(1, 1), (2, 2), (3, 3)]) == []


def test_steps_of_an_earlier_process_do_not_count(caplog, clock):
    # resumed at step 90 of 100: two steps in 20 s, 10 s each; 8 are left
    assert beats(caplog, clock, Heartbeat("x", 100), [(91, 10), (92, 20)]) == ["x: 92 of 100, about 80 s left"]


def test_the_total_may_come_late(caplog, clock):
    heartbeat = Heartbeat("preparing", 0)
    clock[0] = 30.0
    with caplog.at_level(logging.INFO):
        heartbeat.beat(1, 4, "name of the case")
    assert caplog.messages == ["preparing: 1 of 4, about 2 min left"]  # 3 x 30 s


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (5400, "1 h 30 min"), (90000, "25 h 0 min")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
