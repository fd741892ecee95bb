"""What a mirror image does to the classes: a left finding becomes a right one."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from itertools import product

_GERMAN = ("", "e", "em", "en", "er", "es")
_PAIRS = (
    ("left", "right"),
    ("leftward", "rightward"),
    ("lt", "rt"),
    ("l", "r"),
    ("lul", "rul"),  # lobes of the lungs, as radiology abbreviates them
    ("lll", "rll"),
    *((f"link{end}", f"recht{end}") for end in ("s", *_GERMAN[1:])),
    *((f"linksseitig{end}", f"rechtsseitig{end}") for end in _GERMAN),
    ("li", "re"),
    ("gauche", "droite"),
    ("gauche", "droit"),
    ("izquierda", "derecha"),
    ("izquierdo", "derecho"),
    ("esquerda", "direita"),
    ("esquerdo", "direito"),
    ("sinistra", "destra"),
    ("sinistro", "destro"),
)
_PARTNERS: dict[str, set[str]] = {"rml": set()}  # the middle lobe has no partner
for _left, _right in _PAIRS:
    _PARTNERS.setdefault(_left, set()).add(_right)
    _PARTNERS.setdefault(_right, set()).add(_left)


def mirror_classes(labels: Sequence[str]) -> tuple[int, ...] | None:
    """Return the permutation p that a mirror image applies to the classes: class k becomes class p[k].

    A class that names a side changes places with the class of the same words and the other side; the others stay.
    Sides are read word by word, whatever the case and order: left and right, L and R, links and rechts, gauche and
    droite, and what Spanish, Portuguese and Italian say. "EffusionLeft" is two words; "bright" and "leftover" are one.
    A side that no word names (dextrocardia, RV strain) is not seen.

    Args:
        labels: class names.

    Returns:
        The permutation, its own inverse; None if a sided class has no partner, or several: images must then not be
        mirrored.
    """
    names = [_words(label) for label in labels]
    keys = [sorted(words) for words in names]
    mirrored = []
    for index, words in enumerate(names):
        others = [sorted(choice) for choice in product(*(_PARTNERS.get(word, {word}) for word in words))]
        if keys[index] in others:  # no side, or both of them
            mirrored.append(index)
            continue
        found = [other for other, key in enumerate(keys) if key in others]
        if len(found) != 1:
            return None
        mirrored.append(found[0])
    return tuple(mirrored) if all(mirrored[other] == index for index, other in enumerate(mirrored)) else None


def _words(label: str) -> list[str]:
    text = re.sub(r"(?<=[a-z]{2})(?=[A-Z])", " ", unicodedata.normalize("NFKC", label))  # EffusionL, but not mL
    return re.findall(r"[^\W_]+(?:['’][^\W_]+)*", text.casefold())
