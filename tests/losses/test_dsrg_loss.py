import math

import pytest
import torch
from monai.data import MetaTensor
from torch.nn import functional as F

from monai_wsss.losses import dsrg
from monai_wsss.losses.balanced_seeding import BalancedSeedingLoss
from monai_wsss.losses.dsrg import DSRGLoss

RULES = pytest.mark.parametrize("rule", ["paper", "reference_code"])
IMAGE = torch.linspace(0, 1, 4).reshape(1, 1, 1, 4)
# Two labels at four pixels: P(class) = .995, .995, .5, .004
LOGITS = torch.logit(torch.tensor([0.995, 0.995, 0.5, 0.004]))
LOGITS = torch.stack([torch.zeros(4), LOGITS])[None, :, None]


def labels_of(*labels: int) -> torch.Tensor:
    return torch.tensor(labels, dtype=torch.uint8)[None, None, None]


def nll(p: float, labels: int = 2) -> float:
    return -math.log((p + 1e-4) / (1 + 1e-4 * labels))


@pytest.fixture
def crf(monkeypatch):
    """A CRF that notes its calls and answers (.9, .1) at each pixel."""

    class Crf:
        def __init__(self):
            self.calls, self.answer = [], torch.tensor([0.9, 0.1])

        def __call__(self, probability, image, **settings):
            self.calls.append((probability, image, settings))
            return self.answer.reshape(1, -1, 1, 1).expand_as(probability).clone()

    crf = Crf()
    monkeypatch.setattr(dsrg, "dense_crf", crf)
    return crf


@pytest.mark.parametrize(
    ("options", "labels", "expected"),
    [
        # the class grows from pixel 0 to 1, background from nowhere (its seed is alone)
        ({}, (1, 255, 255, 0), nll(0.995) + nll(0.996)),
        ({"grow": False}, (255, 255, 1, 0), nll(0.5) + nll(0.996)),
        ({"grow": False, "balanced": False}, (1, 1, 1, 0), (2 * nll(0.995) + nll(0.5) + nll(0.996)) / 4),
        # pixel 2 is a seed of the class, so it grows to 1 and on to 0
        ({}, (255, 255, 1, 0), (2 * nll(0.995) + nll(0.5)) / 3 + nll(0.996)),
        ({"grow_foreground": False}, (255, 255, 1, 0), nll(0.5) + nll(0.996)),
        ({"foreground": 0.9951}, (255, 255, 1, 0), nll(0.5) + nll(0.996)),
        # background seed at 2 grows to 3, unless switched off
        ({}, (1, 1, 0, 255), nll(0.995) + (nll(0.5) + nll(0.996)) / 2),
        ({"grow_background": False}, (1, 1, 0, 255), nll(0.995) + nll(0.5)),
        ({"background": 0.997}, (1, 1, 0, 255), nll(0.995) + nll(0.5)),
        ({}, (0, 0, 0, 0), (2 * nll(0.005) + nll(0.5) + nll(0.996)) / 4),  # lesion-free: no term of the classes
        ({}, (255, 255, 255, 255), 0.0),
    ],
)
def test_seeding_term_by_hand(options, labels, expected):
    loss = DSRGLoss(boundary_weight=0.0, stride=1, **options)
    assert loss(LOGITS, (labels_of(*labels), IMAGE)).item() == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(("weight", "calls"), [(0.0, 0), (1.0, 1), (0.5, 1)])
def test_adds_the_boundary_term(crf, weight, calls):
    logits = torch.zeros(1, 2, 1, 4)
    loss = DSRGLoss(boundary_weight=weight, stride=1)(logits, (labels_of(1, 255, 255, 0), IMAGE))
    q = [(v + 1e-4) / 1.0002 for v in (0.9, 0.1)]  # P = .5 each
    divergence = sum(v * math.log(v / 0.5) for v in q)
    assert loss.item() == pytest.approx(2 * math.log(2) + weight * divergence, abs=1e-5)
    assert len(crf.calls) == calls


@pytest.mark.parametrize(
    ("options", "forward", "supervision"),
    [
        ({}, 1, 0),
        ({"boundary_weight": 0.0}, 0, 0),
        ({"rule": "reference_code"}, 1, 1),
        ({"rule": "reference_code", "boundary_weight": 0.0}, 1, 1),
        ({"rule": "reference_code", "grow": False}, 1, 0),
        ({"rule": "reference_code", "grow": False, "boundary_weight": 0.0}, 0, 0),
    ],
)
def test_runs_the_crf_at_most_once(crf, options, forward, supervision):
    loss, labels = DSRGLoss(stride=1, **options), labels_of(1, 255, 255, 0)
    loss(LOGITS, (labels, IMAGE))
    assert len(crf.calls) == forward
    loss.supervision(LOGITS, labels, IMAGE)
    assert len(crf.calls) == forward + supervision


