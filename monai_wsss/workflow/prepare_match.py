"""Which volume goes with which rows, and whose it is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from monai_wsss.data import (
    LabelsTable,
    Pseudonyms,
    Row,
    SeriesRule,
    Skipped,
    Volume,
    case_name,
    join_groups,
    match_rows,
)
from monai_wsss.data.clear_names import place_of
from monai_wsss.data.labels.volume_names import without_zeros
from monai_wsss.data.mapping_table import MappingRow
from monai_wsss.data.series_rule import candidates
from monai_wsss.data.withdrawn import Withdrawn
from monai_wsss.errors import InputError
from monai_wsss.workflow.prepare_report import PrepareReport

_SHOWN = 8  # kinds of series in a message
_MOST_IDS = 2  # of one person


@dataclass(frozen=True)
class LabelledVolume:
    """A volume with its rows.

    `patient`, `other_ids` of the same person and `volume.case` are names in clear; `case` is the name that is written.
    """

    volume: Volume
    rows: list[Row]
    patient: str
    case: str
    other_ids: tuple[str, ...] = ()

    @property
    def identifiers(self) -> list[tuple[str, str]]:
        """What the header says that belongs to one person: the patient's ID and the series."""
        tags = self.volume.tags
        known = [] if tags is None else [("patient", tags.patient), ("series", tags.series)]
        return [(kind, name) for kind, name in known if name]

    @property
    def site(self) -> str | None:
        """The table's site of the volume."""
        return next((row.site for row in self.rows if row.site), None)

    @property
    def date(self) -> str | None:
        """Study date, ISO: the table's, else the header's; None if neither has one."""
        dates = [row.date for row in self.rows if row.date]
        header = self.volume.tags.study_date if self.volume.tags else ""
        if not dates and len(header) == 8 and header.isdigit():
            dates = [f"{header[:4]}-{header[4:6]}-{header[6:]}"]
        return max(dates, default=None)


def choose(
    volumes: Sequence[Volume],
    table: LabelsTable,
    rule: SeriesRule | None,
    copy_to_all: bool,
    names: Pseudonyms,
    report: PrepareReport,
) -> list[LabelledVolume]:
    """Return the volumes that fit the rule and have rows; report what did not match."""
    chosen = list(volumes) if rule is None else rule.choose(volumes)
    report.flow.exclude(["left out by the series rule"] * (len(volumes) - len(chosen)), "volumes")
    matches = match_rows(table, chosen, copy_to_all)
    if matches.ambiguous_rows and rule is None and not copy_to_all:
        meant = {v.case: v for row in matches.ambiguous_rows for v in matches.candidates[row.line]}
        raise InputError(
            f"{len(matches.ambiguous_rows)} rows of {table.path.name} mean several volumes each; choose with --series, "
            f'such as "SeriesDescription~flair", or all; there are: '
            f"{'; '.join(candidates(list(meant.values()))[:_SHOWN])}"
        )
    report.matched_by = matches.key
    report.notes += matches.notes
    if matches.other_patients:
        report.notes.append(f"{matches.other_patients} volumes name another patient in the header than in the table")
    report.rows_outside += matches.outside
    report.rows_without_file = [str(row) for row in matches.rows_without_file]
    report.ambiguous_rows = [str(row) for row in matches.ambiguous_rows]
    report.contradicting_rows = [str(row) for row in matches.contradicting_rows]
    open_ = {volume.case for several in matches.candidates.values() for volume in several}
    without = [volume for volume in matches.volumes_without_row if volume.case not in open_]
    report.files_without_row = [report.file(volume.path) for volume in without]
    report.flow.exclude(["no row in the labels table"] * len(without), "volumes")
    number = len(matches.volumes_without_row) - len(without)
    report.flow.exclude(["several volumes of its study fit the rule"] * number, "volumes")
    found, twice = [], []
    for volume in chosen:
        rows = matches.rows.get(volume.case)
        if not rows:
            continue
        if len({row.patient for row in rows if row.patient}) > 1:
            twice.append(Skipped(case_name(volume, names), "its rows name several patients"))
            continue
        found.append(LabelledVolume(volume, rows, matches.patients[volume.case], case_name(volume, names)))
    names_of = Counter(item.case for item in found)
    twice += [Skipped(item.case, "several volumes have its identifiers") for item in found if names_of[item.case] > 1]
    found = [item for item in found if names_of[item.case] == 1]
    report.skip_cases(twice)
    named = (row.patient for item in found for row in item.rows)
    if all(item.patient == item.volume.case for item in found) and not any(named):
        report.notes.append("Neither the table nor the headers name patients: each file counts as a patient of its own")
    return _one_name_a_person(found, report)


