import pytest
import torch
from monai.metrics import DiceMetric, MeanIoU

from monai_wsss.metrics import count_case, summarise
from monai_wsss.metrics.paper_scores import paper_scores


def matrix(tp, fp, fn, tn):
    return [[tn, fp], [fn, tp]]


def scores(*images):
    return {name: value[1].item() for name, value in paper_scores(torch.tensor(images))._asdict().items()}


def test_literal():
    # IoU 2/4, 0, 1 (rightly empty), 0 (claimed in vain); Dice 4/6, 0, 1, 0
    found = scores(matrix(2, 1, 1, 6), matrix(0, 0, 3, 7), matrix(0, 0, 0, 10), matrix(0, 5, 0, 5))
    assert found == {
        "miou_positives": pytest.approx(1 / 4),
        "miou_all": pytest.approx(3 / 8),
        "dice_empty_is_one": pytest.approx(5 / 12),
        "all_empty": pytest.approx(1 / 2),
    }


def test_an_empty_prediction_beats_the_papers_figure_on_its_test_split():
    """145 positive and 541 negative films, Table 3: 0.7677 is the paper's mIoU over all films of the test set."""
    found = scores(*[matrix(0, 0, 9, 91)] * 145, *[matrix(0, 0, 0, 100)] * 541)
    assert found["miou_all"] == found["dice_empty_is_one"] == found["all_empty"] == pytest.approx(541 / 686)
    assert round(found["all_empty"], 4) == 0.7886 > 0.7677
    assert found["miou_positives"] == 0


@pytest.mark.parametrize(("truth", "positives", "share"), [(0, None, 1.0), (4, 0.0, 0.0)])
def test_one_kind_of_image_alone(truth, positives, share):
    found = scores(*[matrix(0, 0, truth, 10 - truth)] * 3)
    assert found["all_empty"] == found["miou_all"] == share
    assert positives is None or found["miou_positives"] == positives
    assert (found["miou_positives"] != found["miou_positives"]) == (positives is None)  # NaN


def test_all_empty_is_what_an_empty_prediction_scores_and_does_not_see_the_prediction():
    truth, pred = torch.rand(9, 8, 8) > 0.95, torch.rand(9, 8, 8) > 0.5
    truth[:4] = False
    empty, any_ = (
        summarise([count_case("a", p.byte(), truth.byte(), 1)], ["x"])["papers"] for p in (0 * pred.byte(), pred.byte())
    )
    assert empty["miou_all"] == empty["dice_empty_is_one"] == empty["all_empty"] == any_["all_empty"] >= 4 / 9
    assert any_["miou_all"] != empty["miou_all"]


def test_parity_with_monai_on_positives_and_on_all():
    generator = torch.Generator().manual_seed(0)
    truth, pred = (torch.randint(3, (6, 7, 5), generator=generator) for _ in range(2))
    truth[:2], pred[1] = 0, 0
    one_hot = [torch.nn.functional.one_hot(m, 3).movedim(-1, 1).float() for m in (pred, truth)]
    found = paper_scores(torch.cat([count_case("a", pred, truth, 2).matrices]))
    ignoring = MeanIoU(ignore_empty=True, get_not_nans=False)(*one_hot)  # NaN where the truth is empty
    assert torch.allclose(found.miou_positives, ignoring.nanmean(0).double())
    assert torch.allclose(found.dice_empty_is_one, DiceMetric(ignore_empty=False)(*one_hot).mean(0).double())


def test_classes_are_apart():
    truth, pred = torch.tensor([[[1, 2, 2, 0]], [[0, 0, 0, 0]]]), torch.tensor([[[1, 1, 2, 0]], [[0, 2, 0, 0]]])
    found = paper_scores(count_case("a", pred, truth, 2).matrices)
    # class 1: 1/2 and rightly empty; class 2: 1/2 and claimed in vain
    assert found.miou_all[1:].tolist() == [0.75, 0.25] and found.miou_positives[1:].tolist() == [0.5, 0.5]


@pytest.mark.parametrize("shape", [(2, 2), (3, 2, 3), (1, 3, 2, 2)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="N, C, C"):
        paper_scores(torch.zeros(shape, dtype=torch.int64))
