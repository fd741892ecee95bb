"""The table of accuracy: trivial rows, each step of the method, and the supervised ceiling on the same test cases."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.bundle import ConfigParser
from torch import Tensor

from benchmarks.baselines import all_background, brightest_blob, position_prior
from benchmarks.geometry import mask_to_grid, mask_to_source
from monai_wsss.data import Case, PreparedDataset, write_array, write_json, write_mask
from monai_wsss.errors import InputError
from monai_wsss.metrics import paired_difference
from monai_wsss.ops import body_mask
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow import Pipeline
from monai_wsss.workflow.evaluation import evaluate
from monai_wsss.workflow.manifest import Manifest

# name of the row -> (folder of label maps below the method's run, on the network's grid)
STEPS = {"class maps, thresholded": "pseudo_masks/refined", "class maps + CRF": "pseudo_masks/crf"}
METHOD, UNGATED, CEILING = "segmenter", "segmenter, no classifier gate", "supervised ceiling"


def accuracy(
    data: Path,
    bundle: Path,
    work: Path,
    overlays: Sequence[str] = (),
    overrides: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Run the bundle and its ceiling where that is not done yet, and score every row on the test cases.

    Args:
        data: prepared folder with true masks.
        bundle: bundle folder.
        work: folder of this table's runs; a second call goes on where the first stopped.
        overlays: the bundle's overlays.
        overrides: ids set over them.
        device: device id.

    Returns:
        `{bundle, overlays, overrides, protocol, ..., rows: {name: scores}}`.

    Raises:
        InputError: a case without a true mask, several classes, or as the stages.
    """
    dataset = PreparedDataset.read(data)
    if any(case.truth is None for case in dataset.cases()):
        raise InputError(f"{data}: not every case has a true mask; prepare with --masks")
    if len(dataset.labels) != 1:
        raise InputError(f"{data}: {len(dataset.labels)} classes; the trivial rows and this table are for one")
    values = dict(overrides or {})
    no_gate = values | {"infer_gate_probability": 0.0}
    method = work / "method"
    Pipeline(str(bundle), str(data), str(method), None, overlays, values, device).run()
    ceiling = work / "supervised"
    _supervise(dataset, method, ceiling)
    given = [{"name": "train", "config": "train.yaml"}, {"name": "infer", "config": "inference.yaml"}]
    Pipeline(str(bundle), str(data), str(ceiling), given, overlays, no_gate, device).run()
    ungated = work / "ungated"
    for name in ("classifier", "segmenter"):
        shutil.copytree(method / name, ungated / name, dirs_exist_ok=True)
    Pipeline(str(bundle), str(data), str(ungated), given[1:], overlays, no_gate, device).run()

    preprocess = preprocessing_of(method)
    folders = _write_rows(dataset, preprocess, method, work / "rows")
    folders |= {METHOD: method / "predictions", UNGATED: ungated / "predictions", CEILING: ceiling / "predictions"}
    cases = dataset.cases("test")
    truths = {case.case: case.truth for case in cases if case.truth is not None}
    patients = {case.case: case.patient for case in cases}
    rows = {name: evaluate(folder, truths, None, patients, dataset.labels) for name, folder in folders.items()}
    return _table(rows, method, ceiling)


def preprocessing_of(run: Path) -> GridPreprocessing:
    """The preprocessing that a run used, from its own copy of the bundle."""
    parser = ConfigParser()
    parser.read_config(str(run / "bundle" / "configs" / "inference.yaml"))
    return parser.get_parsed_content("preprocessing")


def _supervise(dataset: PreparedDataset, method: Path, ceiling: Path) -> None:
    """True masks of training and validation in the place of pseudo masks; none of the test split."""
    shutil.copytree(method / "classifier", ceiling / "classifier", dirs_exist_ok=True)
    preprocess = preprocessing_of(method)
    for case in dataset.cases("training") + dataset.cases("validation"):
        mask = mask_to_grid(case, preprocess)
        for kind in ("refined", "crf"):
            write_array(ceiling / "pseudo_masks" / kind / f"{case.case}.npy", mask)


def _write_rows(dataset: PreparedDataset, preprocess: GridPreprocessing, method: Path, folder: Path) -> dict[str, Path]:
    """Write the trivial rows and the method's steps in the source's geometry; returns their folders."""
    training = [np.load(method / "pseudo_masks" / "crf" / f"{c.case}.npy") for c in dataset.cases("training")]
    prior = position_prior(torch.from_numpy(np.concatenate(training)))
    folders = {name: folder / name.replace(" ", "_").replace(",", "") for name in (*_trivial_names(), *STEPS)}
    for case in dataset.cases("test"):
        image = preprocess({"image": str(case.image)})["image"]
        masks = _trivial(torch.as_tensor(image)[0].movedim(-1, 0), prior)
        masks |= {name: _load(method / path, case) for name, path in STEPS.items()}
        for name, mask in masks.items():
            write_mask(folders[name] / f"{case.case}.nii.gz", mask_to_source(mask, image, preprocess), case.image)
    return folders


def _load(folder: Path, case: Case) -> Tensor:
    return torch.from_numpy(np.load(folder / f"{case.case}.npy"))


def _trivial_names() -> tuple[str, ...]:
    return ("all background", "brightest blob", "position prior")


def _trivial(volume: Tensor, prior: Tensor) -> dict[str, Tensor]:
    """Label maps (D, H, W) of the rows that need no training."""
    body = body_mask(volume.movedim(0, -1)[None, None])[0, 0].movedim(-1, 0)
    masks = (all_background(volume), brightest_blob(volume, body), prior.expand_as(volume) & body)
    return dict(zip(_trivial_names(), masks, strict=True))


def _table(rows: Mapping[str, Any], method: Path, ceiling: Path) -> dict[str, Any]:
    """What is kept: pooled scores without case names, paired differences from the method, minutes and device."""
    base = {item["case"]: item for item in rows[METHOD]["per_case"]}
    kept = {}
    for name, scores in rows.items():
        pairs = [(base[item["case"]], item) for item in scores["per_case"]]
        ours, theirs = (torch.tensor([pair[i]["dice"] for pair in pairs]) for i in (0, 1))
        groups = [pair[0]["patient"] for pair in pairs]
        kept[name] = {key: value for key, value in scores.items() if key not in ("per_case", "definitions")}
        kept[name]["difference"] = paired_difference(ours, theirs, groups)
    stages = Manifest(method).content["stages"]
    return {
        "bundle": Manifest(method).content["bundle"],
        "overlays": Manifest(method).content["overlays"],
        "overrides": Manifest(method).content["overrides"],
        "protocol": "W0: no true mask before evaluate; fixed split, one seed. The brightest blob's constants were "
        "chosen on training masks, so that row knows more than W0 allows.",
        "seeds": [stages["train"]["seed"]],
        "folds": 1,
        "device": stages["train"]["device"],
        "threads": stages["train"]["threads"],
        "versions": stages["train"]["versions"],
        "minutes": {name: round(record["seconds"] / 60, 1) for name, record in stages.items()}
        | {"supervised train": round(Manifest(ceiling).stage("train")["seconds"] / 60, 1)},
        "definitions": rows[METHOD]["definitions"],
        "rows": kept,
    }


def save(table: Mapping[str, Any], path: Path) -> None:
    """Write the table's JSON."""
    write_json(path, table)
