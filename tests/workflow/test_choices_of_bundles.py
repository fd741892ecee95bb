"""Each bundle with other choices than its own: all stages, from the same class maps."""

import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from tiny_bundles import CHOICE_SETTINGS, FILM_SETTINGS, GROWING_SETTINGS, SETTINGS

from monai_wsss.data import PreparedDataset

# Its own choices each bundle has in the whole runs of other files.
CHOICES = [
    ("mixed", "none", "static"),
    ("mixed", "crf", "dsrg"),
    ("film", "none", "static"),
    ("film", "crf", "static"),
    ("film", "bes", "static"),
    ("film", "none", "dsrg"),
    ("film", "crf", "dsrg"),
    ("dsrg", "crf", "dsrg"),
    ("bes", "none", "static"),
    ("bes", "crf", "static"),
    ("bes", "irnet", "static"),
    ("bes", "bes", "dsrg"),
]
MAKE = {  # stages, and the files they leave for a training case
    "none": (["refine"], ["pseudo_masks/refined"]),
    "crf": (["refine"], ["pseudo_masks/refined", "pseudo_masks/crf"]),
    "irnet": (["confident", "irnet", "walk"], ["confident_masks", "pseudo_masks/walk", "pseudo_masks/boundary"]),
    "bes": (["confident", "bes", "walk"], ["confident_masks", "pseudo_masks/walk", "pseudo_masks/boundary"]),
}
GROWN = {"static": ([], []), "dsrg": (["dsrg", "relabel"], ["relabelled", "dsrg/supervision/0003"])}


@pytest.fixture
def run_with(request, run_bundle, tmp_path):
    """Runs a bundle on from the classifier and the class maps of its whole run; returns data, run folder, records."""

    def run(bundle, choice):
        fixture, settings = {
            "mixed": ("whole", SETTINGS),
            "film": ("whole_films", FILM_SETTINGS),
            "dsrg": ("whole_dsrg", GROWING_SETTINGS),
            "bes": ("whole_bes", GROWING_SETTINGS),
        }[bundle]
        whole = request.getfixturevalue(fixture)
        for name in ("classifier", "seeds"):
            shutil.copytree(whole.run / name, tmp_path / "run" / name)
        shutil.copy(whole.run / "run.json", tmp_path / "run")
        settings = settings | CHOICE_SETTINGS | {"train_epochs": 1} | choice
        return whole, tmp_path / "run", run_bundle(whole.bundle, whole.data, tmp_path / "run", settings)

    return run


@pytest.mark.parametrize(("bundle", "refine", "supervision"), CHOICES)
def test_a_bundle_with_a_choice(bundle, refine, supervision, run_with, files_of):
    whole, run, records = run_with(bundle, {"refine": refine, "supervision": supervision})
    made, left = ([*ours, *grown] for ours, grown in zip(MAKE[refine], GROWN[supervision], strict=True))
    assert list(records) == ["classify", "seed", *made, "train", "infer", "evaluate"]
    assert {record["status"] for record in records.values()} == {"done"}
    assert records["seed"] == whole.records["seed"]  # not made again
    assert {path.name for path in run.iterdir() if path.is_dir()} == {
        *("bundle", "classifier", "seeds", "segmenter", "predictions", "evaluation"),
        *(name.split("/")[0] for name in left),
        *({refine} & {"irnet", "bes"}),
    }
    data = PreparedDataset.read(whole.data)
    for name in left:
        there = {path.stem for path in (run / name).glob("*.npy")}
        cases = {case.case for case in data.training if name.split("/")[0] != "dsrg" or any(case.classes)}
        assert cases and there >= cases, name
    for case in data.test:
        source, mask = nib.load(case.image), nib.load(run / "predictions" / f"{case.case}.nii.gz")
        assert mask.shape == source.shape and np.array_equal(mask.affine, source.affine)
        assert mask.get_data_dtype() == np.uint8 and set(np.unique(np.asarray(mask.dataobj))) <= {0, 1}
    summary = records["evaluate"]["summary"]
    assert ("boundary_max_f" in summary) == (refine in ("irnet", "bes"))
    assert ("label_quality_iou_last" in summary) == (supervision == "dsrg")
    for name, record in records.items():
        assert all(value is None or np.isfinite(value) for value in record["summary"].values()), name


def test_what_dsrg_relabelled_is_what_is_learnt_from(run_with):
    """One epoch of rate 0: the final segmenter's weights are the first one's, its masks those of the first one."""
    choice = {"refine": "crf", "supervision": "dsrg", "train_learning_rate": 1e-30, "train_batch_size": 4}
    _, run, records = run_with("mixed", choice)
    first, final = (torch.load(run / name / "model.pt", weights_only=True) for name in ("dsrg", "segmenter"))
    learnt = [name for name in first if first[name].is_floating_point() and "running" not in name]
    assert learnt and all(torch.allclose(first[name], final[name], atol=1e-12) for name in learnt)
    assert set(records["train"]["inputs"]) == {"dataset", "relabelled", "dsrg"}
    assert records["train"]["inputs"]["relabelled"] == records["relabel"]["output"]
