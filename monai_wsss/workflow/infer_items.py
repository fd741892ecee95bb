"""Which volumes inference runs on, and what they are called."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from monai_wsss.data import PreparedDataset, Pseudonyms, Volume
from monai_wsss.data.case_names import case_aliases, case_name
from monai_wsss.data.discovery import find_volumes, is_harmless
from monai_wsss.data.pseudonyms import key_beside
from monai_wsss.data.series_rule import SeriesRule, candidates
from monai_wsss.errors import InputError

_SHOWN = 8  # candidates in an error


def inference_items(
    dataset_dir: str,
    exclude: str | None = None,
    series: str | None = None,
    keep_names: bool = False,
    key_file: str | None = None,
    voi: bool = False,
    resample: bool = False,
) -> list[dict[str, Any]]:
    """`{image, case}` of a prepared folder's test split, or of every volume in any other folder, or of one file.

    Volumes of a prepared folder have their names already. Others take keyed hashes, with those of their other names as
    `aliases`, by which `evaluate` finds their true masks; what cannot be read goes along with
    its `problem`, so that it is counted and listed.

    Args:
        dataset_dir: prepared folder, other folder or file.
        exclude: folder that the masks are written to; below `dataset_dir` it is left out.
        series: rule that chooses among DICOM series, see `SeriesRule`; "all" takes all; None takes a study's only one.
        keep_names: name cases as their files.
        key_file: key of the hashes, made if it is not there; None is `exclude`.key.
        voi: apply the VOI LUT of projection X-ray.
        resample: mend gaps and tilt of DICOM series by interpolation.

    Raises:
        InputError: nothing there that can be read, or several series in a study and no rule.
    """
    folder = Path(dataset_dir)
    if (folder / "dataset.json").exists():
        return [{"image": str(case.image), "case": case.case} for case in PreparedDataset.read(folder).cases("test")]
    if key_file is None and not keep_names:
        if exclude is None:
            raise InputError("no key for the names: give key_file, or keep_names for data that is already anonymised")
        key_file = str(key_beside(exclude))
    left_out = [path for path in (exclude, key_file) if path]
    volumes, unreadable = find_volumes(folder, exclude=left_out, resample=resample)
    chosen = [replace(volume, voi=voi, resample=resample) for volume in choose_series(volumes, series)]
    names = Pseudonyms.open(key_file or "", keep_names)
    items: list[dict[str, Any]] = [
        {"image": volume, "case": case_name(volume, names), "aliases": case_aliases(volume, names)} for volume in chosen
    ]
    root = folder if folder.is_dir() else folder.parent
    for skipped in unreadable:
        if not is_harmless(skipped):
            case = names.below(skipped.file, root)
            items.append({"image": skipped.file, "case": case, "problem": skipped.reason})
    return items


def choose_series(volumes: Sequence[Volume], series: str | None) -> list[Volume]:
    """Return the volumes that fit a rule, or all ("all"), or all if no study has several series (None).

    Raises:
        InputError: none fits, or a study has several; the message lists what there is.
    """
    if series == "all":
        return list(volumes)
    if series is not None:
        return SeriesRule.parse(series).choose(volumes)
    counts = Counter(volume.tags.study for volume in volumes if volume.tags is not None and volume.tags.study)
    several = [v for v in volumes if v.tags is not None and counts[v.tags.study] > 1]
    if several:
        studies = sum(count > 1 for count in counts.values())
        raise InputError(
            f"{studies} of {len(counts)} studies hold several usable series; choose with --series, such as "
            f'"SeriesDescription~flair", or all; there are: {"; ".join(candidates(several)[:_SHOWN])}'
        )
    return list(volumes)
