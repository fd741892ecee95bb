import pytest
import torch

from monai_wsss.ops import body_mask


def head(depth: int | None = None, noise: float = 4.0) -> tuple[torch.Tensor, torch.Tensor]:
    """A head on air, `(1, 1, H, W[, D])`, and its body: scalp and brain, apart by dark bone, with dark ventricles."""
    rows, columns = torch.meshgrid(torch.arange(48) - 24.0, torch.arange(56) - 28.0, indexing="ij")
    radius = torch.sqrt(rows**2 + columns**2)
    image = torch.zeros(48, 56)
    image[radius < 20] = 150  # scalp
    image[radius < 18] = 3  # bone
    image[radius < 16] = 100  # brain
    image[(rows.abs() < 4) & (columns.abs() < 3)] = 5  # ventricles
    image[1:3, 1:3] = 120  # a marker beside the head
    body = radius < 20
    if depth is not None:
        image, body = (x[..., None].expand(48, 56, depth) for x in (image, body))
    noisy = (image + noise * torch.rand(image.shape, generator=torch.Generator().manual_seed(0)))[None, None]
    return noisy, body[None, None]


@pytest.mark.parametrize("depth", [None, 1, 5])
def test_finds_the_head(depth):
    image, body = head(depth)
    mask = body_mask(image)
    assert mask.dtype == torch.bool
    assert torch.equal(mask, body)


@pytest.mark.parametrize(("scale", "shift"), [(1.0, -30.0), (0.02, -1.5), (1000.0, 0.0)])
def test_keeps_under_scale_and_shift(scale, shift):
    image, body = head(3)
    assert torch.equal(body_mask(image * scale + shift), body)


def test_z_scored_inside_the_body():
    image, body = head(3)
    inside = image[body]
    assert torch.equal(body_mask((image - inside.mean()) / inside.std()), body)


def test_by_hand():
    # a 3 x 3 ring around a hole; right of it one bright pixel, which is the smaller component
    image = torch.tensor(
        [
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
            [0.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0],
            [0.0, 9.0, 1.0, 9.0, 0.0, 9.0, 0.0],
            [0.0, 9.0, 9.0, 9.0, 0.0, 0.0, 0.0],
            [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0],
        ]
    )
    expected = torch.zeros(5, 7, dtype=torch.bool)
    expected[1:4, 1:4] = True
    assert torch.equal(body_mask(image[None, None])[0, 0], expected)


def test_a_hole_is_filled_in_its_slice():
    # a tunnel open at both ends of the volume is no hole in 3D, but one in each slice
    image = torch.zeros(1, 1, 9, 9, 4)
    image[:, :, 2:7, 2:7] = 1.0
    image[:, :, 4, 4] = 0.0
    assert body_mask(image)[0, 0, 4, 4].all()


def test_one_hot_voxel_does_not_hide_the_body():
    image, body = head(3)
    image[0, 0, 24, 10, 1] = 1e6
    assert torch.equal(body_mask(image), body)


@pytest.mark.parametrize("shape", [(2, 1, 8, 8), (1, 1, 8, 8, 3), (0, 1, 8, 8), (1, 1, 1, 1)])
def test_a_constant_image_has_no_body(shape):
    mask = body_mask(torch.full(shape, 7.0))
    assert mask.shape == shape
    assert not mask.any()


def test_batch_single_and_flip():
    image, _ = head()
    image = torch.cat([image, torch.zeros_like(image), image.roll(3, dims=-1)])
    mask = body_mask(image)
    assert torch.equal(mask, torch.cat([body_mask(x[None]) for x in image]))
    assert torch.equal(body_mask(image.flip(-1)), mask.flip(-1))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.int16, torch.float64])
def test_other_types(dtype):
    image, body = head(2)
    assert torch.equal(body_mask(image.to(dtype)), body)


@pytest.mark.parametrize(
    ("image", "match"),
    [
        (torch.full((1, 1, 4, 4), float("nan")), "finite"),
        (torch.zeros(1, 2, 4, 4), "must be"),
        (torch.zeros(1, 1, 4), "must be"),
    ],
)
def test_refuses(image, match):
    with pytest.raises(ValueError, match=match):
        body_mask(image)
