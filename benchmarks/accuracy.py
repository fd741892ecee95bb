"""The table of accuracy: trivial rows, and a run's predictions, scored on the same test cases."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from monai.data import MetaTensor
from monai.transforms import Invertd
from torch import Tensor

from benchmarks.baselines import all_background, brightest_blob
from monai_wsss.data import Case, PreparedDataset, write_json, write_mask
from monai_wsss.errors import InputError
from monai_wsss.ops.body_mask import body_mask
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.evaluation import evaluate

Baseline = Callable[[Tensor], Tensor]
"""Maps a volume (D, H, W) on the network's grid to a mask of that shape, written as label 1."""


def blob_in_body(volume: Tensor) -> Tensor:
    """``brightest_blob`` inside the volume's own body mask."""
    body = body_mask(volume.movedim(0, -1)[None, None])[0, 0].movedim(-1, 0)
    return brightest_blob(volume, body)


BASELINES: dict[str, Baseline] = {"all background": all_background, "brightest blob": blob_in_body}


def accuracy(data: Path, out: Path, runs: Mapping[str, Path] | None = None, split: str = "test") -> dict[str, Any]:
    """Score the trivial rows and the predictions of runs on the split's cases that have a true mask; write JSON.

    Args:
        data: prepared folder, whose masks are known (``prepare --masks``).
        out: the JSON file, ``{row: scores of evaluate}``.
        runs: name of the row -> folder of predictions.
        split: training, validation or test.

    Raises:
        InputError: no case with a true mask, or as ``evaluate``.
    """
    dataset = PreparedDataset.read(data)
    cases = [case for case in dataset.cases(split) if case.truth is not None]
    if not cases:
        raise InputError(f"{data}: no {split} case has a true mask; prepare with --masks")
    truths = {case.case: case.truth for case in cases if case.truth is not None}
    patients = {case.case: case.patient for case in cases}
    parameters = {key: value for key, value in dataset.preprocessing.items() if key != "version"}
    result = {}
    with TemporaryDirectory() as folder:
        rows = {name: Path(folder) / name for name in BASELINES}
        _write_baselines(cases, GridPreprocessing(**parameters), rows)
        for name, pred in (rows | dict(runs or {})).items():
            result[name] = evaluate(pred, truths, None, patients, dataset.labels)
    write_json(out, result)
    return result


def format_rows(result: Mapping[str, Any]) -> str:
    """A Markdown table, one line a row: mean [95 % interval over patients]."""
    lines = [
        "| row | Dice per patient | Dice, positive slices | IoU, positive slices | lesion F1 | clean slices | n |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, scores in result.items():
        intervals = [scores["patients"]["dice"], scores["positives"]["dice"], scores["positives"]["iou"]]
        cells = [_cell(score["mean"], score["ci95"]) for score in intervals]
        cells += [_cell(scores["lesions"]["f1"]), _cell(scores["negatives"]["clean"])]
        lines.append(f"| {name} | {' | '.join(cells)} | {scores['counts']['patients']} |")
    return "\n".join(lines)


def _write_baselines(cases: Sequence[Case], preprocess: GridPreprocessing, folders: Mapping[str, Path]) -> None:
    """Write every baseline's mask of every case on the source's grid, by the way back that predictions take."""
    invert = Invertd("mask", preprocess, orig_keys="image", nearest_interp=True)
    for case in cases:
        item = preprocess({"image": str(case.image)})
        image = item["image"]
        volume = torch.as_tensor(image)[0].movedim(-1, 0)
        for name, folder in folders.items():
            mask = BASELINES[name](volume).movedim(0, -1)[None].float()
            back = invert({"image": image, "mask": MetaTensor(mask, meta=image.meta)})["mask"]
            write_mask(folder / f"{case.case}.nii.gz", back[0].round().numpy(), case.image)


def _cell(value: float | None, interval: Sequence[float] | None = None) -> str:
    text = "-" if value is None else f"{value:.3f}"
    return text if interval is None else f"{text} [{interval[0]:.3f}, {interval[1]:.3f}]"
