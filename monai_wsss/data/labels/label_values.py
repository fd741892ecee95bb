"""What a cell of a class column says, and what becomes of cells that say neither present nor absent."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from monai_wsss.errors import InputError

PRESENT, ABSENT, UNCERTAIN, BLANK = 1, 0, -1, -2
UNKNOWN = -3  # contradictory or not understood: masked whatever the policy says
MASK = -1.0

_WORDS = {
    PRESENT: "true yes y ja j wahr oui vrai sì sí si sim x ✓ ✔ present positive pos positiv positif positivo vorhanden",
    ABSENT: "false no n nein falsch non faux não absent negative neg negativ négatif negatif negativo",
    UNCERTAIN: "? u possible possibly probable probably likely maybe uncertain equivocal indeterminate questionable "
    "suspected unclear fraglich unklar möglich wahrscheinlich verdacht unsicher incertain",
    BLANK: "- -- – — . na n/a n.a. #n/a nan nil none null unknown unbekannt missing k.a. inconnu",
}
_PHRASES = {
    ABSENT: ("nicht vorhanden", "kein", "keine", "not present", "not seen", "none seen", "non présent", "no evidence"),
    UNCERTAIN: ("v. a.", "v.a.", "verdacht auf", "cannot exclude", "nicht sicher"),
}
_CODES = {word: code for code, words in _WORDS.items() for word in words.split()}
_CODES |= {phrase: code for code, phrases in _PHRASES.items() for phrase in phrases}
_NUMBERS = {1.0: PRESENT, 0.0: ABSENT, -1.0: UNCERTAIN}
_NUMBER = re.compile(r"[-+]?\d+([.,]\d*)?")
_SHARES = {"zeros": 0.0, "ones": 1.0}


def parse_label(text: str) -> int | None:
    """Return PRESENT, ABSENT, UNCERTAIN or BLANK, or None for a text that is none of these words, in any case."""
    word = text.strip().casefold().replace("−", "-")
    if not word:
        return BLANK
    if word in _CODES:
        return _CODES[word]
    if len(word) > 1 and word.endswith("?"):
        return None if parse_label(word[:-1]) is None else UNCERTAIN
    return _NUMBERS.get(float(word.replace(",", "."))) if _NUMBER.fullmatch(word) else None


@dataclass(frozen=True)
class LabelPolicy:
    """What blank and uncertain labels count as: "mask" (left out of the loss), "zeros", "ones" or a number in [0, 1].

    The policies U-Ignore, U-Zeros and U-Ones of Irvin et al., CheXpert, AAAI 2019, and soft labels between them.

    Raises:
        InputError: anything else.
    """

    blank: str | float = "mask"
    uncertain: str | float = "mask"

    def __post_init__(self) -> None:
        for name in ("blank", "uncertain"):
            object.__setattr__(self, name, _setting(name, getattr(self, name)))

    def apply(self, codes: npt.ArrayLike) -> np.ndarray:
        """Return labels in [0, 1], or -1 where they are unknown, of the shape of `codes`."""
        codes = np.asarray(codes)
        labels = np.where(codes == PRESENT, 1.0, np.where(codes == ABSENT, 0.0, MASK))
        for code, setting in ((UNCERTAIN, self.uncertain), (BLANK, self.blank)):
            labels[codes == code] = MASK if setting == "mask" else _SHARES.get(str(setting), setting)
        return labels

    def to_json(self) -> dict[str, str | float]:
        """Return the settings, as dataset.json records them."""
        return {"blank": self.blank, "uncertain": self.uncertain}


def _setting(name: str, value: str | float) -> str | float:
    text = str(value).strip().lower()
    if text == "mask" or text in _SHARES:
        return text
    try:
        number = float(text.replace(",", "."))
    except ValueError:
        number = -1.0
    if not 0 <= number <= 1 or isinstance(value, bool):
        raise InputError(f"{name} labels: {value!r} is no policy; give mask, zeros, ones or a number from 0 to 1")
    return number
