"""Bags of slices: what a classifier trains on where a label is a whole study's."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np

from monai_wsss.data.presence import is_present


def bag_items(items: Sequence[Mapping[str, Any]], whole: Container[str], loose: int = 1) -> list[dict[str, Any]]:
    """Return one dictionary for each study with one label, and for each few slices with labels of their own.

    A dictionary has `slices` (the items), `lengths` (slices of each bag in it, in order) and `classes`, float32
    `(len(lengths), K)`. A study of several slices is one bag. A slice with a label of its own is a bag of one; up to
    `loose` of them stand together, positive ones apart from the others, each far from the next in the order of `items`.

    Args:
        items: see `slice_items`; slices of a case follow each other.
        whole: names of the cases whose label holds for the volume and not for each slice.
        loose: most slices with labels of their own in one dictionary, >= 1.
    """
    studies: dict[str, list[Mapping[str, Any]]] = {}
    for item in items:
        if item["case"] in whole:
            studies.setdefault(item["case"], []).append(item)
    several = {name: slices for name, slices in studies.items() if len(slices) > 1}
    found = [_group(slices, [len(slices)]) for slices in several.values()]
    others = [item for item in items if item["case"] not in several]
    positive = [bool(is_present(item["classes"]).any()) for item in others]
    for side in (True, False):
        slices = [item for item, given in zip(others, positive, strict=True) if given == side]
        step = -(-len(slices) // loose)
        found += [_group(slices[i::step], [1] * len(slices[i::step])) for i in range(step)]
    return found


def has_studies(bags: Sequence[Mapping[str, Any]]) -> bool:
    """True where a bag holds more than one slice."""
    return any(max(bag["lengths"]) > 1 for bag in bags)


def _group(slices: Sequence[Mapping[str, Any]], lengths: list[int]) -> dict[str, Any]:
    rows = [item["classes"] for item in slices[: len(lengths)]]  # the slices of a study share its label
    return {"slices": list(slices), "lengths": lengths, "classes": np.stack(rows)}
