import pytest
import torch
from monai.data import MetaTensor, decollate_batch, list_data_collate
from monai.inferers import SliceInferer
from torch import Tensor, nn

from monai_wsss.inferers import GatedSliceInferer
from monai_wsss.networks import MixedUNet, ResNetClassifier


class MeanClassifier(nn.Module):
    """Logit of class k = k-th factor times the slice's mean."""

    def __init__(self, factors: list[float]) -> None:
        super().__init__()
        self.factors = nn.Parameter(torch.tensor(factors))
        self.batches: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        assert not self.training
        self.batches.append(len(x))
        return x.mean(dim=(1, 2, 3))[:, None] * self.factors


def constant(*logits: float):
    """A network whose channels are constants."""
    return lambda x: torch.tensor(logits).view(1, -1, 1, 1).expand(len(x), -1, *x.shape[2:]).clone()


def volume(*means: float) -> Tensor:
    """``(1, 1, 4, 6, D)`` with slices of the given values."""
    return torch.tensor(means).expand(1, 1, 4, 6, len(means)).clone()


def test_classify_by_hand() -> None:
    # sigmoid(ln 3) = 3 / 4, sigmoid(0) = 1 / 2, sigmoid(-ln 3) = 1 / 4; the second class sees the negative
    ln3 = 1.0986123
    probabilities = GatedSliceInferer(MeanClassifier([1.0, -1.0])).classify(volume(ln3, 0.0, -ln3))
    torch.testing.assert_close(probabilities, torch.tensor([[[0.75, 0.25], [0.5, 0.5], [0.25, 0.75]]]))


@pytest.mark.parametrize(
    ("threshold", "expected"),
    # Slices have probability .88, .5 and .12 (sigmoid of 2, 0, -2); a probability at the threshold is present.
    [(0.5, [1, 1, 0]), (0.51, [1, 0, 0]), (0.9, [0, 0, 0]), (0.0, [1, 1, 1]), ([0.1], [1, 1, 1])],
)
def test_softmax_head_is_background_in_absent_slices(threshold: float, expected: list[int]) -> None:
    infer = GatedSliceInferer(MeanClassifier([1.0]), threshold=threshold)
    logits = infer(volume(2.0, 0.0, -2.0), constant(-3.0, 4.0))
    assert logits.shape == (1, 2, 4, 6, 3)
    assert logits.argmax(dim=1)[0, 0, 0].tolist() == expected
    assert logits[0, 0].unique().tolist() == [-3.0]
    # absent: -3 - 10000
    assert logits[0, 1, 3, 5].tolist() == [4.0 if present else -10003.0 for present in expected]


def test_sigmoid_head_is_background_in_absent_slices() -> None:
    infer = GatedSliceInferer(MeanClassifier([1.0]))
    logits = infer(volume(2.0, -2.0), constant(4.0))
    assert logits[0, 0, 0, 0].tolist() == [4.0, -10000.0]
    assert (logits.sigmoid() > 0.5)[0, 0, 0, 0].tolist() == [True, False]


def test_classes_are_gated_one_by_one() -> None:
    # Two classes: slice 0 holds the first only, slice 1 the second only. The second class has the higher logit.
    net = MeanClassifier([1.0, -1.0])
    softmax = GatedSliceInferer(net)(volume(2.0, -2.0), constant(0.0, 3.0, 5.0))
    assert softmax.argmax(dim=1)[0, 0, 0].tolist() == [1, 2]
    sigmoid = GatedSliceInferer(net)(volume(2.0, -2.0), constant(3.0, 5.0))
    assert (sigmoid > 0)[0, :, 0, 0].tolist() == [[True, False], [False, True]]


def test_a_threshold_for_each_class() -> None:
    # Probabilities .88 and .12: thresholds .9 and .1 turn the gates round.
    infer = GatedSliceInferer(MeanClassifier([1.0, -1.0]), threshold=(0.9, 0.1))
    assert infer(volume(2.0), constant(0.0, 3.0, 5.0))[0, :, 0, 0, 0].tolist() == [0.0, -10000.0, 5.0]
    with pytest.raises(ValueError, match="one for each of 1 classes"):
        GatedSliceInferer(MeanClassifier([1.0]), threshold=(0.9, 0.1))(volume(2.0), constant(0.0, 3.0))


@pytest.mark.parametrize("slices", [1, 2, 5])
@pytest.mark.parametrize("sw_batch_size", [1, 3])
def test_without_a_classifier_it_is_monais_slice_inferer(slices: int, sw_batch_size: int) -> None:
    torch.manual_seed(0)
    net = MixedUNet(out_channels=2, channels=(4, 6, 8)).eval()
    images = torch.randn(2, 1, 9, 12, slices)
    with torch.no_grad():
        infer = GatedSliceInferer(sw_batch_size=sw_batch_size)
        expected = SliceInferer(spatial_dim=2, roi_size=(-1, -1), sw_batch_size=sw_batch_size)(images, net)
        assert torch.equal(infer(images, net), expected)
        by_slice = torch.stack([net(images[..., i]) for i in range(slices)], dim=-1)
        torch.testing.assert_close(infer(images, net), by_slice)
    assert infer.probabilities is None
    with pytest.raises(ValueError, match="classify needs a classifier"):
        infer.classify(images)


