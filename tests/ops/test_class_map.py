import pytest
import torch
from monai.transforms import ScaleIntensity
from monai.visualize import CAM
from torch import nn

from monai_wsss.ops import class_maps, gate_class_maps, normalize_class_maps, threshold_labels

SHAPES = [(2, 3, 5, 7), (2, 3, 4, 5, 6)]


class TinyClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.fc = nn.Linear(4, 3, bias=False)

    def forward(self, x):
        return self.fc(self.conv(x).mean(dim=(2, 3)))


def test_class_maps_by_hand():
    # A_1 = [1 2 3], A_2 = [0 1 -1]; w_1 = (2, 1): 2 A_1 + A_2 = [2 5 5]; w_2 = (-1, 3): -A_1 + 3 A_2 = [-1 1 -6]
    features = torch.tensor([[[[1.0, 2.0, 3.0]], [[0.0, 1.0, -1.0]]]])
    weight = torch.tensor([[2.0, 1.0], [-1.0, 3.0]])
    assert class_maps(features, weight).tolist() == [[[[2.0, 5.0, 5.0]], [[-1.0, 1.0, -6.0]]]]


def test_class_maps_equal_monai_cam():
    network, image = TinyClassifier(), torch.rand(2, 1, 6, 5)
    cam = CAM(network, "conv", "fc", upsampler=lambda shape: nn.Identity(), postprocessing=nn.Identity())
    expected = torch.cat([cam(image, class_idx=[k, k]) for k in range(3)], dim=1)
    torch.testing.assert_close(class_maps(network.conv(image), network.fc.weight), expected)


@pytest.mark.parametrize("spatial", [(4, 5), (3, 4, 5)])
def test_mean_of_class_maps_is_the_score(spatial):
    features, weight = torch.randn(2, 6, *spatial), torch.randn(3, 6)
    score = features.flatten(2).mean(dim=2) @ weight.T
    torch.testing.assert_close(class_maps(features, weight).flatten(2).mean(dim=2), score)


def test_class_maps_sum_in_float32():
    # 4096 x 0.001 in bfloat16 steps would stop growing long before 4.1
    features, weight = torch.full((1, 4096, 2, 2), 1e-3).bfloat16(), torch.ones(1, 4096).bfloat16()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        maps = class_maps(features, weight)
    assert maps.dtype == torch.float32
    torch.testing.assert_close(maps, torch.full((1, 1, 2, 2), 4096 * features[0, 0, 0, 0].item()), rtol=1e-5, atol=0)
    assert class_maps(features.double(), weight).dtype == torch.float64


def test_class_maps_refuses_shapes_that_do_not_fit():
    with pytest.raises(ValueError, match=r"got \(1, 4, 2, 2\) and \(3, 5\)"):
        class_maps(torch.zeros(1, 4, 2, 2), torch.zeros(3, 5))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.0, 1.0, 2.0, 4.0], [0.0, 0.25, 0.5, 1.0]),  # (x - 0) / 4
        ([-2.0, -1.0, 0.0, 2.0], [0.0, 0.25, 0.5, 1.0]),  # (x + 2) / 4
        ([3.0, 3.0, 3.0, 3.0], [0.0, 0.0, 0.0, 0.0]),  # flat
        ([0.0, 0.0, 0.0, 9e-6], [0.0, 0.0, 0.0, 0.0]),  # range below 1e-5
        ([0.0, 0.0, 6e-5, 1.2e-4], [0.0, 0.0, 0.5, 1.0]),  # range above
    ],
)
def test_normalize_by_hand(values, expected):
    torch.testing.assert_close(normalize_class_maps(torch.tensor([[[values]]])), torch.tensor([[[expected]]]))


@pytest.mark.parametrize("shape", SHAPES)
def test_normalize_equals_monai_scale_intensity(shape):
    maps = torch.randn(shape)
    scale = ScaleIntensity(0.0, 1.0, channel_wise=True)
    torch.testing.assert_close(normalize_class_maps(maps), torch.stack([scale(m) for m in maps]))


@pytest.mark.parametrize("shape", SHAPES)
def test_normalize_single_flip_and_affine(shape):
    maps = torch.randn(shape)
    whole = normalize_class_maps(maps)
    assert torch.equal(whole[1:], normalize_class_maps(maps[1:]))
    assert torch.equal(whole.flip(-1), normalize_class_maps(maps.flip(-1)))
    torch.testing.assert_close(normalize_class_maps(3 * maps - 7), whole, rtol=1e-4, atol=1e-5)


def test_normalize_half_precision():
    # the range 130 000 is infinite in float16
    maps = torch.tensor([[[-65000.0, 0.0, 65000.0]]]).half()
    assert normalize_class_maps(maps).tolist() == [[[0.0, 0.5, 1.0]]]


