"""What lets a bundle's segmenter learn from true masks: the masks where pseudo masks are read, and no gate."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from benchmarks.rows.run_parts import preprocessing_of
from monai_wsss.data import PreparedDataset, write_array
from monai_wsss.workflow import mask_folders
from monai_wsss.workflow.bundle_config import load_config
from monai_wsss.workflow.truth_on_grid import truth_on_grid

ONE_MASK = {"refine": "none", "supervision": "static"}
"""Values under which `train` reads one mask a case, whatever the method learns from."""


def remove_gate(bundle: Path) -> None:
    """Take the classifier out of a bundle's inference; an id of several lines cannot be set from outside."""
    path = bundle / "configs" / "inference.yaml"
    config = load_config(path) | {"classifier": None}
    config["stage"]["weights"] = ["@segmenter_weights"]
    lines = [f"{name}: {_on_one_line(value)}\n" for name, value in config.items()]  # where the pipeline can set them
    path.write_text("".join(lines), encoding="utf-8")


def _on_one_line(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=100_000, allow_unicode=True).split("\n...")[0].strip()


def write_true_masks(dataset: PreparedDataset, method: Path, folder: Path) -> PreparedDataset:
    """True masks of training and validation where `train` reads pseudo masks; none of the test split.

    Returns:
        The data set; slices of both splits are labelled by their masks.
    """
    preprocess = preprocessing_of(method)
    (masks,) = mask_folders(ONE_MASK["refine"], ONE_MASK["supervision"])
    labels: dict[str, tuple[tuple[float, ...], ...]] = {}
    for case in dataset.training + dataset.validation:
        if case.case not in labels:
            mask = truth_on_grid(case, preprocess, len(dataset.labels))
            write_array(folder / masks / f"{case.case}.npy", mask)
            labels[case.case] = tuple(
                tuple(int((row == k + 1).any()) for k in range(len(dataset.labels))) for row in mask
            )
    training, validation = (
        tuple(replace(case, slice_classes=labels[case.case]) for case in cases)
        for cases in (dataset.training, dataset.validation)
    )
    return replace(dataset, training=training, validation=validation)
