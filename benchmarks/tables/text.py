"""Pieces of a Markdown table: numbers, means with their intervals, lines."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any


def number(value: float | None, sign: str = "") -> str:
    """Three decimals, or "-" for None; `sign` "+" shows the sign of a difference."""
    return "-" if value is None else f"{value:{sign}.3f}"


def interval(score: Mapping[str, Any], sign: str = "") -> str:
    """`mean [low, high]` of what `bootstrap_mean` returns; the mean alone where there is no interval."""
    ends: Sequence[float] | None = score["ci95"]
    text = number(score["mean"], sign)
    return text if ends is None else f"{text} [{number(ends[0], sign)}, {number(ends[1], sign)}]"


def markdown(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table of a head and rows."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)
