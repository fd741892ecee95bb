"""Curves as a picture."""

import numpy as np
import pytest
from PIL import Image

from monai_wsss.workflow.curve import save_curves


def reds(path):
    """Rows and columns of the first curve's pixels within the axes, which begin at (48, 356) and end at (490, 16)."""
    pixels = np.asarray(Image.open(path)).astype(int)[:, :496]
    return np.nonzero((pixels[..., 0] > 150) & (pixels[..., 1:] < 90).all(-1))


@pytest.mark.parametrize("epochs", [[0, 4], [3, 103]])
def test_a_line_from_corner_to_corner(tmp_path, epochs):
    save_curves(tmp_path / "a.png", epochs, {"a": [0.0, 1.0]})
    rows, columns = reds(tmp_path / "a.png")
    assert [columns.min(), columns.max()] == pytest.approx([48 - 3, 490 + 3], abs=1.5)
    assert np.allclose(rows, 356 - (columns - 48) * 340 / 442, atol=5)


@pytest.mark.parametrize("values", [[0.5], [None]])
def test_one_epoch_is_a_dot_and_none_is_nothing(tmp_path, values):
    save_curves(tmp_path / "a.png", [2], {"a": values})
    rows, columns = reds(tmp_path / "a.png")
    if values == [None]:
        assert not len(rows)
    else:
        assert [rows.mean(), columns.mean()] == pytest.approx([186, 48], abs=1)


def test_the_tracker_gets_it(tmp_path):
    class Tracker:
        def log_picture(self, path):
            self.path = path

    tracker = Tracker()
    save_curves(tmp_path / "a.png", [0, 1], {"a": [0.1, 0.2], "b": [None, 0.4]}, tracker=tracker)
    assert tracker.path == tmp_path / "a.png" and list(tmp_path.iterdir()) == [tracker.path]
