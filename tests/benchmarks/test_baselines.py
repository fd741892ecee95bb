import pytest
import torch

from benchmarks.rows.baselines import all_background, brightest_blob, position_prior


def disc(size=40, radius=16):
    row, column = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    return (row - size // 2) ** 2 + (column - size // 2) ** 2 <= radius**2


@pytest.fixture
def head():
    """Two slices: a bright scalp, a large and a small bright square inside; the second slice is air."""
    body = torch.stack([disc(), torch.zeros(40, 40, dtype=torch.bool)])
    volume = body.float()
    volume[0][disc() & ~disc(radius=14)] = 9.0
    volume[0, 14:18, 14:18] = 3.0
    volume[0, 24:26, 24:26] = 4.0
    return volume, body


def test_all_background(head):
    mask = all_background(head[0])
    assert mask.shape == head[0].shape and mask.dtype == torch.bool and not mask.any()


def test_blob_is_the_larger_bright_square_not_the_scalp(head):
    # body of about 800 pixels: diameter 32, rim 3.2; inside about 500 pixels, of which 20 (4 %) are bright
    mask = brightest_blob(*head)
    expected = torch.zeros_like(mask)
    expected[0, 14:18, 14:18] = True
    assert torch.equal(mask, expected)


def test_without_a_margin_the_scalp_wins(head):
    mask = brightest_blob(*head, margin=0.0, percentile=70)
    assert mask[0].sum() == (disc() & ~disc(radius=14)).sum()


@pytest.mark.parametrize("change", [lambda v: 5 * v - 2, lambda v: v.double(), lambda v: v.half()])
def test_blob_does_not_depend_on_scale_or_type(head, change):
    volume, body = head
    assert torch.equal(brightest_blob(change(volume), body), brightest_blob(volume, body))


def test_blob_of_each_slice_is_its_own(head):
    volume, body = head
    assert torch.equal(brightest_blob(volume.flip(0), body.flip(0)), brightest_blob(volume, body).flip(0))
    assert torch.equal(brightest_blob(volume[:1], body[:1]), brightest_blob(volume, body)[:1])


def test_blob_of_a_constant_body_is_empty(head):
    assert not brightest_blob(torch.ones_like(head[0]), head[1]).any()


def test_blob_refuses_other_shapes(head):
    with pytest.raises(ValueError, match="one shape"):
        brightest_blob(head[0], head[1][:1])


def test_position_prior_literal():
    # three positive masks of 2, 3 and 1 pixels: two pixels on average; pixel 0 is in all three, pixel 1 in two.
    masks = torch.tensor([[[1, 1, 0, 0]], [[1, 1, 1, 255]], [[1, 0, 0, 0]], [[0, 0, 0, 255]]], dtype=torch.uint8)
    prior = position_prior(masks)
    assert prior.tolist() == [[1, 1, 0, 0]] and prior.dtype == torch.uint8


def test_position_prior_of_several_classes():
    # class 1: masks of 2, 2 and 2 pixels; shares 3/3, 2/3, 1/3, so pixels 0 and 1.
    # class 2: masks of 3 and 2 pixels, 2.5 rounded to 2; shares 0, 1/2, 2/2, 2/2 of pixels 0 to 3, so pixels 2 and 3.
    # class 3: one mask of 3 pixels, share 1 each: pixel 0 is class 1's in all of its masks, pixel 1 in two of three.
    masks = torch.tensor([[[1, 1, 2, 2]], [[1, 2, 2, 2]], [[1, 1, 0, 0]], [[1, 0, 1, 0]], [[3, 3, 3, 0]]])
    masks[1, 0, 0] = 0
    assert position_prior(masks, 2).tolist() == [[1, 1, 2, 2]]
    assert position_prior(masks, 3).tolist() == [[1, 3, 2, 2]]
    assert torch.equal(position_prior(masks.flip(0), 3), position_prior(masks, 3))


def test_a_class_that_the_masks_lack_is_nowhere():
    masks = torch.tensor([[[1, 255, 0]], [[0, 255, 3]]])
    assert position_prior(masks, 2).tolist() == [[1, 0, 0]]


def test_position_prior_without_positives():
    assert not position_prior(torch.zeros(3, 4, 5, dtype=torch.uint8)).any()
    assert position_prior(torch.zeros(0, 4, 5, dtype=torch.uint8)).shape == (4, 5)
