"""The first stage: studies and a labels table in, dataset.json and cache out."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from monai_wsss.data import (
    Case,
    PreparedDataset,
    Progress,
    Skipped,
    Volume,
    build_cache,
    cache_folder,
    cached_record,
    find_truth,
    find_volumes,
    match_rows,
    merge_rows,
    read_labels_table,
    reason_of,
    split_by_column,
    split_patients,
    write_json,
)
from monai_wsss.data.dataset_file import FILE_NAME, SPLITS
from monai_wsss.data.labels_table import LabelsTable
from monai_wsss.data.matching import Matches
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.prepare_report import PrepareReport

_FRACTIONS = (0.7, 0.1, 0.2)


def prepare(
    input: str | Path,
    labels: str | Path,
    out: str | Path,
    classes: Sequence[str] | None = None,
    split: Sequence[float] | None = None,
    split_column: str | None = None,
    masks: str | Path | None = None,
    seed: int = 0,
    preprocessing: GridPreprocessing | None = None,
    progress: Progress | None = None,
) -> PrepareReport:
    """Write `out`/dataset.json, `out`/cache and `out`/prepare.json (the report).

    dataset.json comes last: an interrupted call leaves none, or the old one, and the next call goes on with the cache.

    Args:
        input: folder of NIfTI volumes, or one file.
        labels: CSV table, see `read_labels_table`.
        out: the prepared folder.
        classes: class columns; None takes all that hold only 0 and 1.
        split: fractions of patients for training, validation and test; None takes the table's `split` column if there
            is one, else 0.7, 0.1, 0.2.
        split_column: another column of train / val / test.
        masks: folder of true masks, for `evaluate` alone.
        seed: of the random split.
        preprocessing: of the default cache; None takes `GridPreprocessing()`.
        progress: called after each volume with (done, all, name).

    Raises:
        InputError: if nothing can be prepared at all; bad files alone are skipped and reported.
    """
    out = Path(out)
    _check_replaceable(out)
    if split is not None and split_column is not None:
        raise InputError("give either split fractions or a split column, not both")
    split_patients({}, split or _FRACTIONS)  # bad fractions should not wait for the cache
    table = read_labels_table(labels, classes, split_column)
    volumes, skipped = find_volumes(input, exclude=[out, *([masks] if masks else [])])
    if not volumes:
        raise InputError(f"{input}: none of {len(skipped)} files can be read ({skipped[0].file}: {skipped[0].reason})")
    matches = match_rows(table, volumes)
    report = PrepareReport(out, table.labels, matches.key, skipped=skipped, table_problems=list(table.problems))
    report.rows_without_file = [f"{row} (line {row.line})" for row in matches.rows_without_file]
    report.ambiguous_rows = [f"{row} (line {row.line})" for row in matches.ambiguous_rows]
    report.files_without_row = [str(volume.path) for volume in matches.volumes_without_row]

    if not any("PatientID" in row.keys for row in table.rows):
        report.notes.append("The table has no PatientID, so each file counts as a patient of its own")
    truth = _truth(volumes, matches, masks, report)
    cases = [case for volume in volumes if (case := _case(volume, matches, table, truth, report))]
    by_column = table.split_column if split is None else None
    split_of = _splits_of_table(cases, matches, report) if by_column else {}
    cases = [case for case in cases if not by_column or case.patient in split_of]

    preprocessing = preprocessing or GridPreprocessing()
    folder = cache_folder(out, preprocessing.parameters)
    failed = build_cache(cases, folder, preprocessing, preprocessing.parameters, progress)
    report.skipped += failed
    lost = {skip.file for skip in failed}
    cases = [case for case in cases if str(case.image) not in lost]
    if not cases:
        raise InputError(f"{input}: no case left ({report.skipped[0].file}: {report.skipped[0].reason})")
    report.cropped = [
        f"{case.case} (by {cut:.0f} mm)"
        for case in cases
        if (cut := cached_record(case.case, folder).get("cropped_mm"))
    ]
    if not by_column:
        split_of = split_patients(_patient_classes(cases), split or _FRACTIONS, seed)
    report.split_by = f"column {by_column}" if by_column else f"chance, seed {seed}"

    parts = {name: tuple(case for case in cases if split_of[case.patient] == name) for name in SPLITS}
    dataset = PreparedDataset(
        table.labels, preprocessing.parameters, parts["training"], parts["validation"], parts["test"]
    )
    _count(dataset, folder, report)
    write_json(out / "prepare.json", report.to_json())
    dataset.write(out)
    return report


def _check_replaceable(out: Path) -> None:
    if (out / FILE_NAME).exists():
        try:
            PreparedDataset.read(out)
        except InputError as error:
            reason = reason_of(error, out / FILE_NAME).split(";")[0]
            raise InputError(f"{out / FILE_NAME}: {reason}; remove it or choose another output folder") from error


def _truth(
    volumes: Sequence[Volume], matches: Matches, masks: str | Path | None, report: PrepareReport
) -> dict[str, Path]:
    if masks is None:
        return {}
    truth, report.truth_problems = find_truth([volume for volume in volumes if volume.case in matches.rows], masks)
    return truth


def _case(
    volume: Volume, matches: Matches, table: LabelsTable, truth: dict[str, Path], report: PrepareReport
) -> Case | None:
    rows = matches.rows.get(volume.case)
    if not rows:
        return None
    patients = sorted({row.keys["PatientID"] for row in rows if "PatientID" in row.keys})
    if len(patients) > 1:
        report.skipped.append(Skipped(str(volume.path), f"its rows name several patients: {', '.join(patients)}"))
        return None
    merged = merge_rows(rows, table.labels, volume.header.shape[2])
    report.duplicates += merged.duplicates
    report.contradictions += merged.contradictions
    report.rows_outside += merged.outside
    return Case(
        image=volume.path,
        case=volume.case,
        patient=patients[0] if patients else volume.case,
        classes=merged.classes,
        slice_classes=merged.slice_classes,
        site=next((row.site for row in rows if row.site), None),
        truth=truth.get(volume.case),
    )


def _splits_of_table(cases: Sequence[Case], matches: Matches, report: PrepareReport) -> dict[str, str]:
    values: dict[str, set[str | None]] = defaultdict(set)
    for case in cases:
        values[case.patient].update(row.split for row in matches.rows[case.case])
    split_of, refused = split_by_column(values)
    report.skipped += [Skipped(str(case.image), refused[case.patient]) for case in cases if case.patient in refused]
    return split_of


def _patient_classes(cases: Sequence[Case]) -> dict[str, tuple[float, ...]]:
    """Return patient -> labels: positive if any case is, else negative if any is known to be."""
    classes: dict[str, tuple[float, ...]] = {}
    for case in cases:
        known = classes.get(case.patient, case.classes)
        classes[case.patient] = tuple(max(pair) for pair in zip(known, case.classes, strict=True))
    return classes


def _count(dataset: PreparedDataset, folder: Path, report: PrepareReport) -> None:
    report.patients = {name: len({case.patient for case in dataset.cases(name)}) for name in SPLITS}
    report.cases = {name: len(dataset.cases(name)) for name in SPLITS}
    report.slices = sum(cached_record(case.case, folder)["shape"][0] for case in dataset.cases())
    for k, label in enumerate(dataset.labels):
        report.positive_cases[label] = sum(case.classes[k] == 1 for case in dataset.cases())
        report.positive_slices[label] = sum(row[k] == 1 for case in dataset.cases() for row in case.slice_classes or ())
        for name in SPLITS:
            known = {row[k] for case in dataset.cases(name) for row in (case.slice_classes or (case.classes,))}
            if dataset.cases(name):
                report.empty_classes += [
                    f"Class {label} has no {sign} in {name}"
                    for sign, v in (("positive", 1), ("negative", 0))
                    if v not in known
                ]
