import pytest
import torch

from monai_wsss.ops.head_mask import head_mask


def axes(height=64, width=64):
    return torch.meshgrid(torch.arange(height) - 32.0, torch.arange(width) - 28.0, indexing="ij")


def scan(depth=None, curve=90.0):
    """A head of radius 20.5 with a sinus, on a headrest 2 pixels thick that touches it, and the head alone."""
    rows, columns = axes()
    radius = torch.sqrt(rows**2 + columns**2)
    image = torch.full((64, 64), -1000.0)
    shell = (columns - 20 + rows**2 / curve).abs() <= 1  # a bow below the head; it nears it on both sides
    image[shell] = 50
    image[radius <= 20.5] = -100  # fat
    image[radius <= 18] = 1200
    image[radius <= 15] = 30
    image[(rows.abs() <= 3) & ((columns + 10).abs() <= 2)] = -990  # air in the head
    head = radius <= 20.5
    if depth is not None:
        image, head = (x[..., None].repeat(1, 1, depth) for x in (image, head))
        image[..., -1] = torch.where(shell, 50.0, -1000.0)  # above the head there is the headrest alone
        head[..., -1] = False
    return image[None, None], head[None, None]


@pytest.mark.parametrize("depth", [None, 1, 4])
def test_head_without_the_headrest_that_touches_it(depth):
    image, head = scan(depth)
    if depth == 1:
        image, head = scan(2)
    found = head_mask(image)
    assert found.shape == image.shape and found.dtype == torch.bool
    assert not (head & ~found).any()
    # at most what lies within the disc's radius of the head stays of the headrest: a stub
    rows, columns = axes()
    near = torch.sqrt(rows**2 + columns**2) <= 20.5 + 4
    near = near if depth is None else near[..., None]
    assert not (found & ~near).any() and (found & ~head).sum() < 0.06 * head.sum()
    if depth is not None:
        assert not found[..., -1].any()


def test_without_opening_the_headrest_would_be_head():
    image, head = scan(4)
    assert (head_mask(image, rest=0.5) & ~head).sum() > 2 * (head_mask(image) & ~head).sum()


def test_by_hand():
    # a square of 7 x 7 with a spur of 3 pixels, and a bar of 2 x 7 apart from it; disc of radius 1.5 mm
    image = torch.full((12, 12), -1000.0)
    image[2:9, 2:9] = 0
    image[5, 9:12] = 0  # spur of 3 pixels
    image[10:12, 1:8] = 0  # bar, 2 thick
    expected = torch.zeros(12, 12, dtype=torch.bool)
    expected[2:9, 2:9] = True
    # eroded to rows and columns 3 to 7, grown by 1.5, which reaches diagonal neighbours: the square is whole again
    # spur: column 9 is within 1.5 of the square, 10 and 11 are not
    expected[5, 9] = True
    assert torch.equal(head_mask(image[None, None], rest=1.5)[0, 0], expected)


def test_spacing_is_in_millimetres():
    image, head = scan()
    assert torch.equal(head_mask(image, spacing=(2.0, 2.0), rest=8.0), head_mask(image, spacing=(1.0, 1.0), rest=4.0))
    fine = head_mask(image, spacing=(0.45, 0.45), rest=2.0)  # distances on every second pixel
    assert not (head & ~fine).any() and (fine & ~head).sum() < 0.06 * head.sum()
    # each axis has its own: rows squeezed to a third
    thin = image[:, :, ::3]
    assert torch.equal(head_mask(thin, (3.0, 1.0))[:, :, :, :10], head_mask(thin.mT, (1.0, 3.0)).mT[:, :, :, :10])
    assert not torch.equal(head_mask(thin, (3.0, 1.0)), head_mask(thin, (1.0, 1.0)))


def test_flips_and_batch():
    image, _ = scan(3)
    mask = head_mask(image)
    assert torch.equal(head_mask(image.flip(2)), mask.flip(2)) and torch.equal(head_mask(image.flip(4)), mask.flip(4))
    both = head_mask(torch.cat([image, image.flip(3)]))
    assert torch.equal(both, torch.cat([mask, mask.flip(3)]))


def test_a_head_cut_by_the_image_and_one_that_fills_it():
    image, head = scan()
    assert torch.equal(head_mask(image[:, :, 20:44, 22:42]), torch.ones(1, 1, 24, 20, dtype=torch.bool))
    cut = head_mask(image[:, :, :40, :40])
    assert torch.equal(cut, head[:, :, :40, :40])


def test_air_alone_and_what_is_thin_alone():
    assert not head_mask(torch.full((2, 1, 8, 8), -1000.0)).any()
    assert head_mask(torch.zeros(0, 1, 8, 8)).shape == (0, 1, 8, 8)
    image = torch.full((1, 1, 9, 9, 2), -1000.0)
    image[..., 3:5, 3:6, :] = 0
    image[..., 0, 0, 0] = 0
    expected = torch.zeros_like(image, dtype=torch.bool)
    expected[..., 3:5, 3:6, :] = True
    assert torch.equal(head_mask(image), expected)


@pytest.mark.parametrize(
    ("image", "options", "message"),
    [
        (torch.zeros(2, 3, 8, 8), {}, "must be"),
        (torch.zeros(8, 8), {}, "must be"),
        (torch.full((1, 1, 4, 4), torch.nan), {}, "finite"),
        (torch.zeros(1, 1, 4, 4), {"spacing": (1.0, 0.0)}, "spacing"),
        (torch.zeros(1, 1, 4, 4), {"spacing": (1.0,)}, "spacing"),
        (torch.zeros(1, 1, 4, 4), {"rest": 0.0}, "rest"),
    ],
)
def test_bad_arguments(image, options, message):
    with pytest.raises(ValueError, match=message):
        head_mask(image, **options)
