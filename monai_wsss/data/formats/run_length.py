"""Relative run-length code of a mask, as SIIM-ACR and COCO have it."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np

_NUMBERS = re.compile(r"[0-9]{1,9}(\s+[0-9]{1,9})*")


def mask_of_runs(numbers: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return the mask `(columns, rows)` of lengths that leave out and mark pixels by turns: gap, run, gap, run, ...

    Pixels are counted down each column, columns from left to right; those after the last number are not marked.

    Args:
        numbers: integers, 0 or more.
        shape: columns, rows.

    Raises:
        ValueError: saying in words that fit a list of reasons that the code reaches past the image.
    """
    size, used = shape[0] * shape[1], int(numbers.sum())
    if used > size:
        raise ValueError(f"its run-length code reaches past the image of {shape[0]} x {shape[1]} pixels")
    mask = np.zeros(size, bool)
    mask[:used] = np.repeat(np.arange(len(numbers)) % 2 == 1, numbers)
    return mask.reshape(shape)


def decode_runs(code: str, shape: tuple[int, int]) -> np.ndarray:
    """Return the mask `(columns, rows)` that a code of pairs "gap length" marks.

    With pixels counted down each column, columns from left to right, run k covers
    `start_k <= pixel < start_k + length_k`, where `start_k = start_(k-1) + length_(k-1) + gap_k`: a gap is counted from
    the end of the run before, the first from the first pixel.

    Args:
        code: whole numbers, gap >= 0 and length >= 1, separated by spaces.
        shape: columns, rows.

    Raises:
        ValueError: saying in words that fit a list of reasons what is wrong with the code.
    """
    code = code.strip()
    if not _NUMBERS.fullmatch(code):
        raise ValueError("its run-length code holds something other than whole numbers")
    numbers = np.array(code.split(), dtype=np.int64)
    if len(numbers) % 2:
        raise ValueError("its run-length code has a gap without a length")
    if not numbers[1::2].all():
        raise ValueError("its run-length code has a run of length 0")
    return mask_of_runs(numbers, shape)


def union_of_runs(codes: Iterable[str], shape: tuple[int, int]) -> np.ndarray:
    """Return the union `(columns, rows)` of the lesions of one image, each with a code of its own.

    Raises:
        ValueError: as `decode_runs`.
    """
    mask = np.zeros(shape, bool)
    for code in codes:
        mask |= decode_runs(code, shape)
    return mask
