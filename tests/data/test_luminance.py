import numpy as np

from monai_wsss.data.luminance import luminance


def test_by_hand():
    rgb = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [10, 20, 30]]], np.uint8)
    expected = [[76.245, 149.685], [29.07, 18.15]]  # 2.99 + 11.74 + 3.42 = 18.15
    assert luminance(rgb).dtype == np.float32
    np.testing.assert_allclose(luminance(rgb), expected, rtol=1e-6)


def test_grey_stays_exact():
    values = np.arange(65536)
    assert np.array_equal(luminance(np.stack([values] * 3, axis=-1).astype(np.uint16)), values)
