"""What there is to look at before training: shortcuts, near duplicates, pictures of labelled slices."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from monai_wsss.data import PreparedDataset, cached_record, write_json, write_table
from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.data.duplicates import across_patients, across_splits, image_hash, near_duplicates
from monai_wsss.data.nuisance import VARIABLES
from monai_wsss.workflow.label_preview import draw_label_preview
from monai_wsss.workflow.prepare_report import PrepareReport
from monai_wsss.workflow.shortcuts import audit


def check_prepared(
    dataset: PreparedDataset, cache: Path, nuisance: Mapping[str, Mapping[str, Any]], report: PrepareReport
) -> None:
    """Write nuisance.csv, shortcuts.json and labelled_slices.png beside dataset.json, and what they say to `report`.

    Args:
        dataset: about to be written.
        cache: its arrays.
        nuisance: case -> `image_nuisance`.
        report: of this call.
    """
    cases = dataset.cases()
    report.count(dataset, sum(cached_record(case.case, cache)["shape"][0] for case in cases))
    columns = [key for keys in VARIABLES.values() for key in keys]
    rows = [[case.case, *("" if (v := nuisance[case.case].get(c)) is None else v for c in columns)] for case in cases]
    write_table(report.out / "nuisance.csv", ("case", *columns), rows)

    found = audit(cases, dataset.labels, nuisance)
    write_json(report.out / "shortcuts.json", found.to_json())
    report.shortcuts = found.lines()

    hashes = {c.case: image_hash(np.load(cache / f"{c.case}.npy", mmap_mode="r", allow_pickle=False)) for c in cases}
    pairs = across_patients(near_duplicates(hashes), {case.case: case.patient for case in cases})
    split_of = {case.case: name for name in SPLITS for case in dataset.cases(name)}
    apart = {pair[:2] for pair in across_splits(pairs, split_of)}
    report.near_duplicates = [
        f"{a} and {b}, {split_of[a]} and {split_of[b]}" if (a, b) in apart else f"{a} and {b}, both {split_of[a]}"
        for a, b, _ in sorted(pairs, key=lambda pair: (pair[:2] not in apart, pair[2]))
    ]
    draw_label_preview(report.out / "labelled_slices.png", dataset, cache)
