"""What a dense CRF of labels may take away."""

import pytest
import torch

from monai_wsss.ops import label_crf

# Widths in pixels; a weight with which a flat image wipes out whatever is small.
CRF = {
    "confidence": 0.7,
    "sxy_gaussian": 1.5,
    "weight_gaussian": 3.0,
    "sxy_bilateral": 6.0,
    "srgb": 13.0,
    "weight_bilateral": 4.0,
    "iterations": 10,
}


def blob(*corners, size=32, side=4):
    """Labels 1, 2, .. of squares at these corners in a slice `(1, 1, H, W)`."""
    labels = torch.zeros(1, 1, size, size, dtype=torch.uint8)
    for label, (row, column) in enumerate(corners, start=1):
        labels[..., row : row + side, column : column + side] = label
    return labels


def pixels(labels):
    return torch.bincount(labels.flatten(), minlength=3).tolist()


def test_a_share_of_the_labelled_pixels_is_kept():
    given = blob((14, 14))
    image = torch.zeros(1, 1, 32, 32)
    image[..., :2, :2] = 1  # the range of intensities; the lesion looks like all around it
    assert pixels(label_crf(given, image, **CRF)) == [1024, 0, 0]
    for share in (0.25, 0.5, 1.0):
        kept = label_crf(given, image, **CRF, min_share=share)
        assert pixels(kept)[1] >= 16 * share
        assert kept[..., 14:18, 14:18].any()


def test_it_grows_into_what_looks_alike_within_the_appearance_width_alone():
    image = torch.zeros(1, 1, 48, 48)
    image[..., 20:30, :] = 1  # a bright band through the slice, a corner of which is labelled
    given = blob((20, 4), size=48)
    assert not label_crf(given, image, **CRF).any()
    kept = label_crf(given, image, **CRF, min_share=1.0)
    assert pixels(kept)[1] >= 16
    rows, columns = kept[0, 0].nonzero(as_tuple=True)
    assert 20 <= rows.min() and rows.max() < 30  # the band
    assert columns.max() <= 4 + 3 + 6 + 1  # the smoothness kernel reaches a pixel further


def test_nothing_changes_where_the_crf_keeps_enough():
    image = torch.zeros(1, 1, 32, 32)
    image[..., 8:20, 8:20] = 1
    given = blob((8, 8), side=12)
    alone = label_crf(given, image, **CRF)
    assert pixels(alone)[1] >= 72
    assert torch.equal(label_crf(given, image, **CRF, min_share=0.5), alone)


@pytest.mark.parametrize("share", [0.6, 0.8, 1.0])
def test_no_more_is_kept_than_asked(share):
    """A lesion that fades out: the CRF's mask grows with the bonus, little by little."""
    image = torch.zeros(1, 1, 48, 48)
    image[0, 0, 12:36, 12:36] = torch.linspace(0.2, 0, 24)
    image[..., 0, 0] = 1
    given = torch.zeros(1, 1, 48, 48, dtype=torch.uint8)
    given[..., 12:36, 12:36] = 1
    weak = CRF | {"weight_bilateral": 10.0, "srgb": 40.0}
    assert pixels(label_crf(given, image, **weak))[1] < 0.5 * 576
    kept = pixels(label_crf(given, image, **weak, min_share=share))[1]
    assert share * 576 <= kept <= (share + 0.05) * 576


def test_a_class_that_has_enough_does_not_grow():
    image = torch.zeros(1, 1, 64, 64)
    image[..., 8:24, 8:24], image[..., 0, 0] = 0.6, 1
    given = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    given[..., 8:24, 8:24], given[..., 40:43, 40:43] = 1, 2
    alone = label_crf(given, image, **CRF)
    kept = label_crf(given, image, **CRF, min_share=0.5)
    assert pixels(alone)[1:] == [256, 0]
    assert torch.equal(kept == 1, alone == 1) and pixels(kept)[2] >= 5


def test_a_small_class_inside_a_large_one():
    """They look alike: the bonus of the small one wins there, and the large one still gets its CRF."""
    image = torch.zeros(1, 1, 48, 48)
    image[..., 10:34, 10:34], image[..., 0, 0] = 0.6, 1
    given = torch.zeros(1, 1, 48, 48, dtype=torch.uint8)
    given[..., 10:34, 8:34], given[..., 20:23, 20:23] = 1, 2
    kept = label_crf(given, image, **CRF, min_share=0.5)
    assert pixels(kept)[2] >= 5 and not (kept[..., 8:10] == 1).any()


def test_the_given_labels_stay_where_no_bonus_is_enough():
    given = blob((14, 14))
    image = torch.zeros(1, 1, 32, 32)
    image[..., 0, 0] = 1
    settings = CRF | {"weight_bilateral": 1000.0}
    assert torch.equal(label_crf(given, image, **settings, min_share=0.5), given)


def test_images_of_a_batch_do_not_depend_on_each_other():
    torch.manual_seed(0)
    images = torch.rand(3, 1, 32, 32)
    given = torch.cat([blob((4, 4)), torch.zeros(1, 1, 32, 32, dtype=torch.uint8), blob((20, 10))])
    whole = label_crf(given, images, **CRF, min_share=0.5)
    assert not whole[1].any()
    for index in range(3):
        alone = label_crf(given[index : index + 1], images[index : index + 1], **CRF, min_share=0.5)
        assert torch.equal(alone, whole[index : index + 1])


def test_a_volume_keeps_its_share_too():
    given = torch.zeros(1, 1, 16, 16, 8, dtype=torch.uint8)
    given[..., 6:9, 6:9, 3:5] = 1
    image = torch.zeros(1, 1, 16, 16, 8)
    image[..., 0, 0, 0] = 1
    assert not label_crf(given, image, **CRF).any()
    assert label_crf(given, image, **CRF, min_share=0.5).sum() >= 9


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_outside_0_to_1_is_refused(share):
    with pytest.raises(ValueError, match="min_share must be from 0 to 1"):
        label_crf(blob((4, 4)), torch.zeros(1, 1, 32, 32), min_share=share)
