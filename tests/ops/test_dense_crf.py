import sys

import numpy as np
import pytest
import torch

from monai_wsss.errors import InputError
from monai_wsss.ops import dense_crf, label_unary

UNIFORM = {"sxy_gaussian": 1e6, "sxy_bilateral": 1e6}  # so wide that each pixel sees all pixels alike


def disc(height: int = 24, width: int = 32, row: int = 12, column: int = 16, radius: int = 7) -> torch.Tensor:
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return (rows - row) ** 2 + (columns - column) ** 2 < radius**2


@pytest.fixture
def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """A bright disc in noise, and probabilities of a label map that is shifted against it."""
    generator = torch.Generator().manual_seed(0)
    image = 0.2 + 0.5 * disc().float() + 0.05 * torch.rand(24, 32, generator=generator)
    labels = disc(row=10, column=19).to(torch.uint8)
    return label_unary(labels[None, None], 2), image[None, None]


def direct_2d(probability: torch.Tensor, rgb: np.ndarray, sxy: float, srgb: float, iterations: int) -> np.ndarray:
    dcrf = pytest.importorskip("pydensecrf.densecrf")
    labels, height, width = probability.shape
    crf = dcrf.DenseCRF2D(width, height, labels)
    crf.setUnaryEnergy(np.ascontiguousarray(-np.log(probability.numpy()).reshape(labels, -1)))
    crf.addPairwiseGaussian(sxy=3, compat=3)
    crf.addPairwiseBilateral(sxy=sxy, srgb=srgb, rgbim=rgb, compat=10)
    return np.array(crf.inference(iterations)).reshape(labels, height, width)


@pytest.mark.parametrize(("sxy", "srgb", "iterations"), [(80.0, 13.0, 10), (50.0, 5.0, 3), (20.0, 5.0, 1)])
def test_equals_pydensecrf_on_rgb(sxy, srgb, iterations):
    rng = np.random.default_rng(0)
    rgb = np.ascontiguousarray(60 + 90 * disc().numpy()[..., None] + rng.integers(0, 40, (24, 32, 3)), dtype=np.uint8)
    probability = label_unary(torch.from_numpy(rng.integers(0, 3, (1, 1, 24, 32))), 3)
    image = torch.from_numpy(rgb.astype(np.float32) / 255).movedim(-1, 0)[None]
    ours = dense_crf(probability, image, sxy_bilateral=sxy, srgb=srgb, iterations=iterations)
    np.testing.assert_allclose(ours[0].numpy(), direct_2d(probability[0], rgb, sxy, srgb, iterations), atol=1e-4)


def test_equals_pydensecrf_on_a_grey_volume():
    dcrf, utils = pytest.importorskip("pydensecrf.densecrf"), pytest.importorskip("pydensecrf.utils")
    rng = np.random.default_rng(1)
    volume = rng.random((6, 8, 10)).astype(np.float32)
    probability = label_unary(torch.from_numpy((volume > 0.6).astype(np.uint8))[None, None], 2)
    # the volume transposed, because pydensecrf's two helpers list the axes in opposite orders
    crf = dcrf.DenseCRF(volume.size, 2)
    crf.setUnaryEnergy(np.ascontiguousarray(-np.log(probability[0].numpy()).transpose(0, 3, 2, 1).reshape(2, -1)))
    crf.addPairwiseEnergy(utils.create_pairwise_gaussian((3,) * 3, volume.T.shape), compat=3)
    crf.addPairwiseEnergy(utils.create_pairwise_bilateral((9,) * 3, 13.0, volume.T * 255), compat=10)
    expected = np.array(crf.inference(5)).reshape(2, 10, 8, 6).transpose(0, 3, 2, 1)
    ours = dense_crf(probability, torch.from_numpy(volume)[None, None], sxy_bilateral=9, iterations=5)
    np.testing.assert_allclose(ours[0].numpy(), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("weights", "iterations", "expected"),
    [
        # every pixel alike and seeing all alike, so K Q = Q;
        # Q_1 / Q_0 = (.6 / .4) exp(w (Q_1 - Q_0)), with w = w_g + w_b = 3
        ((1.0, 2.0), 0, 0.6),  # softmax(log P) = P
        ((1.0, 2.0), 1, 0.732131),  # 1.5 exp(3 x .2) = 2.733178 -> 2.733178 / 3.733178
        ((1.0, 2.0), 2, 0.857943),  # 1.5 exp(3 x .464263) = 6.039418 -> 6.039418 / 7.039418
        ((3.0, 0.0), 1, 0.732131),  # one kernel of weight 3 is the same
        ((0.0, 0.0), 5, 0.6),  # no kernel
    ],
)
def test_mean_field_by_hand(weights, iterations, expected):
    pytest.importorskip("pydensecrf")
    probability = torch.tensor([0.4, 0.6]).reshape(1, 2, 1, 1).expand(1, 2, 4, 5)
    posterior = dense_crf(
        probability,
        torch.full((1, 1, 4, 5), 0.5),
        weight_gaussian=weights[0],
        weight_bilateral=weights[1],
        iterations=iterations,
        **UNIFORM,
    )
    torch.testing.assert_close(posterior[:, 1], torch.full((1, 4, 5), expected), atol=2e-5, rtol=0)