@pytest.mark.parametrize(("rule", "unary"), [("paper", "log"), ("reference_code", "probability")])
def test_what_the_crf_gets(crf, rule, unary):
    # rows of 2 and 4 in channel 0, 6 and 10 in channel 1: from 2 to 10; the second image is flat
    image = torch.tensor([2.0, 4.0, 6.0, 10.0]).reshape(1, 2, 2, 1).expand(1, 2, 2, 8)
    image = torch.cat([image, torch.full((1, 2, 2, 8), 7.0)])
    loss = DSRGLoss(rule=rule, crf_srgb=5.0, crf_weight_bilateral=4.0, crf_iterations=3)
    loss(torch.zeros(2, 2, 1, 4), (torch.zeros(2, 1, 2, 8, dtype=torch.uint8), image))
    probability, grid, settings = crf.calls[0]
    torch.testing.assert_close(probability, torch.full((2, 2, 1, 4), 0.5))
    # (0 + .25) / 2 and (.5 + 1) / 2
    torch.testing.assert_close(grid[0], torch.tensor([0.125, 0.75]).reshape(2, 1, 1).expand(2, 1, 4))
    assert not grid[1].any()
    assert settings == {
        "sxy_gaussian": 0.25,
        "weight_gaussian": 3.0,
        "sxy_bilateral": pytest.approx(6.6667, abs=1e-4),
        "srgb": 5.0,
        "weight_bilateral": 4.0,
        "iterations": 3,
        "unary": unary,
    }


@RULES
def test_the_crf_gets_floored_probabilities(crf, rule):
    logits = torch.tensor([100.0, 0.0]).reshape(1, 2, 1, 1)
    DSRGLoss(rule=rule)(logits, (labels_of(0), IMAGE[..., :1]))
    assert crf.calls[0][0].flatten().tolist() == pytest.approx([1.0001 / 1.0002, 0.0001 / 1.0002])


def test_an_images_range_is_its_own(crf):
    image = torch.rand(2, 3, 8, 8) * torch.tensor([1.0, 1000.0]).reshape(2, 1, 1, 1)
    DSRGLoss(stride=1)(torch.zeros(2, 2, 8, 8), (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), image))
    assert crf.calls[0][1].flatten(1).amin(dim=1).tolist() == [0, 0]
    assert crf.calls[0][1].flatten(1).amax(dim=1).tolist() == [1, 1]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("paper", [True, False, False, False]),  # grows on H, which is unsure
        ("reference_code", [True, True, True, False]),  # on the CRF's posterior, which is sure; the last is a seed
    ],
)
def test_which_probability_decides_growing(crf, rule, expected):
    crf.answer = torch.tensor([0.005, 0.995])
    loss = DSRGLoss(rule=rule, stride=1)
    seeds = loss.supervision(torch.zeros(1, 2, 1, 4), labels_of(1, 255, 255, 0), IMAGE)
    assert seeds[0, 1, 0].tolist() == expected
    assert seeds[0, 0, 0].tolist() == [False, False, False, True]


def test_the_codes_ratios_are_clipped(crf):
    crf.answer = torch.tensor([0.995, 0.005])
    logits = LOGITS[..., :1]  # P = .005, .995
    options = {"stride": 1, "grow": False}
    target = labels_of(255), IMAGE[..., :1]
    q = 0.9951 / 1.0002
    expected = {"paper": (2 * q - 1) * math.log(q / (1 - q)), "reference_code": (2 * q - 1) * math.log(20)}
    for rule, value in expected.items():
        assert DSRGLoss(rule=rule, **options)(logits, target).item() == pytest.approx(value, rel=1e-4)


