"""Which words of the descriptions choose one volume of each study."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from monai_wsss.data.scan import ScannedSeries

_SHOWN = 3
_REPEATED = 0.1  # of the studies may hold several volumes that fit, for scans are repeated
_SHORTEST = 2  # letters: "t1"


def proposed_rules(usable: Sequence[ScannedSeries]) -> list[str]:
    """Return the three words that fit one volume in most studies, a line each; nothing if there is no choice.

    Args:
        usable: the usable volumes; single slices beside volumes are left out, as localizers.
    """
    dicom = [entry for entry in usable if entry.kind == "dicom"]
    volumes = [entry for entry in dicom if entry.slices > 1] or dicom
    studies = len({(entry.patient, entry.study) for entry in dicom})
    if len(volumes) == len({(entry.patient, entry.study) for entry in volumes}):
        return []  # nothing to choose from
    found: dict[frozenset[int], tuple[int, str]] = {}
    for word in sorted(_words(volumes), key=lambda word: (-len(word), word)):
        fitting = [k for k, entry in enumerate(volumes) if word in entry.series_description.lower()]
        per_study = Counter((volumes[k].patient, volumes[k].study) for k in fitting)
        one = sum(count == 1 for count in per_study.values())
        if len(per_study) - one <= _REPEATED * one:
            found.setdefault(frozenset(fitting), (one, word))
    best = sorted(found.values(), key=lambda rule: (-rule[0], rule[1]))[:_SHOWN]
    rule = '--series "SeriesDescription~{}" fits one volume in {} of {} studies'
    return [rule.format(word, count, studies) for count, word in best]


def _words(volumes: Sequence[ScannedSeries]) -> set[str]:
    words = set()
    for entry in volumes:
        for word in re.findall(r"[^\W_]+", entry.series_description.lower()):
            if len(word) >= _SHORTEST and not word.isdigit():
                words.add(word)
    return words
