"""What is said of a case beside its mask."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from monai.data import MetaTensor

from monai_wsss.workflow import InferStage
from monai_wsss.workflow.statistics import case_statistics, slice_statistics, voxel_volume

LABELS = ["a", "b"]


@pytest.fixture
def mask():
    """5 x 5 x 3 voxels of 2 x 3 x 5 mm = 0.03 ml: class 1 in two parts that touch by a corner only, and a third."""
    array = np.zeros((5, 5, 3), np.uint8)
    array[0, 0, 0] = array[1, 1, 1] = 1  # one component: corners connect
    array[4, 4, 0] = 1
    array[2, 4, 2] = 2
    affine = np.diag([-2.0, 3.0, 5.0, 1.0])
    meta = {"filename_or_obj": "m.nii.gz", "spacing_known": True}
    return MetaTensor(torch.from_numpy(array)[None], affine=torch.from_numpy(affine), meta=meta)


def test_rows_of_a_case_by_hand(mask):
    probability = torch.tensor([[0.2, 0.1], [0.75, 0.3], [0.5, 0.00004]])  # (D, K); the case's is the maximum
    assert case_statistics("c", mask, probability, LABELS) == [
        ["c", "a", "0.7500", 3, "0.090", 2],  # 3 x 0.03 ml
        ["c", "b", "0.3000", 1, "0.030", 1],
    ]


def test_rows_of_slices_by_hand(mask):
    probability = torch.tensor([[0.2, 0.1], [0.75, 0.3], [0.5, float("nan")]])
    assert slice_statistics("c", mask, probability, LABELS) == [
        ["c", 0, "a", "0.2000", 2],
        ["c", 0, "b", "0.1000", 0],
        ["c", 1, "a", "0.7500", 1],
        ["c", 1, "b", "0.3000", 0],
        ["c", 2, "a", "0.5000", 0],
        ["c", 2, "b", "", 1],
    ]


def test_an_empty_mask_and_no_classifier(mask):
    empty = mask * 0
    assert case_statistics("c", empty, None, ["a"]) == [["c", "a", "", 0, "0.000", 0]]
    assert slice_statistics("c", empty, None, ["a"]) == [["c", i, "a", "", 0] for i in range(3)]


def test_volume_of_an_oblique_voxel(mask):
    # a rotation by 30 degrees in the first two axes keeps the volume
    turn = np.array([[np.cos(0.5236), -np.sin(0.5236), 0], [np.sin(0.5236), np.cos(0.5236), 0], [0, 0, 1]])
    mask.affine[:3, :3] = torch.from_numpy(turn @ np.diag([-2.0, 3.0, 5.0]))
    assert voxel_volume(mask) == pytest.approx(0.03)


def test_unknown_spacing_leaves_ml_empty(mask):
    mask.meta["spacing_known"] = False
    assert voxel_volume(mask) is None
    assert case_statistics("c", mask, None, ["a"])[0][4] == ""
    assert voxel_volume(torch.zeros(1)) is None


def test_masks_that_lie_on_a_gpu_are_fetched(mask, tmp_path):
    class OnGpu:  # NumPy cannot read it where it lies
        def cpu(self):
            return mask

    stage = InferStage(Engine(lambda *_: None), ["a"], [], dataset_dir="", output_dir=str(tmp_path), device="cpu")
    state = SimpleNamespace(output=[{"pred": OnGpu()}], batch=[{"case": "c"}], iteration=1)
    stage._collect(SimpleNamespace(state=state, inferer=SimpleNamespace(probabilities=None)))
    assert stage._statistics == [["c", "a", "", 3, "0.090", 2]]


def test_a_single_slice(mask):
    assert slice_statistics("c", mask[..., 0], torch.tensor([[0.5]]), ["a"]) == [["c", 0, "a", "0.5000", 2]]
    assert case_statistics("c", mask[..., 0], torch.tensor([[0.5]]), ["a"]) == [["c", "a", "0.5000", 2, "0.060", 2]]
