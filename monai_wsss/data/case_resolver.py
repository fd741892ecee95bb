"""Which case a name means: names in clear stand outside, in the user's own folders; inside there are keyed hashes."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from monai_wsss.data.dataset_file import Case, PreparedDataset
from monai_wsss.data.pseudonyms import Pseudonyms, is_case_pseudonym
from monai_wsss.errors import InputError

ALIASES, ALIAS_COLUMNS = "aliases.csv", ("case", "alias")


class CaseResolver:
    """Finds the case of a name: the case's own, an alias (stem, UID, accession number), or else the name's hash.

    Args:
        names: of the prepared folder.
        cases: the cases known.
    """

    def __init__(self, names: Pseudonyms, cases: Iterable[Case] = ()) -> None:
        self.names = names
        self._known: dict[str, set[str]] = defaultdict(set)
        for case in cases:
            for name in (case.case, *case.aliases):
                self.add(name, case.case)

    def add(self, alias: str, case: str) -> None:
        """Let `alias` mean `case`, both as they are written: hashed, unless names are kept."""
        self._known[alias].add(case)

    def add_table(self, path: Path) -> None:
        """Add the aliases that `infer` wrote beside masks of new volumes, if there are any."""
        if path.is_file():
            with path.open(newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream):
                    self.add(row["case"], row["case"])
                    self.add(row["alias"], row["case"])

    @classmethod
    def of_prepared(cls, folder: str | Path) -> CaseResolver:
        """Return that of a prepared folder.

        Raises:
            InputError: no dataset.json, or its key is missing or broken.
        """
        return cls(Pseudonyms.of_prepared(folder), PreparedDataset.read(folder).cases())

    def case(self, name: str) -> str:
        """Return the case that `name` means; a hash that no case has where none is known.

        Raises:
            InputError: several cases share the name; the message does not say it.
        """
        own = name in self._known or (not self.names.keeps_names and is_case_pseudonym(name))
        hashed = name if own else self.names.case(name)
        cases = sorted(self._known.get(hashed, {hashed}))
        if hashed in cases:
            return hashed
        if len(cases) > 1:
            raise InputError(f"its name means {len(cases)} cases ({', '.join(cases[:5])}); name it as one of them")
        return cases[0]
