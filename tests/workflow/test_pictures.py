"""Pictures of a few fixed slices."""

import numpy as np
import pytest
from PIL import Image

from monai_wsss.data import Case, PreparedDataset
from monai_wsss.workflow.pictures import picture_slices, save_panel


def dataset(*rows):
    """Validation cases with these slice labels (or, as a tuple, a label of the whole volume)."""
    cases = []
    for i, row in enumerate(rows):
        whole = row if isinstance(row, tuple) else (max(row),)
        slices = None if isinstance(row, tuple) else tuple((value,) for value in row)
        cases.append(Case(f"{i}.nii", str(i), str(i), whole, slices))
    return PreparedDataset(("a",), validation=tuple(cases), training=(Case("t.nii", "t", "t", (1,)),))


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([[0, 1, 1, 1, 0]], [("0", 2)]),
        ([[0, 0], [-1, 1]], [("1", 1)]),  # negatives have none; unknown is no positive
        ([[0, 0.5, 0.4]], [("0", 1)]),  # soft labels count from a half
        ([[1]] * 6, [("0", 0), ("1", 0), ("2", 0), ("3", 0)]),
        ([[0], [-1]], []),
        ([], []),
    ],
)
def test_middle_positive_slice_of_the_first_cases(rows, expected, tmp_path):
    assert [(case.case, index) for case, index in picture_slices(dataset(*rows), tmp_path)] == expected


def test_names_burned_into_the_image_are_never_shown(tmp_path):
    cases = [Case("x.nii", str(i), str(i), (1,), ((1,),), burned_in=i < 2) for i in range(3)]
    shown = picture_slices(PreparedDataset(("a",), validation=tuple(cases)), tmp_path)
    assert [case.case for case, _ in shown] == ["2"]


def test_a_volume_labelled_as_a_whole_shows_its_middle(tmp_path):
    np.save(tmp_path / "0.npy", np.zeros((7, 1, 2, 2)))
    np.save(tmp_path / "1.npy", np.zeros((7, 1, 2, 2)))
    assert [(case.case, i) for case, i in picture_slices(dataset((1,), (0,)), tmp_path)] == [("0", 3)]


class Tracker:
    def __init__(self):
        self.pictures = []

    def log_picture(self, path):
        self.pictures.append(path)


def test_panel_has_a_row_a_title_and_a_column_a_slice(tmp_path):
    tracker, path = Tracker(), tmp_path / "p.png"
    image = np.arange(20.0).reshape(4, 5)
    save_panel(path, {"image": [image] * 3, "map": [image] * 3}, {"map": [image / 19] * 3}, tracker, zoom=2)
    # three columns of 4 pixels and two rows of 5 pixels and a title of 14, doubled: arrays are (x, y)
    assert Image.open(path).size == (3 * 4 * 2, 2 * (5 * 2 + 14))
    assert tracker.pictures == [path]


def test_first_axis_runs_to_the_right(tmp_path):
    image = np.zeros((4, 6))
    image[3, 0] = 1
    save_panel(tmp_path / "p.png", {"": [image]}, {}, zoom=1)
    panel = np.asarray(Image.open(tmp_path / "p.png"))[14:]  # (y, x, RGB)
    assert panel.shape == (6, 4, 3)
    assert panel[0, 3].tolist() == [255] * 3 and panel.sum() == 3 * 255


def test_colours_share_one_scale_and_one_channel_is_grey(tmp_path):
    """Values -1 to 1 over three channels: red 1 is 255, green 0 is 127, blue -1 is 0."""
    image = np.stack([np.ones((2, 3)), np.zeros((2, 3)), -np.ones((2, 3))])
    save_panel(tmp_path / "rgb.png", {"": [image]}, {}, zoom=1)
    assert np.asarray(Image.open(tmp_path / "rgb.png"))[14:].tolist() == [[[255, 127, 0]] * 2] * 3
    grey = np.arange(6.0).reshape(2, 3)
    for name, given in (("plain", grey), ("channel", grey[None])):
        save_panel(tmp_path / f"{name}.png", {"": [given]}, {}, zoom=1)
    assert (tmp_path / "plain.png").read_bytes() == (tmp_path / "channel.png").read_bytes()


def test_maps_are_heat_and_labels_are_outlines(tmp_path):
    image, heat, labels = np.zeros((8, 8)), np.zeros((8, 8)), np.zeros((8, 8), np.uint8)
    heat[0, 0] = 1
    labels[2:6, 2:6], labels[7] = 2, 255
    images = {"heat": [image], "labels": [image]}
    save_panel(tmp_path / "p.png", images, {"heat": [heat], "labels": [labels]}, zoom=1)
    panel = np.asarray(Image.open(tmp_path / "p.png")).astype(int)
    top, bottom = panel[14:22], panel[36:44]
    assert top[0, 0].tolist() == [153, 48, 0] and top.sum() == 153 + 48  # .6 (255, 80, 0)
    # the 4 x 4 square's border is 12 pixels; ignored pixels have none
    assert (bottom.sum(axis=2) > 0).sum() == 12 and bottom[3, 3].sum() == 0


def test_flat_image_and_no_slice_are_normal(tmp_path):
    save_panel(tmp_path / "flat.png", {"a": [np.full((4, 4), 7.0)]}, {})
    assert (tmp_path / "flat.png").exists()
    save_panel(tmp_path / "none.png", {"a": [], "b": []}, {"a": []}, Tracker())
    assert not (tmp_path / "none.png").exists()


def test_a_mask_that_fills_the_image_has_its_outline_at_the_rim(tmp_path):
    image, mask = np.linspace(0, 1, 64).reshape(8, 8), np.ones((8, 8), np.uint8)
    save_panel(tmp_path / "panel.png", {"mask": [image]}, {"mask": [mask]}, zoom=1)
    drawn = np.asarray(Image.open(tmp_path / "panel.png"))[-8:]
    red = (drawn == (230, 60, 60)).all(axis=2)
    assert red[[0, -1]].all() and red[:, [0, -1]].all() and not red[1:-1, 1:-1].any()


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_of_windows_the_first_is_shown(tmp_path, channels):
    image = np.stack([np.linspace(-2, 2, 6).reshape(2, 3) * (1 if c == 0 else 0.5) for c in range(channels)])
    save_panel(tmp_path / "windows.png", {"": [image]}, {}, zoom=1)
    save_panel(tmp_path / "first.png", {"": [image[0]]}, {}, zoom=1)
    assert (tmp_path / "windows.png").read_bytes() == (tmp_path / "first.png").read_bytes()
