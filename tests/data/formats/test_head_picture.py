"""The head in a picture: what is cut away, what stays, at which size and sharpness."""

import io

import numpy as np
import pytest
from head_ct_files import add_text, draw_head
from PIL import Image

from monai_wsss.data.formats.head_picture import SIDE, find_head, square_picture


@pytest.fixture
def drawn():
    """A head with black around it, and the box that holds it."""
    grey = draw_head(np.random.default_rng(0), diseased=True)
    rows, columns = np.flatnonzero(grey.any(1)), np.flatnonzero(grey.any(0))
    return np.pad(grey, 25), grey[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def in_frame(grey):
    grey[[1, -2], 1:-1] = 200
    grey[1:-1, [1, -2]] = 200
    return grey


def on_table(grey):
    """A bar below the head, as wide as the picture, and a line of two pixels from it to the skull."""
    bottom = np.flatnonzero(grey[:, 100])[-1]
    grey[-14:-4] = 140
    grey[bottom:-4, 100:102] = 140
    return grey


def as_jpeg(grey):
    stream = io.BytesIO()
    Image.fromarray(grey).save(stream, "JPEG", quality=60)
    return np.asarray(Image.open(stream))


@pytest.mark.parametrize(
    ("change", "outside"),
    [
        (lambda grey: grey, False),
        (lambda grey: np.asarray(add_text(grey).convert("L")), True),
        (in_frame, True),
        (on_table, True),
        (lambda grey: np.pad(grey, ((30, 5), (0, 17)), constant_values=255), False),
        (lambda grey: np.pad(grey, ((0, 90), (120, 0))), False),
        (lambda grey: np.maximum(grey, 35), False),
        (lambda grey: grey.astype(np.float32) * 257, False),  # 255 * 257 = 65535, of 16 bits
    ],
    ids=["as it is", "text", "frame", "table", "white margin", "off centre", "grey air", "16 bits"],
)
def test_the_head_alone_is_left(drawn, change, outside):
    picture, box = drawn
    found = find_head(change(picture))
    assert found.pixels.shape == box.shape
    assert found.pixels.dtype == np.uint8
    assert (np.abs(found.pixels.astype(int) - box) > 0).mean() < 0.005  # the line's foot; the darkest noise on grey air
    assert found.side == max(box.shape)
    assert (found.outside > 0) == outside
    assert not found.pixels[0, 0] and not found.pixels[-1, -1]


def test_jpeg_and_turned(drawn):
    picture, box = drawn
    assert find_head(as_jpeg(picture)).pixels.shape == box.shape
    assert np.array_equal(find_head(picture[::-1].T).pixels, box[::-1].T)
    assert np.array_equal(find_head((picture * 0.4).astype(np.uint8)).pixels, (box * 0.4).astype(np.uint8))


def test_share_outside(drawn):
    """A block of 20 x 30 in a picture of 210 x 210, apart from the head: 600 / 44100."""
    picture, box = drawn
    picture[:20, :30] = 255
    found = find_head(picture)
    assert found.outside == pytest.approx(600 / 44100)
    assert np.array_equal(found.pixels, box)


@pytest.mark.parametrize(
    "picture",
    [
        np.zeros((64, 64), np.uint8),
        np.full((64, 64), 255, np.uint8),
        np.kron(np.eye(2, dtype=np.uint8), np.full((32, 32), 90, np.uint8)),  # two grey values
        np.asarray(add_text(np.zeros((300, 300), np.uint8)).convert("L")),
        np.pad(np.arange(400, dtype=np.uint8).reshape(20, 20) // 2 + 50, 10),  # 20 pixels are too few for a head
    ],
    ids=["black", "white", "two values", "text alone", "tiny"],
)
def test_no_head(picture):
    with pytest.raises(ValueError, match="no head in it"):
        find_head(picture)


@pytest.mark.parametrize("shape", [(40, 40), (41, 24), (100, 301), (256, 256)])
def test_square_picture_keeps_the_aspect(shape):
    """A white box stays where it is: half of the side by the ratio of the sides, in the middle."""
    found = square_picture(np.full(shape, 255, np.uint8))
    assert found.shape == (SIDE, SIDE) and found.dtype == np.uint8
    for axis, length in enumerate(shape):
        expected = SIDE * length / max(shape)
        assert (found.max(1 - axis) > 127).sum() == pytest.approx(expected, abs=SIDE / max(shape) + 1)
    if shape == (SIDE, SIDE):
        assert (found == 255).all()


def test_a_common_detail_takes_the_size_away():
    """The same square of 1/2 the side, drawn with 128 and with 512 pixels: the slope of its edge."""
    pictures = []
    for side in (128, 512):
        picture = np.zeros((side, side), np.uint8)
        picture[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = 200
        pictures.append(picture)

    def slopes(detail):
        return [int(np.diff(square_picture(p, detail)[128].astype(int)).max()) for p in pictures]

    small, large = slopes(SIDE)
    assert large > 1.5 * small  # an edge of the one is a step
    small, large = slopes(128)
    assert 0.75 * small < large <= small