class TestGrids:
    def test_logits_of_the_networks_size_are_used_as_they_are(self):
        labels = labels_of(1, 1, 1, 255, 0, 0, 0, 255)  # by nearest-exact pixels 1, 3, 5, 7
        seeds = DSRGLoss(stride=2, grow=False).supervision(LOGITS, labels, torch.zeros(1, 1, 1, 8))
        assert seeds[0, :, 0].int().tolist() == [[0, 0, 1, 0], [1, 0, 0, 0]]

    def test_logits_of_the_images_size_are_averaged_first(self):
        logits, image = torch.randn(2, 3, 12, 12), torch.rand(2, 1, 12, 12)
        labels = torch.randint(0, 3, (2, 1, 12, 12), dtype=torch.uint8)
        loss = DSRGLoss(stride=4, boundary_weight=0.0)
        small = F.avg_pool2d(logits, 4)
        torch.testing.assert_close(loss(logits, (labels, image)), loss(small, (labels, image)))
        assert torch.equal(loss.supervision(logits, labels, image), loss.supervision(small, labels, image))

    @pytest.mark.parametrize(("size", "grid"), [(321, 41), (16, 2), (17, 3), (5, 1)])
    def test_the_grid_is_the_networks(self, size, grid):
        logits, labels = torch.zeros(1, 2, size, size), torch.zeros(1, 1, size, size, dtype=torch.uint8)
        seeds = DSRGLoss().supervision(logits, labels, torch.zeros(1, 1, size, size))
        assert seeds.shape == (1, 2, grid, grid)

    def test_stride_1_averages_nothing(self):
        seeds = DSRGLoss(stride=1).supervision(LOGITS, labels_of(1, 255, 255, 0), IMAGE)
        assert seeds[0, :, 0].int().tolist() == [[0, 0, 0, 1], [1, 1, 0, 0]]


def test_supervision_restarts_from_the_seeds():
    loss, labels = DSRGLoss(stride=1), labels_of(1, 255, 255, 0)
    assert loss.supervision(LOGITS, labels, IMAGE)[0, 1].sum() == 2
    unsure = loss.supervision(torch.zeros_like(LOGITS), labels, IMAGE)
    assert unsure[0, 1].sum() == 1
    assert unsure.dtype == torch.bool


def test_the_loss_learns_from_its_supervision():
    logits, image = 5 * torch.randn(2, 4, 6, 6), torch.rand(2, 1, 6, 6)
    labels = torch.randint(0, 8, (2, 1, 6, 6), dtype=torch.uint8)
    labels[labels > 3] = 255
    loss = DSRGLoss(stride=1, boundary_weight=0.0)
    seeds = loss.supervision(logits, labels, image)
    assert seeds.sum() > (labels != 255).sum()
    floored = (logits.softmax(dim=1) + 1e-4) / 1.0004
    torch.testing.assert_close(loss(logits, (labels, image)), BalancedSeedingLoss()(floored.log(), seeds))


def test_many_classes_still_grow():
    # floored at 1e-4, 150 probabilities would leave the largest at 1.0001 / 1.015 = .985
    logits = torch.zeros(1, 150, 1, 4)
    logits[:, 0] = 100.0
    seeds = DSRGLoss(stride=1).supervision(logits, labels_of(0, 255, 255, 149), IMAGE)
    assert seeds[0, 0, 0].tolist() == [True, True, True, False]
    assert seeds.sum() == 4


class TestGradient:
    def batch(self):
        """Three labels; a negative and an image without any seed among the images."""
        generator = torch.Generator().manual_seed(0)
        logits = 3 * torch.randn(4, 3, 6, 6, generator=generator)
        labels = torch.randint(0, 6, (4, 1, 6, 6), generator=generator).to(torch.uint8)
        labels[labels > 2] = 255
        labels[1][labels[1] != 255] = 0
        labels[2] = 255
        return logits, labels, torch.rand(4, 2, 6, 6, generator=generator)

    @RULES
    def test_flows_to_the_logits_alone(self, rule, crf):
        crf.answer = torch.tensor([0.8, 0.1, 0.1])
        logits, labels, image = self.batch()
        logits.requires_grad_()
        image.requires_grad_()
        loss = DSRGLoss(rule=rule, stride=1)(logits, (labels, image))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()
        assert logits.grad.flatten(1).any(dim=1).all()  # the boundary term reaches the images without seeds
        assert image.grad is None

    def test_an_image_without_seeds_gets_none_from_the_seeds(self):
        logits, labels, image = self.batch()
        logits.requires_grad_()
        DSRGLoss(stride=1, boundary_weight=0.0)(logits, (labels, image)).backward()
        assert logits.grad.flatten(1).any(dim=1).tolist() == [True, True, False, True]

    @pytest.mark.parametrize("size", [1e3, 1e30])
    def test_certain_logits_stay_finite(self, size, crf):
        crf.answer = torch.tensor([1.0, 0.0, 0.0])
        logits, labels, image = self.batch()
        logits = (logits.sign() * size).requires_grad_()
        loss = DSRGLoss(stride=1)(logits, (labels, image))
        loss.backward()
        assert torch.isfinite(loss)
        assert torch.isfinite(logits.grad).all()

    def test_lesion_free_and_seedless_batches(self):
        logits, labels, image = self.batch()
        loss = DSRGLoss(stride=1, boundary_weight=0.0)
        logits.requires_grad_()
        negative = loss(logits, (torch.zeros_like(labels), image))
        floored = (logits.softmax(dim=1)[:, 0] + 1e-4) / 1.0003
        torch.testing.assert_close(negative, -floored.log().mean())
        empty = loss(logits, (torch.full_like(labels, 255), image))
        empty.backward()
        assert empty.item() == 0
        assert not logits.grad.any()

    def test_half_precision_and_autocast(self):
        logits, labels, image = self.batch()
        loss = DSRGLoss(stride=1, boundary_weight=0.0)
        expected = loss(logits, (labels, image))
        half = loss(logits.half(), (labels, image.half()))
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, expected, atol=2e-3, rtol=0)
        pooled = DSRGLoss(stride=2, boundary_weight=0.0)
        expected_pooled = pooled(logits, (labels, image))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            torch.testing.assert_close(loss(logits, (labels, image)), expected)
            torch.testing.assert_close(pooled(logits, (labels, image)), expected_pooled)
        assert loss(logits.double(), (labels, image)).dtype == torch.float64


