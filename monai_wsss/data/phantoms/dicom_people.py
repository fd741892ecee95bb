"""Invented patients."""

from __future__ import annotations

import datetime
from dataclasses import dataclass

import numpy as np

_SURNAMES = (
    "Ahlers Bergström Castellani Dombrowski Eklund Fournier Grünwald Haverkamp Ibsen Jankovic Köhler Lindqvist Moreau "
    "Nørgaard Oduya Petrenko Quist Rosenbaum Sørensen Thackeray Ulrich Vasquez Weißmann Xenakis Yıldız Zieliński"
).split()
_GIVEN = {
    "F": "Agnes Birgit Chiara Dagmar Eloise Frieda Gudrun Hanna Ingrid Johanna Katarzyna Lucía".split(),
    "M": "Anton Bjarne Cornelius Detlef Emeka Fabrice Gregor Henrik Ilya Jürgen Kasper Leandro".split(),
}


@dataclass(frozen=True)
class Person:
    """An invented patient; `name` is written as DICOM does."""

    name: str
    sex: str
    born: datetime.date
    id: str

    @property
    def folder(self) -> str:
        """The name as some exports put it into folder names."""
        plain = self.name.encode("ascii", "ignore").decode().replace("^", "_").upper()
        return f"{plain}_{self.born:%Y%m%d}"

    def age(self, day: datetime.date) -> int:
        """Years completed on `day`."""
        return day.year - self.born.year - ((day.month, day.day) < (self.born.month, self.born.day))


def draw_person(rng: np.random.Generator, index: int) -> Person:
    """Draw patient `index`; the index keeps IDs apart."""
    sex = "FM"[int(rng.integers(2))]
    name = f"{rng.choice(_SURNAMES)}^{rng.choice(_GIVEN[sex])}"
    born = datetime.date(1935, 1, 1) + datetime.timedelta(days=int(rng.integers(365 * 65)))
    return Person(name, sex, born, f"{41000 + 37 * index + int(rng.integers(37)):07d}")