def _one_name_a_person(found: list[LabelledVolume], report: PrepareReport) -> list[LabelledVolume]:
    """Join the IDs that one person goes by: in the table, in the headers, as owner of a series, by the group column.

    What stands for many of the table's patients is a placeholder, such as the name ANONYMOUS, and joins nobody.
    """
    links = [(item, f"{kind} {name}") for item in found for kind, name in item.identifiers]
    patients: dict[str, set[str]] = defaultdict(set)
    for item, link in links:
        patients[link].add(item.patient)
    placeholders = {link for link, of in patients.items() if len(of) > _MOST_IDS}
    if placeholders:
        report.notes.append("The headers name many of the table's patients alike; the table's names are taken")
    pairs: list[tuple[str, str | None]] = [(item.patient, None) for item in found]
    pairs += [(item.patient, link) for item, link in links if link not in placeholders]
    pairs += [(item.patient, f"group {row.group}") for item in found for row in item.rows if row.group]
    person = join_groups(pairs)
    joined = []
    for item in found:
        named = {name for kind, name in item.identifiers if kind == "patient" and f"{kind} {name}" not in placeholders}
        known = {item.patient, person[item.patient], *named}
        others = sorted((known | {without_zeros(name) for name in known}) - {person[item.patient]})
        joined.append(replace(item, patient=person[item.patient], other_ids=tuple(others)))
    return joined


def without_withdrawn(found: list[LabelledVolume], withdrawn: Withdrawn, report: PrepareReport) -> list[LabelledVolume]:
    """Leave out patients that `forget` removed, under whichever name they come back."""
    patients = set()
    for item in found:
        ids = {item.patient, *item.other_ids, *(row.patient for row in item.rows if row.patient)}
        cases = {item.case, item.volume.case, *(case_name(item.volume, names) for names in withdrawn.names)}
        if withdrawn.holds(ids, cases):
            patients.add(item.patient)
    kept = [item for item in found if item.patient not in patients]
    if len(kept) < len(found):
        patient = "1 withdrawn patient" if len(patients) == 1 else f"{len(patients)} withdrawn patients"
        report.notes.append(f"{patient} left out (withdrawn.json)")
        report.flow.exclude(["withdrawn"] * (len(found) - len(kept)), "volumes")
    return kept


def mapping_rows(
    volumes: Sequence[Volume],
    unreadable: Sequence[Skipped],
    found: Sequence[LabelledVolume],
    split_of: Mapping[str, str],
    report: PrepareReport,
) -> list[MappingRow]:
    """One row for every volume and unreadable file, in clear."""
    used = {item.volume.case: item for item in found}
    reasons = {item.file: item.reason for item in report.skipped}
    rows = []
    for volume in volumes:
        item, tags, name = used.get(volume.case), volume.tags, case_name(volume, report.names)
        reason = reasons.get(name) or reasons.get(report.file(place_of(volume.files)))
        rows.append(
            MappingRow(
                case=name,
                patient=report.names.patient(item.patient) if item else "",
                patient_id=item.patient if item else (tags.patient if tags else ""),
                name=volume.case,
                study_uid=tags.study if tags else "",
                series_uid=tags.series if tags else "",
                accession=tags.accession if tags else "",
                path=str(volume.path),
                status=split_of.get(name, "") or reason or "not labelled, or left out by the series rule",
            )
        )
    return rows + [
        MappingRow(case=report.file(item.file), path=str(item.file), status=item.reason) for item in unreadable
    ]