@RULES
class TestWithTheCrf:
    """A bright square in noise, and a seed in it and outside."""

    @pytest.fixture(autouse=True)
    def _needs_pydensecrf(self):
        pytest.importorskip("pydensecrf")

    def scene(self):
        generator = torch.Generator().manual_seed(0)
        image = 0.05 * torch.rand(1, 1, 12, 12, generator=generator)
        image[..., 3:9, 3:9] += 0.8
        labels = torch.full((1, 1, 12, 12), 255, dtype=torch.uint8)
        labels[..., 5:7, 5:7], labels[..., 0, :] = 1, 0
        return labels, image

    def test_descent_moves_the_output_to_the_seeds(self, rule):
        labels, image = self.scene()
        logits = torch.zeros(1, 2, 12, 12, requires_grad=True)
        loss = DSRGLoss(rule=rule, stride=1)
        values = []
        for _ in range(10):
            value = loss(logits, (labels, image))
            logits = (logits - 60 * torch.autograd.grad(value, logits)[0]).detach().requires_grad_()
            values.append(value.item())
        assert values[-1] < 0.5 * values[0]
        found = logits.argmax(dim=1)[0]
        assert found[5:7, 5:7].all()
        assert not found[0].any()

    def test_batch_equals_single(self, rule):
        labels, image = (torch.cat([x, x.mT.flip(-1)]) for x in self.scene())
        logits = 4 * torch.randn(2, 2, 12, 12, generator=torch.Generator().manual_seed(1))
        loss = DSRGLoss(rule=rule, stride=1)
        parts = [loss(logits[i : i + 1], (labels[i : i + 1], image[i : i + 1])) for i in range(2)]
        torch.testing.assert_close(loss(logits, (labels, image)), sum(parts) / 2)

    def test_metadata_does_not_follow(self, rule):
        labels, image = self.scene()
        logits = torch.randn(1, 2, 12, 12, generator=torch.Generator().manual_seed(1))
        loss = DSRGLoss(rule=rule, stride=1)
        value = loss(logits, (MetaTensor(labels), MetaTensor(image)))
        assert type(value) is torch.Tensor
        assert value.item() == loss(logits, (labels, image)).item()


@pytest.mark.parametrize(
    ("option", "match"),
    [
        ({"foreground": 1.5}, "foreground"),
        ({"background": -0.1}, "background"),
        ({"boundary_weight": -1.0}, "boundary_weight"),
        ({"stride": 0}, "stride"),
        ({"rule": "code"}, "rule"),
    ],
)
def test_refuses_options(option, match):
    with pytest.raises(ValueError, match=match):
        DSRGLoss(**option)


@pytest.mark.parametrize(
    ("logits", "labels", "image", "match"),
    [
        ((1, 1, 4, 4), (1, 1, 4, 4), (1, 1, 4, 4), "logits"),  # a sigmoid head
        ((2, 2, 4, 4), (1, 1, 4, 4), (2, 1, 4, 4), "logits"),
        ((1, 2, 4, 4), (1, 2, 4, 4), (1, 1, 4, 4), "logits"),
        ((1, 2, 4, 4, 4), (1, 1, 4, 4, 4), (1, 1, 4, 4, 4), "logits"),
    ],
)
def test_refuses_shapes(logits, labels, image, match):
    with pytest.raises(ValueError, match=match):
        DSRGLoss(stride=1)(torch.zeros(logits), (torch.zeros(labels), torch.zeros(image)))


def test_refuses_a_label_without_a_channel():
    with pytest.raises(ValueError, match=r"labels must be 0\.\.1"):
        DSRGLoss(stride=1, boundary_weight=0.0)(LOGITS, (labels_of(2, 0, 0, 0), IMAGE))
