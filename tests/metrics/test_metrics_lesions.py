import math

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_wsss.metrics import lesion_counts, lesion_f1


def mask(text):
    return torch.tensor([[character == "#" for character in row] for row in text.split()])


# name: prediction, truth, (TP, FP, FN)
CASES = {
    "both empty": (".... ....", ".... ....", (0, 0, 0)),
    "missed": (".... ....", "##.. ....", (0, 0, 1)),
    "claimed in vain": ("##.. ...#", ".... ....", (0, 2, 0)),
    "one voxel of overlap finds it": (".### ....", "##.. ##..", (1, 0, 0)),
    "next to it is not on it": ("..## ....", "##.. ....", (0, 1, 1)),
    "one prediction over two lesions": ("#### ....", "#..# ....", (2, 0, 0)),
    "two predictions in one lesion": ("#..# ....", "#### ....", (1, 0, 0)),
    "corners connect": ("#... ....", "#... .#..", (1, 0, 0)),
    "one of each": ("#... ...# ....", "##.. .... #...", (1, 1, 1)),
}


@pytest.mark.parametrize(("pred", "truth", "expected"), CASES.values(), ids=CASES.keys())
def test_literal(pred, truth, expected):
    pred, truth = mask(pred), mask(truth)
    if pred.shape != truth.shape:
        pred = torch.cat([pred, torch.zeros(len(truth) - len(pred), 4, dtype=torch.bool)])
    assert lesion_counts(pred[None], truth[None]).tolist() == [list(expected)]
    # as the one slice of a volume, and with a spacer slice that must not connect anything
    volume = [torch.stack([torch.zeros_like(m), m])[None] for m in (pred, truth)]
    assert lesion_counts(*volume).tolist() == [list(expected)]


def test_a_volume_connects_its_slices():
    truth = torch.zeros(1, 3, 4, 4, dtype=torch.bool)
    truth[0, 0, 0, 0] = truth[0, 1, 1, 1] = truth[0, 2, 2, 2] = True  # touch by corners: one lesion of three slices
    pred = torch.zeros_like(truth)
    pred[0, 2, 2, 2] = True
    assert lesion_counts(pred, truth).tolist() == [[1, 0, 0]]
    assert lesion_counts(pred[0], truth[0]).tolist() == [[0, 0, 1], [0, 0, 1], [1, 0, 0]]  # as three slices


@pytest.mark.parametrize("shape", [(5, 24, 20), (3, 12, 11, 10)])
def test_parity_with_a_loop_over_components(shape):
    generator = torch.Generator().manual_seed(0)
    pred, truth = (torch.rand(shape, generator=generator) > 0.9 for _ in range(2))
    ours = lesion_counts(pred, truth)
    for index in range(shape[0]):
        p, t = pred[index].numpy(), truth[index].numpy()
        structure = np.ones((3,) * p.ndim)
        lesions, n = ndimage.label(t, structure)
        claims, m = ndimage.label(p, structure)
        found = sum(bool((p & (lesions == k)).any()) for k in range(1, n + 1))
        vain = sum(not (t & (claims == k)).any() for k in range(1, m + 1))
        assert ours[index].tolist() == [found, vain, n - found]


def test_flips_and_permutation():
    generator = torch.Generator().manual_seed(1)
    pred, truth = (torch.rand(4, 16, 16, generator=generator) > 0.85 for _ in range(2))
    counts = lesion_counts(pred, truth)
    assert torch.equal(counts, lesion_counts(pred.flip(-1), truth.flip(-1)))
    assert torch.equal(counts.flip(0), lesion_counts(pred.flip(0), truth.flip(0)))


def test_f1():
    # 2*3 / (2*3 + 1 + 2) = 6/9
    assert lesion_f1(torch.tensor([[3, 1, 2], [0, 0, 5]])).tolist() == pytest.approx([2 / 3, 0.0])
    assert math.isnan(lesion_f1(torch.tensor([0, 0, 0])))


def test_no_case_and_bad_shape():
    assert lesion_counts(torch.zeros(0, 4, 4), torch.zeros(0, 4, 4)).shape == (0, 3)
    with pytest.raises(ValueError, match="one shape"):
        lesion_counts(torch.zeros(1, 4, 4), torch.zeros(1, 4, 5))


# name: prediction, truth with void as ?, (TP, FP, FN)
VOID_CASES = {
    "on void alone": ("..#. ....", "##?. ....", (0, 0, 1)),
    "on void and beyond": ("..## ....", "##?. ....", (0, 1, 1)),
    "on lesion, void and beyond: one component, found": ("#### ....", "##?. ....", (1, 0, 0)),
    "beside void": ("#... ....", "..?? ....", (0, 1, 0)),
    "all void": ("#.#. ....", "???? ????", (0, 0, 0)),
}


@pytest.mark.parametrize(("pred", "truth", "expected"), VOID_CASES.values(), ids=VOID_CASES.keys())
def test_void_is_neither_lesion_nor_false_positive(pred, truth, expected):
    void = mask(truth.replace("#", ".").replace("?", "#"))
    pred, lesion = mask(pred), mask(truth)
    for true in (lesion, lesion | void):  # what the truth says on void does not count
        assert lesion_counts(pred[None], true[None], void[None]).tolist() == [list(expected)]
    nothing = torch.zeros_like(void)
    assert torch.equal(lesion_counts(pred[None], lesion[None], nothing[None]), lesion_counts(pred[None], lesion[None]))
