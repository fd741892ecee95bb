import math

import pytest
import torch
from monai.metrics import ConfusionMatrixMetric, DiceMetric
from sklearn.metrics import confusion_matrix, jaccard_score

from monai_wsss.metrics import confusion, dice, iou, mean_iou, pixel_accuracy, segmentation, true_false_counts

# truth 0 0 1 1 / 0 2 2 1, pred 0 1 1 1 / 0 2 0 2:
#   truth 0 (3 voxels): 2 called 0, 1 called 1
#   truth 1 (3 voxels): 2 called 1, 1 called 2
#   truth 2 (2 voxels): 1 called 2, 1 called 0
TRUTH = torch.tensor([[[0, 0, 1, 1], [0, 2, 2, 1]]])
PRED = torch.tensor([[[0, 1, 1, 1], [0, 2, 0, 2]]])
MATRIX = torch.tensor([[2, 1, 0], [0, 2, 1], [1, 0, 1]])


def maps(*shape, classes=3, seed=0):
    return torch.randint(classes, shape, generator=torch.Generator().manual_seed(seed))


def test_confusion_literal():
    assert torch.equal(confusion(PRED, TRUTH, 3), MATRIX[None])


def test_true_false_counts_literal():
    tp, fp, fn = true_false_counts(MATRIX)
    assert tp.tolist() == [2, 2, 1]
    assert fp.tolist() == [1, 1, 1]  # columns: 2+0+1, 1+2+0, 0+1+1 less the diagonal
    assert fn.tolist() == [1, 1, 1]


def test_scores_literal():
    # Dice: 2*2/(4+1+1) = 2/3 twice, 2*1/(2+1+1) = 1/2; IoU: 2/4 twice, 1/3; their mean 4/9; 5 of 8 right
    assert dice(MATRIX).tolist() == pytest.approx([2 / 3, 2 / 3, 1 / 2])
    assert iou(MATRIX).tolist() == pytest.approx([1 / 2, 1 / 2, 1 / 3])
    assert float(mean_iou(MATRIX)) == pytest.approx(4 / 9)
    assert float(pixel_accuracy(MATRIX)) == pytest.approx(5 / 8)


@pytest.mark.parametrize(
    ("matrix", "dice_of_lesion", "iou_of_lesion", "miou"),
    [
        ([[9, 0], [0, 0]], 1.0, 1.0, 1.0),  # nothing there, nothing claimed: the lesion is left out of the mIoU
        ([[8, 0], [1, 0]], 0.0, 0.0, 4 / 9),  # missed: background 8/9, lesion 0
        ([[8, 1], [0, 0]], 0.0, 0.0, 4 / 9),  # claimed in vain
        ([[0, 0], [0, 5]], 1.0, 1.0, 1.0),  # no background at all
    ],
)
def test_empties(matrix, dice_of_lesion, iou_of_lesion, miou):
    matrix = torch.tensor(matrix)
    assert float(dice(matrix)[1]) == dice_of_lesion
    assert float(iou(matrix)[1]) == iou_of_lesion
    assert float(mean_iou(matrix)) == pytest.approx(miou)


def test_empty_value_is_a_choice():
    matrix = torch.tensor([[9, 0], [0, 0]])
    assert math.isnan(dice(matrix, empty=math.nan)[1])
    assert float(iou(matrix, empty=0.0)[1]) == 0.0


def test_no_voxel_is_nan_not_a_crash():
    matrix = confusion(torch.zeros(1, 0, 4, dtype=torch.uint8), torch.zeros(1, 0, 4, dtype=torch.uint8), 2)[0]
    assert matrix.sum() == 0
    assert math.isnan(mean_iou(matrix)) and math.isnan(pixel_accuracy(matrix))


@pytest.mark.parametrize("shape", [(4, 16, 12), (3, 1, 9, 8, 7)])
def test_parity_with_sklearn(shape):
    pred, truth = maps(*shape), maps(*shape, seed=1)
    matrices = confusion(pred, truth, 3)
    for index in range(shape[0]):
        expected = confusion_matrix(truth[index].flatten(), pred[index].flatten(), labels=[0, 1, 2])
        assert matrices[index].tolist() == expected.tolist()
        score = jaccard_score(truth[index].flatten(), pred[index].flatten(), average=None)
        assert iou(matrices[index]).tolist() == pytest.approx(score.tolist())


