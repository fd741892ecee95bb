"""Which patients train, which choose, which test: the options of `prepare` put into practice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from monai_wsss.data import Case, Skipped, split_by_column, split_patients
from monai_wsss.data.split import split_by_date, split_leave_out_site
from monai_wsss.errors import InputError
from monai_wsss.workflow.prepare_match import LabelledVolume
from monai_wsss.workflow.prepare_report import PrepareReport

FRACTIONS = (0.7, 0.1, 0.2)


class SplitChoice:
    """One of: the table's column, a site left out, the order in time, chance.

    Args:
        fractions: of training, validation and test; None is 0.7, 0.1, 0.2, and leaves a `split` column in charge.
        column: name of a column of train / val / test.
        leave_out_site: the site that is the test split.
        temporal: the newest patients are the test split.
        seed: of chance.

    Raises:
        InputError: options that exclude one another, or bad fractions.
    """

    def __init__(
        self,
        fractions: Sequence[float] | None = None,
        column: str | None = None,
        leave_out_site: str | None = None,
        temporal: bool = False,
        seed: int = 0,
    ) -> None:
        if sum((column is not None, leave_out_site is not None, temporal)) > 1:
            raise InputError("give one of a split column, a site to leave out, and a temporal split")
        if fractions is not None and column is not None:
            raise InputError("give either split fractions or a split column, not both")
        split_patients({}, fractions or FRACTIONS)  # bad fractions should not wait for the images
        self.fractions, self.site, self.temporal, self.seed = fractions, leave_out_site, temporal, seed

    def by_column(self, split_column: str | None) -> bool:
        """Whether the table's column decides."""
        return split_column is not None and self.fractions is None and self.site is None and not self.temporal

    def keep_assigned(
        self, found: list[LabelledVolume], split_column: str | None, report: PrepareReport
    ) -> list[LabelledVolume]:
        """Return those whose patient the table's column puts into one split; report the others."""
        if not self.by_column(split_column):
            return found
        split_of, refused = _of_table(found)
        report.skip_cases(Skipped(f.case, refused[f.patient]) for f in found if f.patient in refused)
        return [item for item in found if item.patient in split_of]

    def assign(
        self, cases: Sequence[Case], found: dict[str, LabelledVolume], split_column: str | None, report: PrepareReport
    ) -> dict[str, str]:
        """Return case -> split. It rests on names in clear, so it does not depend on the key of the pseudonyms.

        Args:
            cases: to be split.
            found: case -> volume, of these and of those that could not be read.
            split_column: of the table.
            report: of this call.
        """
        classes = _patient_classes(cases, found)
        sites: dict[str, set[str]] = defaultdict(set)
        dates: dict[str, str | None] = {}
        for case in cases:
            item = found[case.case]
            if item.site:
                sites[item.patient].add(item.site)
            dates[item.patient] = max(filter(None, (dates.get(item.patient), item.date)), default=None)
        shares = self.fractions or FRACTIONS
        if self.by_column(split_column):
            split_of, _ = _of_table(list(found.values()))
            report.split_by = f"column {split_column}"
        elif self.site is not None:
            by_site = split_leave_out_site(sites, classes, self.site, shares, self.seed)
            split_of = by_site.split_of
            for patients, what in (
                (by_site.several_sites, "of the test site have cases elsewhere too: all of them test"),
                (by_site.unknown_site, "have no site and do not test"),
            ):
                if patients:
                    report.notes.append(f"{len(patients)} patients {what}")
            report.split_by = f"site, {report.names.site(self.site)} left out"
        elif self.temporal:
            split_of = split_by_date(dates, shares)
            report.split_by = "date, the newest test"
        else:
            split_of = split_patients(classes, shares, self.seed, sites=sites)
            report.split_by = f"chance, seed {self.seed}"
        return {case.case: split_of[found[case.case].patient] for case in cases}


def _of_table(found: Sequence[LabelledVolume]) -> tuple[dict[str, str], dict[str, str]]:
    values: dict[str, set[str | None]] = defaultdict(set)
    for item in found:
        values[item.patient].update(row.split for row in item.rows)
    return split_by_column(values)


def _patient_classes(cases: Sequence[Case], found: dict[str, LabelledVolume]) -> dict[str, tuple[float, ...]]:
    """Return patient -> labels: the highest of the patient's cases, so unknown only if all are."""
    classes: dict[str, tuple[float, ...]] = {}
    for case in cases:
        patient = found[case.case].patient
        known = classes.get(patient, case.classes)
        classes[patient] = tuple(max(pair) for pair in zip(known, case.classes, strict=True))
    return classes