def test_normalize_takes_an_empty_batch():
    assert normalize_class_maps(torch.zeros(0, 2, 4, 4)).shape == (0, 2, 4, 4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_normalize_refuses_values_that_are_not_finite(bad):
    maps = torch.zeros(1, 1, 2, 2)
    maps[..., 0] = bad
    with pytest.raises(ValueError, match="finite"):
        normalize_class_maps(maps)


def test_normalize_refuses_a_range_of_zero():
    with pytest.raises(ValueError, match="min_range"):
        normalize_class_maps(torch.zeros(1, 1, 2, 2), min_range=0)


@pytest.mark.parametrize(
    ("present", "expected"),
    [
        (torch.tensor([[1, 0]]), [[[5.0], [0.0]]]),
        (torch.tensor([[-1, 1]]), [[[0.0], [7.0]]]),  # unknown counts as absent
        (torch.tensor([[0.0, -1.0]]), [[[0.0], [0.0]]]),
        (torch.tensor([[True, True]]), [[[5.0], [7.0]]]),
    ],
)
def test_gate_by_hand(present, expected):
    assert gate_class_maps(torch.tensor([[[5.0], [7.0]]]), present).tolist() == expected


def test_gate_silences_values_that_are_not_finite():
    maps = torch.full((1, 1, 2, 2), float("nan"))
    assert torch.equal(gate_class_maps(maps, torch.tensor([[0]])), torch.zeros_like(maps))


@pytest.mark.parametrize(
    ("present", "match"), [(torch.tensor([[0.7, 1.0]]), "threshold"), (torch.tensor([[1, 1, 1]]), "fit the maps")]
)
def test_gate_refuses(present, match):
    with pytest.raises(ValueError, match=match):
        gate_class_maps(torch.zeros(1, 2, 3, 3), present)


@pytest.mark.parametrize(
    ("maps", "threshold", "expected"),
    [
        ([[0.1, 0.35, 0.34999, 1.0]], 0.35, [0, 1, 0, 1]),  # the threshold itself counts
        # columns: none reaches 0.5; second is larger; first is larger; a tie goes to the first
        ([[0.2, 0.6, 0.9, 0.7], [0.4, 0.8, 0.6, 0.7]], 0.5, [0, 2, 1, 1]),
        # own thresholds: 0.6 < 0.7, so the second wins with 0.4 >= 0.3; 0.9 wins; none; 0.7 reaches
        ([[0.6, 0.9, 0.5, 0.7], [0.4, 0.8, 0.2, 0.1]], [0.7, 0.3], [2, 1, 0, 1]),
        ([[0.0, 0.0, 0.0, 0.0]], 0.35, [0, 0, 0, 0]),  # a gated negative
    ],
)
def test_threshold_by_hand(maps, threshold, expected):
    labels = threshold_labels(torch.tensor([maps]), threshold)
    assert labels.dtype == torch.uint8
    assert labels.tolist() == [[expected]]


@pytest.mark.parametrize("shape", SHAPES)
def test_threshold_flip_single_and_half(shape):
    maps = torch.rand(shape)
    labels = threshold_labels(maps, 0.6)
    assert labels.shape == (shape[0], 1, *shape[2:])
    assert torch.equal(threshold_labels(maps.flip(-2), 0.6), labels.flip(-2))
    assert torch.equal(threshold_labels(maps[:1], 0.6), labels[:1])
    assert torch.equal(threshold_labels(maps.half(), 0.6), threshold_labels(maps.half().float(), 0.6))


def test_threshold_permutes_with_its_classes():
    maps, order = torch.rand(2, 3, 8, 8), torch.tensor([2, 0, 1])
    labels = threshold_labels(maps, [0.2, 0.5, 0.8])
    permuted = threshold_labels(maps[:, order], [0.8, 0.2, 0.5])
    assert torch.equal(torch.cat([torch.zeros(1).long(), order + 1])[permuted.long()].to(torch.uint8), labels)


@pytest.mark.parametrize(("classes", "threshold"), [(2, [0.1, 0.2, 0.3]), (2, []), (255, 0.5), (0, 0.5)])
def test_threshold_refuses(classes, threshold):
    with pytest.raises(ValueError, match="must"):
        threshold_labels(torch.zeros(1, classes, 2, 2), threshold)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([-2.0, 0.0, 1.0, 4.0], [0.0, 0.0, 0.25, 1.0]),
        ([2.0, 3.0, 4.0, 4.0], [0.5, 0.75, 1.0, 1.0]),  # not stretched from its minimum
        ([-3.0, -2.0, -1.0, -5.0], [0.0, 0.0, 0.0, 0.0]),  # nothing speaks for the class
        ([0.0, 1e-6, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]),  # noise
        ([7.0, 7.0, 7.0, 7.0], [1.0, 1.0, 1.0, 1.0]),
    ],
)
def test_from_zero_is_a_share_of_the_maximum(values, expected):
    maps = torch.tensor(values).reshape(1, 1, 2, 2)
    torch.testing.assert_close(normalize_class_maps(maps, from_zero=True), torch.tensor(expected).reshape(1, 1, 2, 2))
