"""Where the body is, of volumes on the network's grid, and what a CRF may take away."""

import pytest
import torch

from monai_wsss.workflow.crf_labels import CRFLabels, body_of, unit_range


def head(channels=3):
    """A head in windows, `(D, C, H, W)` from -2 to 2: bone around a brain; open at one side in slice 1."""
    volume = torch.full((2, channels, 24, 24), -2.0)
    volume[:, -1, 4:20, 4:20] = -1.5  # scalp, seen in the last window alone
    volume[:, :, 6:18, 6:18] = 2.0
    volume[:, :, 8:16, 8:16] = -1.2  # dim brain: Otsu parts it from bone
    volume[:, 0, 10:12, 10:12] = -2.0  # a ventricle
    volume[1, :, 6:8, 8:16] = -1.2
    inside = torch.zeros(2, 1, 24, 24, dtype=torch.bool)
    inside[:, :, 4:20, 4:20] = True
    return volume, inside


def test_windows_show_where_the_head_is():
    volume, inside = head()
    assert torch.equal(body_of(volume, windowed=True), inside)
    otsu = body_of(volume)
    assert otsu[0, 0, 12, 12] and not otsu[1, 0, 12, 12]  # why: the open skull loses the brain


def test_one_window_too():
    volume, inside = head(1)
    assert torch.equal(body_of(volume, windowed=True), inside)
    volume[volume == -1.5] = -2.0  # scalp below the window: the skull is left
    inside[:] = False
    inside[:, :, 6:18, 6:18] = True
    assert torch.equal(body_of(volume, windowed=True), inside)


def test_a_blurred_rim_is_no_head_and_air_alone_has_none():
    volume, inside = head()
    volume[:, :, 3] = -1.95
    assert torch.equal(body_of(volume, windowed=True), inside)
    assert not body_of(torch.full((2, 3, 8, 8), -2.0), windowed=True).any()


def test_the_body_of_other_images_is_as_before():
    grey = torch.zeros(1, 1, 16, 16)
    grey[..., 4:12, 4:12] = 1
    assert torch.equal(body_of(grey), grey > 0)
    colours = grey * torch.tensor([0.5, 1.0, 1.5]).reshape(1, 3, 1, 1)
    assert torch.equal(body_of(colours), grey > 0)


def test_windows_share_one_range():
    """From -2 to 2 over all windows: the CRF's `crf_srgb` is a share of each window."""
    volume = torch.tensor([-2.0, 0, 1, 2]).reshape(1, 2, 2, 1)
    assert unit_range(volume).flatten().tolist() == [0, 0.5, 0.75, 1]


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
    assert pixels(CRFLabels(**CRF).labels(given, image)) == [1024, 0, 0]
    for share in (0.25, 0.5, 1.0):
        kept = CRFLabels(**CRF, min_share=share).labels(given, image)
        assert pixels(kept)[1] >= 16 * share
        assert kept[..., 14:18, 14:18].any()


def test_it_grows_into_what_looks_alike_within_the_appearance_width_alone():
    image = torch.zeros(1, 1, 48, 48)
    image[..., 20:30, :] = 1  # a bright band through the slice, a corner of which is labelled
    given = blob((20, 4), size=48)
    assert not CRFLabels(**CRF).labels(given, image).any()
    kept = CRFLabels(**CRF, min_share=1.0).labels(given, image)
    assert pixels(kept)[1] >= 16
    rows, columns = kept[0, 0].nonzero(as_tuple=True)
    assert 20 <= rows.min() and rows.max() < 30  # the band
    assert columns.max() <= 4 + 3 + 6 + 1  # the smoothness kernel reaches a pixel further


def test_nothing_changes_where_the_crf_keeps_enough():
    image = torch.zeros(1, 1, 32, 32)
    image[..., 8:20, 8:20] = 1
    given = blob((8, 8), side=12)
    alone = CRFLabels(**CRF).labels(given, image)
    assert pixels(alone)[1] >= 72
    assert torch.equal(CRFLabels(**CRF, min_share=0.5).labels(given, image), alone)


@pytest.mark.parametrize("share", [0.6, 0.8, 1.0])
def test_no_more_is_kept_than_asked(share):
    """A lesion that fades out: the CRF's mask grows with the bonus, little by little."""
    image = torch.zeros(1, 1, 48, 48)
    image[0, 0, 12:36, 12:36] = torch.linspace(0.2, 0, 24)
    image[..., 0, 0] = 1
    given = torch.zeros(1, 1, 48, 48, dtype=torch.uint8)
    given[..., 12:36, 12:36] = 1
    weak = CRF | {"weight_bilateral": 10.0, "srgb": 40.0}
    assert pixels(CRFLabels(**weak).labels(given, image))[1] < 0.5 * 576
    kept = pixels(CRFLabels(**weak, min_share=share).labels(given, image))[1]
    assert share * 576 <= kept <= (share + 0.05) * 576


def test_a_class_that_has_enough_does_not_grow():
    image = torch.zeros(1, 1, 64, 64)
    image[..., 8:24, 8:24], image[..., 0, 0] = 0.6, 1
    given = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    given[..., 8:24, 8:24], given[..., 40:43, 40:43] = 1, 2
    alone = CRFLabels(**CRF).labels(given, image)
    kept = CRFLabels(**CRF, min_share=0.5).labels(given, image)
    assert pixels(alone)[1:] == [256, 0]
    assert torch.equal(kept == 1, alone == 1) and pixels(kept)[2] >= 5


def test_a_small_class_inside_a_large_one():
    """They look alike: the bonus of the small one wins there, and the large one still gets its CRF."""
    image = torch.zeros(1, 1, 48, 48)
    image[..., 10:34, 10:34], image[..., 0, 0] = 0.6, 1
    given = torch.zeros(1, 1, 48, 48, dtype=torch.uint8)
    given[..., 10:34, 8:34], given[..., 20:23, 20:23] = 1, 2
    kept = CRFLabels(**CRF, min_share=0.5).labels(given, image)
    assert pixels(kept)[2] >= 5 and not (kept[..., 8:10] == 1).any()


def test_the_given_labels_stay_where_no_bonus_is_enough():
    given = blob((14, 14))
    image = torch.zeros(1, 1, 32, 32)
    image[..., 0, 0] = 1
    settings = CRF | {"weight_bilateral": 1000.0}
    assert torch.equal(CRFLabels(**settings, min_share=0.5).labels(given, image), given)


def test_slices_do_not_depend_on_each_other():
    torch.manual_seed(0)
    volume = torch.rand(2, 1, 32, 32)
    volume[:, :, 0, 0], volume[:, :, 0, 1] = 0, 1
    given = torch.cat([blob((4, 4)), blob((20, 10))])
    crf = CRFLabels(**CRF, min_share=0.5)
    both = crf.labels(given, volume)
    for index in range(2):
        assert torch.equal(crf.labels(given[index : index + 1], volume[index : index + 1]), both[index : index + 1])