@pytest.mark.parametrize("shape", [(4, 1, 16, 12), (2, 1, 9, 8, 7)])
def test_parity_with_monai(shape):
    pred, truth = maps(*shape), maps(*shape, seed=1)
    one_hot = [torch.cat([(label == k) for k in range(3)], 1).float() for label in (pred, truth)]
    matrices = confusion(pred, truth, 3)
    assert torch.allclose(dice(matrices), DiceMetric(reduction="none")(*one_hot).double(), atol=1e-6)
    counts = ConfusionMatrixMetric()(*one_hot)  # (B, C, [tp, fp, tn, fn])
    for ours, theirs in zip(true_false_counts(matrices), (counts[..., 0], counts[..., 1], counts[..., 3]), strict=True):
        assert torch.equal(ours.float(), theirs)


def test_batch_equals_single_and_chunks_change_nothing(monkeypatch):
    pred, truth = maps(7, 6, 5), maps(7, 6, 5, seed=1)
    whole = confusion(pred, truth, 3)
    monkeypatch.setattr(segmentation, "_CHUNK", 60)  # two slices of 30 voxels at a time
    assert torch.equal(whole, confusion(pred, truth, 3))
    assert torch.equal(whole, torch.cat([confusion(pred[i : i + 1], truth[i : i + 1], 3) for i in range(7)]))


def test_flips_permutations_and_dtypes_change_nothing():
    pred, truth = maps(3, 6, 5), maps(3, 6, 5, seed=1)
    whole = confusion(pred, truth, 3)
    assert torch.equal(whole, confusion(pred.flip(-1), truth.flip(-1), 3))
    assert torch.equal(whole.flip(0), confusion(pred.flip(0), truth.flip(0), 3))
    assert torch.equal(whole, confusion(pred.byte(), truth.byte(), 3))
    assert torch.equal(whole.mT, confusion(truth, pred, 3))


def test_large_labels_do_not_overflow_uint8():
    labels = torch.tensor([[19, 0]], dtype=torch.uint8)  # 19 * 20 + 19 > 255
    assert confusion(labels, labels, 20)[0, 19, 19] == 1


def test_bool_masks():
    assert confusion(torch.tensor([[True, False]]), torch.tensor([[True, True]]), 2).tolist() == [[[0, 0], [1, 1]]]


@pytest.mark.parametrize(
    ("pred", "truth", "match"),
    [
        (torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, 5, dtype=torch.long), "one shape"),
        (torch.zeros(1, 4), torch.zeros(1, 4, dtype=torch.long), "integers"),
        (torch.full((1, 4), 255), torch.zeros(1, 4, dtype=torch.long), "pred holds labels 255..255"),
        (torch.zeros(1, 4, dtype=torch.long), torch.full((1, 4), -1), "truth holds labels -1..-1"),
    ],
)
def test_bad_labels(pred, truth, match):
    with pytest.raises(ValueError, match=match):
        confusion(pred, truth, 2)


def test_ignored_voxels_count_neither_for_nor_against():
    # 255 in place of the voxels (0, 3), (1, 1) and (1, 3) of the literal above: 1 called 1, 2 called 2, 1 called 2
    truth = torch.tensor([[[0, 0, 1, 255], [0, 255, 2, 255]]])
    assert confusion(PRED, truth, 3, 255).tolist() == [[[2, 1, 0], [0, 1, 0], [1, 0, 0]]]
    assert torch.equal(confusion(PRED, TRUTH, 3, 255), confusion(PRED, TRUTH, 3))
    assert confusion(PRED, torch.full_like(TRUTH, 255), 3, 255).sum() == 0
    with pytest.raises(ValueError, match=r"truth holds labels 0\.\.254"):
        confusion(PRED, torch.where(truth == 255, 254, truth), 3, 255)


@pytest.mark.parametrize("chunk", [2**24, 60])
def test_ignored_voxels_in_a_batch_equal_the_others_alone(monkeypatch, chunk):
    monkeypatch.setattr(segmentation, "_CHUNK", chunk)
    pred, truth = maps(7, 6, 5).byte(), maps(7, 6, 5, seed=1).byte()
    void = maps(7, 6, 5, classes=4, seed=2) == 0
    matrices = confusion(pred, truth.masked_fill(void, 255), 3, 255)
    for index in range(7):
        kept = ~void[index]
        assert torch.equal(matrices[index], confusion(pred[index][kept][None], truth[index][kept][None], 3)[0])


def test_mean_iou_of_several_classes():
    # truth 0 0 1 1 2 2, pred 0 0 1 0 1 1: background 2/3, class 1 1/4, class 2 without a true positive 0, class 3
    # neither in truth nor in prediction is left out: (2/3 + 1/4 + 0) / 3 = 11/36
    matrix = confusion(torch.tensor([[0, 0, 1, 0, 1, 1]]), torch.tensor([[0, 0, 1, 1, 2, 2]]), 4)
    assert float(mean_iou(matrix)[0]) == pytest.approx(11 / 36)
