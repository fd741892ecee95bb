"""What the rows of a table of accuracy are called, and by which keys they are chosen."""

from collections.abc import Collection

from benchmarks.rows.localisers import LOCALISERS, trained_localisers
from benchmarks.rows.steps import CRF, THRESHOLDED, WALKED

BACKGROUND, BLOB, PRIOR = "all background", "brightest blob", "position prior"
TRIVIAL = (BACKGROUND, BLOB, PRIOR)
"""Keys and names of the rows without any training."""

DSRG, METHOD = "DSRG", "segmenter"  # before and after the retraining round
UNGATED, CEILING = "segmenter, no classifier gate", "supervised ceiling"
SHUFFLED, RANDOM = "class maps, shuffled labels", "class maps, random weights"
FEW_SHOT = "few-shot segmenter"

EXTRAS = {"ungated": UNGATED, "few-shot": FEW_SHOT, "ceiling": CEILING, "shuffled": SHUFFLED, "random": RANDOM}
"""Key -> name of the rows that cost a run or maps of their own."""

AFTER = {"ungated": "infer", "few-shot": "infer", "ceiling": "infer", "shuffled": "seed", "random": "seed"}
AFTER_LOCALISER = AFTER | {"shuffled": "train", "random": "train"}
"""Key -> the stage that the row needs, of a bundle with class maps and of one with localisers."""

_WALKED = tuple(name for row in WALKED.values() for name in (row, f"{row} + CRF"))
STEPS = (THRESHOLDED, CRF, *_WALKED, DSRG, *(one.row for one in LOCALISERS.values()), "ungated")
"""Names of the rows that a method itself makes, the last of them by its key."""


def rows_after(done: Collection[str]) -> set[str]:
    """Rows of `STEPS` that a method may make whose stages are `done`; a walk's own CRF is a setting of it."""
    found = {THRESHOLDED, CRF} if {"refine", "confident"} & set(done) else set()
    found |= {name for key, row in WALKED.items() if {key, "walk"} <= set(done) for name in (row, f"{row} + CRF")}
    found |= {one.row for one in trained_localisers(done)} | ({DSRG} if "dsrg" in done else set())
    return found | ({METHOD, "ungated"} if "infer" in done else set())
