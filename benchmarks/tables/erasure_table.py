"""The table of `benchmarks erasure`."""

from collections.abc import Mapping
from typing import Any

from benchmarks.tables.text import interval, markdown, number


def format_erasure(table: Mapping[str, Any]) -> str:
    """A row a run: the curve, its mean and what the base has more or less."""
    base = table["base"]
    head = ["class maps of", *(f"{area:.1%}" for area in table["areas"]), "mean", f"{base} minus row"]
    rows = [
        [
            name,
            *map(number, row["curve"]),
            interval(row["score"]),
            "" if name == base else interval(row["difference"], "+"),
        ]
        for name, row in table["rows"].items()
    ]
    note = (
        f"Mean probability of the finding that {table['classifiers']} classifiers see after the strongest part of the "
        f"map, in shares of the body's area, is erased; {table['before']:.3f} before. Lower is better. "
        f"{table['slices']} positive slices of {table['patients']} patients of the {table['split']} split; no mask is "
        "read. Mean [95 % interval, bootstrap over patients]; differences are paired."
    )
    return f"{markdown(head, rows)}\n\n{note}"
