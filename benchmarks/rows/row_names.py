"""What the rows of a table of accuracy are called, and by which keys they are chosen."""

from benchmarks.rows.localisers import LOCALISERS
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