@pytest.mark.parametrize(
    ("iterations", "expected"),
    [
        # Q_1 / Q_0 = exp(.6 - .4 + w (Q_1 - Q_0)), with w = 3
        (0, 0.549834),  # e^.2 = 1.221403 -> 1.221403 / 2.221403
        (1, 0.622225),  # exp(.2 + 3 x .099668) = 1.647080 -> 1.647080 / 2.647080
    ],
)
def test_probability_as_unary_by_hand(iterations, expected):
    pytest.importorskip("pydensecrf")
    probability = torch.tensor([0.4, 0.6]).reshape(1, 2, 1, 1).expand(1, 2, 4, 5)
    posterior = dense_crf(
        probability,
        torch.full((1, 1, 4, 5), 0.5),
        weight_gaussian=1.0,
        weight_bilateral=2.0,
        iterations=iterations,
        unary="probability",
        **UNIFORM,
    )
    torch.testing.assert_close(posterior[:, 1], torch.full((1, 4, 5), expected), atol=2e-5, rtol=0)


class TestBehaviour:
    @pytest.fixture(autouse=True)
    def _needs_pydensecrf(self):
        pytest.importorskip("pydensecrf")

    def test_moves_the_label_onto_the_object(self, scene):
        probability, image = scene
        before, after = probability.argmax(dim=1)[0], dense_crf(probability, image).argmax(dim=1)[0]
        assert (before.bool() ^ disc()).sum() > 50
        assert (after.bool() ^ disc()).sum() <= 2

    def test_probability_as_unary_is_its_softmax_as_probability(self, scene):
        probability, image = scene
        soft = dense_crf(probability.softmax(dim=1), image)  # log softmax P is P, but for a shift of each pixel
        torch.testing.assert_close(dense_crf(probability, image, unary="probability"), soft, atol=1e-4, rtol=0)

    def test_is_a_distribution(self, scene):
        posterior = dense_crf(*scene)
        assert posterior.dtype == torch.float32
        torch.testing.assert_close(posterior.sum(dim=1), torch.ones(1, 24, 32))
        assert posterior.min() >= 0

    def test_batch_equals_single(self, scene):
        probability, image = scene
        both = dense_crf(torch.cat([probability, probability.flip(1)]), torch.cat([image, image.flip(-1)]))
        assert torch.equal(both[:1], dense_crf(probability, image))
        assert torch.equal(both[1:], dense_crf(probability.flip(1), image.flip(-1)))

    @pytest.mark.parametrize("axis", [-1, -2])
    def test_flips_with_the_image(self, scene, axis):
        labels = dense_crf(*(x.flip(axis) for x in scene)).argmax(dim=1)
        # the lattice is an approximation whose cells do not mirror
        assert (labels.flip(axis) != dense_crf(*scene).argmax(dim=1)).sum() <= 3

    def test_permutes_with_the_labels(self, scene):
        probability, image = scene
        torch.testing.assert_close(dense_crf(probability.flip(1), image), dense_crf(probability, image).flip(1))

    def test_half_precision(self, scene):
        probability, image = scene
        half = dense_crf(probability.half(), image.half())
        assert half.dtype == torch.float32
        torch.testing.assert_close(half, dense_crf(probability, image), atol=0.02, rtol=0)

    def test_certain_probabilities_stay_finite(self, scene):
        _, image = scene
        certain = torch.stack([~disc(), disc()])[None].float()  # zeros, floored at 1e-5
        posterior = dense_crf(certain, image)
        assert torch.isfinite(posterior).all()
        assert torch.equal(posterior.argmax(dim=1)[0].bool(), disc())

    def test_the_floor_lets_neighbours_outvote_a_certain_pixel(self):
        # -ln 1e-5 = 11.5 < 3 + 10; without the floor no weight would do
        certain = torch.zeros(1, 2, 9, 9)
        certain[:, 0] = 1.0
        certain[:, :, 4, 4] = torch.tensor([0.0, 1.0])
        assert not dense_crf(certain, torch.full((1, 1, 9, 9), 0.5), **UNIFORM).argmax(dim=1).any()

    def test_leaves_its_arguments_alone(self, scene):
        probability, image = (x.clone().requires_grad_() for x in scene)
        posterior = dense_crf(probability, image)
        assert not posterior.requires_grad
        assert torch.equal(probability.detach(), scene[0])
        assert torch.equal(image.detach(), scene[1])


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (0, 2, 4, 4)])
def test_nothing_to_infer_is_returned_unchanged(shape, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    probability = torch.ones(shape)
    assert dense_crf(probability, torch.zeros(shape[0], 1, 4, 4)) is probability


def test_missing_pydensecrf_says_what_to_install(scene, monkeypatch):
    monkeypatch.setitem(sys.modules, "pydensecrf.densecrf", None)
    with pytest.raises(InputError, match=r'pip install "monai_wsss\[crf\]"') as error:
        dense_crf(*scene)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"sxy_gaussian": 0.0}, "widths"),
        ({"srgb": -1.0}, "widths"),
        ({"sxy_bilateral": float("nan")}, "widths"),
        ({"weight_bilateral": -1.0}, "weights"),
        ({"iterations": -1}, "iterations"),
        ({"unary": "logits"}, "unary"),
        ({"image": torch.full((1, 1, 24, 32), 128.0)}, "image must be in"),
        ({"image": torch.full((1, 1, 24, 32), float("nan"))}, "image must be in"),
        ({"probability": torch.full((1, 2, 24, 32), -2.0)}, "probability must be in"),  # logits, say
        ({"image": torch.zeros(1, 1, 24, 31)}, "2D or 3D"),
        ({"image": torch.zeros(2, 1, 24, 32)}, "2D or 3D"),
    ],
)
def test_refuses(scene, change, match):
    arguments = {"probability": scene[0], "image": scene[1], **change}
    with pytest.raises(ValueError, match=match):
        dense_crf(**arguments)
