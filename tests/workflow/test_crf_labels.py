"""Where the body is, of volumes on the network's grid."""

import torch

from monai_wsss.workflow.crf_labels import body_of, unit_range


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
