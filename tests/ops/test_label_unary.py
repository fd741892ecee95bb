import numpy as np
import pytest
import torch

from monai_wsss.ops import label_unary


@pytest.mark.parametrize(
    ("labels", "num_labels", "confidence", "expected"),
    [
        ([0, 1, 255], 2, 0.7, [[0.7, 0.3, 0.5], [0.3, 0.7, 0.5]]),  # the one other label gets 0.3 / 1
        # the two others share 0.3: 0.15 each; ignore is 1 / 3
        ([2, 0, 255], 3, 0.7, [[0.15, 0.7, 1 / 3], [0.15, 0.15, 1 / 3], [0.7, 0.15, 1 / 3]]),
        ([1, 1, 0], 2, 0.9, [[0.1, 0.1, 0.9], [0.9, 0.9, 0.1]]),
        ([0, 0, 255], 1, 0.7, [[1.0, 1.0, 1.0]]),  # a negative image: no division by L - 1 = 0
    ],
)
def test_by_hand(labels, num_labels, confidence, expected):
    probability = label_unary(torch.tensor([[labels]], dtype=torch.uint8), num_labels, confidence)
    torch.testing.assert_close(probability, torch.tensor([expected]))


@pytest.mark.parametrize("num_labels", [2, 3, 21])
def test_equals_pydensecrf(num_labels):
    utils = pytest.importorskip("pydensecrf.utils")
    labels = np.random.default_rng(0).integers(0, num_labels, (1, 1, 4, 5, 6)).astype(np.uint8)
    energy = -label_unary(torch.from_numpy(labels), num_labels, 0.7).log()
    expected = utils.unary_from_labels(labels[0, 0], num_labels, 0.7, zero_unsure=False)
    np.testing.assert_allclose(energy.numpy().reshape(num_labels, -1), expected, rtol=1e-5)


def test_is_a_distribution_per_pixel_and_per_image():
    labels = torch.randint(0, 4, (3, 1, 5, 6))
    labels[:, :, 0] = 255
    probability = label_unary(labels, 4)
    torch.testing.assert_close(probability.sum(dim=1), torch.ones(3, 5, 6))
    assert torch.equal(probability[1:2], label_unary(labels[1:2], 4))
    assert torch.equal(probability.flip(-1), label_unary(labels.flip(-1), 4))


@pytest.mark.parametrize(
    ("labels", "num_labels", "confidence", "match"),
    [
        (torch.full((1, 1, 2, 2), 3), 3, 0.7, "0..2 or 255"),
        (torch.full((1, 1, 2, 2), -1), 3, 0.7, "0..2 or 255"),
        (torch.zeros(1, 1, 2, 2), 0, 0.7, "labels must be"),
        (torch.zeros(1, 1, 2, 2), 2, 1.0, "confidence"),
        (torch.zeros(1, 2, 2, 2), 2, 0.7, "B, 1"),
    ],
)
def test_refuses(labels, num_labels, confidence, match):
    with pytest.raises(ValueError, match=match):
        label_unary(labels, num_labels, confidence)
