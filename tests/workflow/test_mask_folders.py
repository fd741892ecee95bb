"""Which masks the segmenter learns from, and from which weights it starts."""

import pytest
import torch

from monai_wsss.engines import save_weights
from monai_wsss.workflow import first_weights, mask_folders


@pytest.mark.parametrize(
    ("refine", "supervision", "thresholded", "expected"),
    [
        ("none", "static", False, ["pseudo_masks/refined"]),
        ("none", "static", True, ["pseudo_masks/refined"]),
        ("crf", "static", False, ["pseudo_masks/crf"]),
        ("crf", "static", True, ["pseudo_masks/refined", "pseudo_masks/crf"]),
        ("irnet", "static", True, ["pseudo_masks/walk"]),
        ("bes", "static", False, ["pseudo_masks/walk"]),
        ("none", "dsrg", False, ["relabelled"]),
        ("crf", "dsrg", True, ["relabelled"]),
    ],
)
def test_folders(refine, supervision, thresholded, expected):
    assert mask_folders(refine, supervision, thresholded) == expected


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        (("ifnet", "static"), "refine must be one of none, crf, irnet, bes, got ifnet"),
        (("crf", "growing"), "supervision must be one of static, dsrg, got growing"),
    ],
)
def test_other_choices_are_refused(choice, message):
    with pytest.raises(ValueError, match=message):
        mask_folders(*choice)


def test_retraining_starts_from_the_first_segmenter_and_nothing_else_does(tmp_path):
    torch.manual_seed(0)
    first, second = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    assert first_weights(second, str(tmp_path), "dsrg") is second  # nothing is trained yet: as it was
    (tmp_path / "dsrg").mkdir()
    save_weights(first, tmp_path / "dsrg" / "model.pt")
    before = second.weight.clone()
    assert torch.equal(first_weights(second, str(tmp_path), "static").weight, before)
    assert torch.equal(first_weights(second, str(tmp_path), "dsrg").weight, first.weight)
