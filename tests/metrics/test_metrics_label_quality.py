"""Precision, recall and IoU of label maps that leave pixels unlabelled."""

import pytest
import torch
from sklearn.metrics import jaccard_score, precision_score, recall_score

from monai_wsss.metrics.label_quality import label_quality, labelled_confusion

# truth  0 0 0 1 1 1 1 2 . (. does not count)    labels 0 0 1 1 - - 1 - 1 (- unlabelled)
TRUTH = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 2, 255]], dtype=torch.uint8)
LABELS = torch.tensor([[0, 0, 1, 1, 255, 255, 1, 255, 1]], dtype=torch.uint8)
COUNTS = torch.tensor([[2, 1, 0, 0], [0, 2, 0, 2], [0, 0, 0, 1]])


def grids(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(3, shape, generator=generator, dtype=torch.uint8) for _ in range(2)]


def test_counts_literal():
    assert torch.equal(labelled_confusion(LABELS, TRUTH, 3), COUNTS[None])


def test_scores_literal():
    """P: 2/2, 2 of the 3 labelled so, and 0 as class 2 is never found; R: 2/3, 2/4, 0/1; IoU: 2/3, 2/(2+1+2), 0."""
    scores = label_quality(COUNTS)
    assert scores.precision.tolist() == pytest.approx([1, 2 / 3, 0])
    assert scores.recall.tolist() == pytest.approx([2 / 3, 1 / 2, 0])
    assert scores.iou.tolist() == pytest.approx([2 / 3, 2 / 5, 0])
    assert float(scores.labelled) == pytest.approx(5 / 8)  # the ninth pixel does not count


def test_means_literal():
    foreground, everything = label_quality(COUNTS).means(), label_quality(COUNTS).means(background=True)
    assert {n: float(v) for n, v in foreground.items()} == pytest.approx(
        {"precision": 1 / 3, "recall": 1 / 4, "iou": 1 / 5}
    )
    assert {n: float(v) for n, v in everything.items()} == pytest.approx(
        {"precision": 5 / 9, "recall": 7 / 18, "iou": 16 / 45}
    )


@pytest.mark.parametrize(
    ("labels", "truth", "expected"),
    [
        ([0, 1], [0, 0], ([1, 0], [1 / 2, 0], [1 / 2, 0])),  # given, never true: 0, not left out
        ([0, 0], [0, 1], ([1 / 2, 0], [1, 0], [1 / 2, 0])),  # true, never given
        ([255, 255], [0, 1], ([0, 0], [0, 0], [0, 0])),  # nothing labelled
        ([0, 255], [0, 0], ([1, None], [1 / 2, None], [1 / 2, None])),  # neither: in no mean
        ([1, 1], [255, 255], ([None] * 2, [None] * 2, [None] * 2)),  # nothing counts
    ],
)
def test_empty_classes(labels, truth, expected):
    counts = labelled_confusion(*(torch.tensor([row], dtype=torch.uint8) for row in (labels, truth)), 2).sum(0)
    scores = label_quality(counts)
    for values, wanted in zip((scores.precision, scores.recall, scores.iou), expected, strict=True):
        assert [None if value != value else value for value in values.tolist()] == wanted


def test_means_leave_out_what_is_absent():
    counts = torch.tensor([[1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 0, 0]])
    assert float(label_quality(counts).means()["recall"]) == 0.5
    nothing = label_quality(torch.tensor([[3, 0, 1], [0, 0, 0]]))
    assert all(value.isnan() for value in nothing.means().values())
    assert float(nothing.means(background=True)["iou"]) == 0.75


def test_as_scikit_learn_where_all_is_labelled():
    labels, truth = grids(4, 6, 5)
    scores = label_quality(labelled_confusion(labels, truth, 3).sum(0))
    true, given = truth.flatten(), labels.flatten()
    for values, reference in ((scores.precision, precision_score), (scores.recall, recall_score)):
        assert values.tolist() == pytest.approx(reference(true, given, average=None))
    assert scores.iou.tolist() == pytest.approx(jaccard_score(true, given, average=None))
    assert float(scores.labelled) == 1


def test_unlabelled_is_as_one_more_label_to_scikit_learn():
    labels, truth = grids(3, 4, 5, 6)
    labels[torch.rand(labels.shape, generator=torch.Generator().manual_seed(1)) < 0.4] = 255
    scores = label_quality(labelled_confusion(labels, truth, 3).sum(0))
    settings = {"average": None, "labels": [0, 1, 2], "zero_division": 0}
    true, given = truth.flatten(), labels.flatten()
    assert scores.precision.tolist() == pytest.approx(precision_score(true, given, **settings))
    assert scores.recall.tolist() == pytest.approx(recall_score(true, given, **settings))
    assert scores.iou.tolist() == pytest.approx(jaccard_score(true, given, **settings))
    assert float(scores.labelled) == pytest.approx(float((labels != 255).float().mean()))


def test_a_batch_is_its_elements_and_a_channel_of_one_is_none():
    labels, truth = grids(4, 6, 5)
    labels[:, 0] = 255
    single = torch.cat([labelled_confusion(labels[i : i + 1], truth[i : i + 1], 3) for i in range(4)])
    assert torch.equal(labelled_confusion(labels, truth, 3), single)
    assert torch.equal(labelled_confusion(labels[:, None], truth[:, None], 3), single)
    assert torch.equal(label_quality(single).iou[2], label_quality(single[2]).iou)


@pytest.mark.parametrize("broken", ["shape", "labels", "truth", "float"])
def test_bad_input(broken):
    labels, truth = LABELS.clone(), TRUTH.clone()
    if broken == "labels":
        labels[0, 0] = 3  # else it would pass as the column of the unlabelled
    if broken == "truth":
        truth[0, 0] = 3
    with pytest.raises(ValueError):
        labelled_confusion(labels.float() if broken == "float" else labels[:, broken == "shape" :], truth, 3)


def test_bad_counts():
    with pytest.raises(ValueError, match=r"\(3, 3\)"):
        label_quality(COUNTS[:, :3])
