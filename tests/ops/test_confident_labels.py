"""What two label maps agree on."""

import pytest
import torch

from monai_wsss.ops.confident_labels import confident_labels


def labels(values, *shape):
    return torch.tensor(values, dtype=torch.uint8).reshape(shape)


@pytest.mark.parametrize(
    ("foreground", "background", "expected"),
    [
        (0, 0, 0),  # both say background
        (0, 1, 255),  # too weak for the one, too strong for the other
        (0, 254, 255),
        (1, 1, 1),
        (2, 0, 2),  # the CRF took it away in the background map alone
        (2, 1, 2),  # another class: the foreground map's holds
        (254, 254, 254),
        (255, 0, 255),
        (0, 255, 255),
    ],
)
def test_table(foreground, background, expected):
    found = confident_labels(labels([foreground], 1, 1, 1), labels([background], 1, 1, 1))
    assert found.item() == expected and found.dtype == torch.uint8


def test_each_image_is_its_own_in_2d_and_3d():
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 1, 4, 5), (3, 1, 4, 5, 2)):
        f, b = (torch.randint(0, 3, shape, generator=generator, dtype=torch.uint8) for _ in range(2))
        found = confident_labels(f, b)
        assert found.shape == shape and {0, 1, 2, 255} == set(torch.unique(found).tolist())
        assert torch.equal(found, torch.cat([confident_labels(x[None], y[None]) for x, y in zip(f, b, strict=True)]))
        assert torch.equal(found.flip(2), confident_labels(f.flip(2), b.flip(2)))


@pytest.mark.parametrize("shape", [(2, 1, 4, 4), (1, 2, 4, 4), (4, 4)])
def test_other_shapes_are_refused(shape):
    with pytest.raises(ValueError, match="must be"):
        confident_labels(torch.zeros(1, 1, 4, 4), torch.zeros(shape))
