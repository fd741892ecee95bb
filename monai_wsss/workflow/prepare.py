"""The first stage: studies and a labels table in, dataset.json and cache out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_wsss.data import (
    Case,
    LabelPolicy,
    LabelsTable,
    PreparedDataset,
    Pseudonyms,
    SeriesRule,
    Skipped,
    Volume,
    build_cache,
    cache_folder,
    cached_record,
    case_aliases,
    find_truth,
    merge_rows,
    read_labels_table,
    reason_of,
    remove_cached,
)
from monai_wsss.data.clear_names import place_of
from monai_wsss.data.dataset_file import FILE_NAME, SPLITS
from monai_wsss.data.discovery import Found, is_harmless, reason_unusable, search
from monai_wsss.data.import_volume import ImportedImage, import_masks, import_volumes, remove_imports
from monai_wsss.data.mapping_table import write_mapping
from monai_wsss.data.nuisance import image_nuisance
from monai_wsss.data.pseudonyms import KEY_FILE
from monai_wsss.data.withdrawn import Withdrawn
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.prepare_checks import check_prepared
from monai_wsss.workflow.prepare_match import LabelledVolume, choose, mapping_rows, without_withdrawn
from monai_wsss.workflow.prepare_report import PrepareReport
from monai_wsss.workflow.prepare_split import SplitChoice

Progress = Callable[[int, int | None, str], None]
"""Called with (done, all or None if that is not known, what is being done)."""


def prepare(
    input: str | Path,
    labels: str | Path,
    out: str | Path,
    classes: Sequence[str] | None = None,
    blank: str | float = "mask",
    uncertain: str | float = "mask",
    slice_key: str | None = None,
    series: str | None = None,
    resample: bool = False,
    voi: bool = False,
    split: Sequence[float] | None = None,
    split_column: str | None = None,
    group_column: str | None = None,
    leave_out_site: str | None = None,
    temporal: bool = False,
    masks: str | Path | None = None,
    keep_names: bool = False,
    mapping: str | Path | None = None,
    seed: int = 0,
    preprocessing: GridPreprocessing | None = None,
    progress: Progress | None = None,
    colour: bool = False,
    exclude: Sequence[str | Path] = (),
) -> PrepareReport:
    """Write `out`/dataset.json, images, cache, and what there is to look at before training; see docs/reference.

    dataset.json comes last: an interrupted call leaves none, or the old one, and the next call goes on with what is
    there. Splits and order rest on the names in clear, so that they do not depend on the key.

    Args:
        input: folder of DICOM series, NIfTI volumes and pictures, or one file.
        labels: table, see `read_labels_table`.
        out: the prepared folder.
        classes: class columns; None takes those that `propose_classes` finds.
        blank, uncertain: what an empty or doubtful label means, see `LabelPolicy`.
        slice_key: how the table counts slices, see `slice_key`.
        series: rule that chooses among series, see `SeriesRule`; "all" gives a study's label to all of its series.
        resample: mend gaps and tilt of DICOM series by interpolation; otherwise such series are left out.
        voi: apply the VOI LUT of projection X-ray.
        split: fractions of patients for training, validation and test; None takes the table's `split` column if there
            is one, else 0.7, 0.1, 0.2.
        split_column: another column of train / val / test.
        group_column: rows with the same value here are one patient.
        leave_out_site: this site's patients are the test split.
        temporal: the newest patients are the test split.
        masks: folder of true masks, for `evaluate` alone.
        keep_names: write names as they are, for data that is already anonymised.
        mapping: file for the table of names in clear; None writes none.
        seed: of the random split.
        preprocessing: of the default cache; None takes `GridPreprocessing()`, which fits films without spacing.
        progress: see `Progress`.
        colour: pictures keep their three colours, in the imported images and in the default cache.
        exclude: folders and files below `input` that are passed over.

    Raises:
        InputError: if nothing can be prepared at all; bad files alone are skipped and reported.
    """
    out = Path(out)
    _check_replaceable(out)
    _check_apart(out, Path(input), None if masks is None else Path(masks))
    choice = SplitChoice(split, split_column, leave_out_site, temporal, seed)
    policy = LabelPolicy(blank, uncertain)
    rule = None if series in (None, "all") else SeriesRule.parse(str(series))
    table = read_labels_table(labels, classes, split_column, slice_key, group_column)
    headers = None if progress is None else lambda done: progress(done, None, "reading headers")
    left_out = [out, *(out / name for name in ("images", "truth", "cache")), *([masks] if masks else []), *exclude]
    there = search(input, left_out, resample, headers)
    volumes = there.volumes
    refused = [Skipped(str(place_of(series.files)), reason_unusable(series)) for series in there.unusable]
    unreadable = sorted([*there.skipped, *refused])
    if not volumes:
        raise InputError(f"{input}: none of {len(unreadable)} files can be read ({unreadable[0].reason})")
    withdrawn = Withdrawn.read(out)  # before a key that is missing would be made anew
    names = Pseudonyms.open(out / KEY_FILE, keep_names)
    report = PrepareReport(out, table.labels, names, Path(input), policy=policy.to_json())
    report.table_notes, report.table_problems = list(table.notes), list(table.problems)
    _begin_flow(there, refused, report)
    found = choose(volumes, table, rule, series == "all", names, report)
    found = without_withdrawn(found, withdrawn, report)
    found = choice.keep_assigned(found, table.split_column, report)
    report.flow.step("Labelled", cases=len(found), patients=len({item.patient for item in found}))

    if not found:
        raise InputError(f"{input}: no volume is left to prepare; {report.why_none()}")
    by_case = {item.case: item for item in found}
    cases = [_case(item, table, policy, names, report) for item in found]
    choice.assign(cases, by_case, table.split_column, PrepareReport(out))  # a bad option should not wait for the images
    options = {"series": series, "voi": voi, "resample": resample, "colour": colour}
    reading = {name: value for name, value in options.items() if value}
    _forget_other_reading(out, reading)

    imported = _import(found, out, names, voi, resample, colour, report, progress)
    truth = _truth([item for item in found if item.case in imported], imported, masks, out, names, report)
    cases = [
        replace(case, image=imported[case.case].path, truth=truth.get(case.case))
        for case in cases
        if case.case in imported
    ]
    preprocessing = preprocessing or _default_preprocessing([item.volume for item in found], colour)
    folder = cache_folder(out, preprocessing.parameters)
    caching = None if progress is None else lambda done, total, _: progress(done, total, "preprocessing")
    failed = {
        skip.file: skip.reason for skip in build_cache(cases, folder, preprocessing, preprocessing.parameters, caching)
    }
    report.skip_cases(Skipped(c.case, failed[str(c.image)]) for c in cases if str(c.image) in failed)
    cases = [case for case in cases if str(case.image) not in failed]
    if not cases:
        raise InputError(f"{input}: no case left ({report.skipped[0].reason})")
    report.cropped = [
        f"{case.case} (by {cut:.0f} mm)"
        for case in cases
        if (cut := cached_record(case.case, folder).get("cropped_mm"))
    ]
    split_of = choice.assign(cases, by_case, table.split_column, report)
    training, validation, test = (tuple(c for c in cases if split_of[c.case] == name) for name in SPLITS)
    dataset = PreparedDataset(
        table.labels, preprocessing.parameters, training, validation, test, policy.to_json(), reading
    )
    check_prepared(dataset, folder, {case: image.notes for case, image in imported.items()}, report)
    if mapping is not None:
        write_mapping(mapping, mapping_rows(volumes, unreadable, found, split_of, report))
    report.write()
    dataset.write(out)
    kept = {case.case for case in cases}
    for folder in (out / "images", out / "truth"):
        remove_imports(folder, kept)
    remove_cached(out, kept)
    return report


def _check_replaceable(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise InputError(f"{out}: is a file; give a folder to write")
    if (out / FILE_NAME).exists():
        try:
            PreparedDataset.read(out)
        except InputError as error:
            reason = reason_of(error, out / FILE_NAME).split(";")[0]
            raise InputError(f"{out / FILE_NAME}: {reason}; remove it or choose another output folder") from error


def _forget_other_reading(out: Path, reading: dict[str, Any]) -> None:
    """Images that are about to be read in another way would no longer be what an older dataset.json says."""
    if (out / FILE_NAME).exists():
        old = PreparedDataset.read(out).reading
        if any(bool(old.get(name)) != bool(reading.get(name)) for name in ("voi", "resample", "colour")):
            (out / FILE_NAME).unlink()


def _check_apart(out: Path, input: Path, masks: Path | None) -> None:
    """What is read must not lie where this writes, and true masks must not pass for images."""
    own = [(out / name).resolve() for name in ("images", "truth", "cache")]
    for folder in (input, *([masks] if masks else [])):
        inside = next((place for place in own if folder.resolve().is_relative_to(place)), None)
        if inside is not None:
            raise InputError(f"{folder}: lies in {inside.name}/ of the output folder; choose another --out")
    if masks is not None and input.resolve().is_relative_to(masks.resolve()):
        raise InputError(f"{masks}: the images lie in it too; give a folder that holds the true masks alone")


def _default_preprocessing(volumes: Sequence[Volume], colour: bool) -> GridPreprocessing:
    """1 mm pixels; films and pictures, whose mm are unknown or those of the detector, are fitted into the grid."""
    films = all(
        volume.header.shape[2] == 1
        and (not volume.header.spacing_known or (volume.tags is not None and volume.tags.plane == "projection"))
        for volume in volumes
    )
    return GridPreprocessing(pixel_spacing=None if films else 1.0, channels=3 if colour else 1)


def _begin_flow(there: Found, refused: Sequence[Skipped], report: PrepareReport) -> None:
    """Count what was found; what is no image, or a copy, is no loss."""
    volumes = there.volumes
    files = sum(len(v.files) for v in volumes) + sum(len(s.files) for s in there.unusable) + len(there.skipped)
    report.flow.step("Found", files=files)
    for items, unit in ((there.skipped, "files"), (refused, "series")):
        report.skip([item for item in items if not is_harmless(item)], unit)
        report.flow.exclude([item.reason for item in items if is_harmless(item)], unit)
    tags = [volume.tags for volume in volumes if volume.tags is not None]
    named = {"studies": len({t.study for t in tags} - {""}), "patients": len({t.patient for t in tags} - {""})}
    report.flow.step("Usable", volumes=len(volumes), **{what: number for what, number in named.items() if number})


def _import(
    found: Sequence[LabelledVolume],
    out: Path,
    names: Pseudonyms,
    voi: bool,
    resample: bool,
    colour: bool,
    report: PrepareReport,
    progress: Progress | None,
) -> dict[str, ImportedImage]:
    """Bring the images into the prepared folder; case -> image."""
    images, skipped = import_volumes(
        [item.volume for item in found],
        [item.case for item in found],
        out / "images",
        names,
        lambda volume, array, affine: image_nuisance(array, affine, volume),
        voi,
        resample,
        None if progress is None else lambda done, total: progress(done, total, "reading images"),
        colour,
    )
    report.skip(skipped, "volumes")
    return {image.case: image for image in images}


def _truth(
    found: Sequence[LabelledVolume],
    imported: Mapping[str, ImportedImage],
    masks: str | Path | None,
    out: Path,
    names: Pseudonyms,
    report: PrepareReport,
) -> dict[str, Path]:
    """Bring the true masks along; only `evaluate` reads them again."""
    if masks is None:
        return {}
    case_of = {item.volume.case: item.case for item in found}
    files, problems = find_truth([item.volume for item in found], masks)
    own = {case_of[name]: file for name, file in files.items()}
    images = {case: image.path for case, image in imported.items()}
    truth, unreadable = import_masks(own, images, out / "truth", names)
    report.truth_problems = [Skipped(report.file(item.file), item.reason) for item in (*problems, *unreadable)]
    return truth


def _case(
    item: LabelledVolume, table: LabelsTable, policy: LabelPolicy, names: Pseudonyms, report: PrepareReport
) -> Case:
    """The case with its labels; `image` is the source until it is imported."""
    merged = merge_rows(item.rows, table.labels, item.volume.header.shape[2], policy)
    report.duplicates += merged.duplicates
    report.contradictions += merged.contradictions
    return Case(
        image=item.volume.path,
        case=item.case,
        patient=names.patient(item.patient),
        classes=merged.classes,
        slice_classes=merged.slice_classes,
        site=names.site(item.site) if item.site else None,
        burned_in=item.volume.tags is not None and item.volume.tags.burned_in == "YES",
        aliases=(*case_aliases(item.volume, names), *(names.patient(other) for other in item.other_ids)),
    )