@pytest.mark.parametrize("slices", [1, 3])
def test_real_networks_under_inference_mode(slices: int) -> None:
    torch.manual_seed(0)
    net = MixedUNet(channels=(4, 6, 8)).eval()
    classifier = ResNetClassifier(depth=18)
    images = torch.randn(2, 1, 33, 40, slices)
    infer = GatedSliceInferer(classifier, threshold=0.0)
    with torch.inference_mode():
        assert torch.equal(infer(images, net), GatedSliceInferer()(images, net))
        assert infer.probabilities is not None and infer.probabilities.shape == (2, slices, 1)
        by_slice = torch.stack([classifier(images[..., i]).sigmoid() for i in range(slices)], dim=1)
        torch.testing.assert_close(infer.probabilities, by_slice)
        closed = GatedSliceInferer(classifier, threshold=1.1)(images, net)
    assert closed.argmax(dim=1).sum() == 0


def test_batch_equals_single() -> None:
    torch.manual_seed(0)
    net = MixedUNet(channels=(4, 6, 8)).eval()
    images = torch.randn(3, 1, 8, 8, 4)
    infer = GatedSliceInferer(MeanClassifier([5.0]), sw_batch_size=3)
    with torch.no_grad():
        gated = infer(images, net)
        torch.testing.assert_close(gated, torch.cat([infer(image[None], net) for image in images]))
    # the gate follows the slice through a permutation of the slices
    order = [2, 0, 3, 1]
    with torch.no_grad():
        torch.testing.assert_close(infer(images[..., order], net), gated[..., order])
    assert {float(x) < -1000 for x in gated[:, 1, 0, 0].flatten()} == {True, False}


def test_slices_go_in_batches() -> None:
    net = MeanClassifier([1.0])
    GatedSliceInferer(net, sw_batch_size=2).classify(volume(1.0, 2.0, 3.0, 4.0, 5.0))
    assert net.batches == [2, 2, 1]


def test_classifier_leaves_training_mode_and_keeps_no_graph() -> None:
    net = MeanClassifier([1.0]).train()
    assert not GatedSliceInferer(net).classify(volume(1.0)).requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gate_stays_finite_in_half_precision(dtype: torch.dtype) -> None:
    infer = GatedSliceInferer(MeanClassifier([1.0]))
    logits = torch.tensor([60.0, 70.0], dtype=dtype).view(1, 2, 1, 1, 1)
    gated = infer.gate(logits, torch.tensor([[[0.1]]]))
    assert gated.dtype == dtype
    assert gated.isfinite().all()
    assert gated.float().softmax(dim=1).flatten().tolist() == [1.0, 0.0]


def test_autocast() -> None:
    torch.manual_seed(0)
    net = MixedUNet(channels=(4, 6, 8)).eval()
    infer = GatedSliceInferer(ResNetClassifier(depth=18), threshold=0.0)
    images = torch.randn(1, 1, 32, 32, 2)
    with torch.no_grad():
        expected = infer(images, net)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = infer(images, net)
    assert infer.probabilities is not None and infer.probabilities.dtype == torch.float32
    torch.testing.assert_close(logits.float(), expected, rtol=0.1, atol=0.05)


def test_meta_tensors_keep_their_geometry() -> None:
    affine = torch.diag(torch.tensor([0.5, 0.5, 3.0, 1.0])).double()
    items = [{"image": MetaTensor(volume(2.0, -2.0)[0], affine=affine)} for _ in range(2)]
    images = list_data_collate(items)["image"]
    logits = GatedSliceInferer(MeanClassifier([1.0]))(images, constant(0.0, 4.0))
    assert isinstance(logits, MetaTensor)
    for item in decollate_batch(logits):
        assert item.shape == (2, 4, 6, 2)
        torch.testing.assert_close(item.affine, affine)
        assert item.argmax(dim=0)[0, 0].tolist() == [1, 0]


def test_refuses_networks_that_do_not_fit() -> None:
    infer = GatedSliceInferer(MeanClassifier([1.0]))
    with pytest.raises(ValueError, match="gives 3 channels; 1 classes need 1"):
        infer(volume(1.0), constant(0.0, 1.0, 2.0))
    with pytest.raises(TypeError, match="one tensor of logits, got dict"):
        infer(volume(1.0), lambda x: {"pred": x})
