"""PNG and JPEG pictures as volumes of one slice."""

import struct
import zlib

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_wsss.data.picture import PICTURE_SUFFIXES, read_picture, read_picture_header
from monai_wsss.errors import InputError

GREY = np.arange(20).reshape(4, 5).astype("u1") * 10  # 4 rows, 5 columns


def save(path, array, mode=None, **options):
    image = Image.fromarray(array) if mode is None else Image.fromarray(array).convert(mode)
    image.save(path, **options)
    return path


def test_geometry_of_a_chest_film(tmp_path):
    """Columns run to the patient's left (the right of the picture), rows to the feet; 1 mm is no measurement."""
    path = save(tmp_path / "x.png", GREY)
    header, (array, affine) = read_picture_header(path), read_picture(path)
    assert header.shape == (5, 4, 1) and header.spacing == (1, 1, 1) and not header.spacing_known
    assert np.array_equal(header.affine, affine)
    assert nib.aff2axcodes(affine)[:2] == ("L", "I")
    assert np.linalg.det(affine) == 1  # right-handed, as a DICOM film
    assert array.dtype == np.float32 and array.shape == (5, 4, 1)
    assert array[3, 1, 0] == GREY[1, 3]


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".jpeg"])
def test_grey_of_8_bits(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    Image.fromarray(np.full((16, 16), 77, "u1")).save(path)
    assert path.suffix.lower() in PICTURE_SUFFIXES
    assert np.unique(read_picture(path)[0]).tolist() == [77]


def test_grey_of_16_bits_is_not_cut(tmp_path):
    deep = (GREY.astype("u2") * 300)[:, ::-1]
    path = save(tmp_path / "x.png", np.ascontiguousarray(deep))
    assert read_picture(path)[0].max() == 57000
    assert np.array_equal(read_picture(path)[0][..., 0].T, deep)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P"])
def test_grey_as_colours_stays_exact(tmp_path, mode):
    save(tmp_path / "x.png", GREY, mode)
    assert np.array_equal(read_picture(tmp_path / "x.png")[0][..., 0].T, GREY)


def test_colours_become_luminance(tmp_path):
    rgb = np.zeros((2, 3, 3), "u1")
    rgb[0, 1] = 200, 100, 50  # 59.8 + 58.7 + 5.7 = 124.2
    rgb[1, 2] = 0, 0, 255
    for mode in ("RGB", "RGBA", "P"):
        save(tmp_path / "x.png", rgb, mode)
        array, _ = read_picture(tmp_path / "x.png")
        np.testing.assert_allclose([array[1, 0, 0], array[2, 1, 0]], [124.2, 29.07], atol=4 if mode == "P" else 1e-4)


@pytest.mark.parametrize(
    ("palette", "values"),
    [
        ([0, 0, 0, 128, 0, 0, 0, 128, 0], [0, 1, 2]),
        ([0, 0, 0, 128, 128, 128, 255, 255, 255], [0, 1, 2]),
        ([255, 255, 255, 0, 0, 0, 9, 9, 9], [255, 0, 9]),  # a program that shrinks files put white first
    ],
)
def test_indices_of_a_palette_are_the_classes_of_a_mask(tmp_path, palette, values):
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8)).convert("L")
    image.putpalette(palette)
    image.save(tmp_path / "x.png")
    assert Image.open(tmp_path / "x.png").mode == "P"
    assert read_picture(tmp_path / "x.png", indices=True)[0].ravel().tolist() == values
    if values == [0, 1, 2] and palette[4] == 0:
        np.testing.assert_allclose(read_picture(tmp_path / "x.png")[0].ravel(), [0, 38.272, 75.136], atol=1e-3)


def test_black_and_white(tmp_path):
    Image.fromarray(GREY > 90).save(tmp_path / "x.png")
    assert np.array_equal(read_picture(tmp_path / "x.png")[0][..., 0].T, 255 * (GREY > 90))


@pytest.mark.parametrize(
    ("orientation", "upright"),
    [
        (1, GREY),
        (2, GREY[:, ::-1]),
        (3, GREY[::-1, ::-1]),
        (4, GREY[::-1]),
        (5, GREY.T),
        (6, np.rot90(GREY, -1)),
        (7, GREY[::-1, ::-1].T),
        (8, np.rot90(GREY)),
    ],
)
def test_orientation_of_a_photograph(tmp_path, orientation, upright):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "x.png", GREY, exif=exif)
    assert np.array_equal(read_picture(path)[0][..., 0].T, upright)
    assert read_picture_header(path).shape == (*upright.T.shape, 1)


def test_animation(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(GREY[::-1].copy())]
    frames[0].save(tmp_path / "x.png", save_all=True, append_images=frames[1:])
    for read in (read_picture_header, read_picture):
        with pytest.raises(InputError, match="is animated"):
            read(tmp_path / "x.png")


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colours, rows=b""):
    header = struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_a_decompression_bomb(tmp_path):
    for size in (20_000, 60_000):
        (tmp_path / "x.png").write_bytes(png(size, size, 8, 0, bytes(1000)))
        for read in (read_picture_header, read_picture):
            with pytest.raises(InputError, match=r"x\.png: (has 20000 x 20000 pixels|cannot be read)"):
                read(tmp_path / "x.png")


@pytest.mark.parametrize("colours", [2, 4, 6])
def test_16_bit_colours_would_be_cut(tmp_path, colours):
    samples = {2: 3, 4: 2, 6: 4}[colours]
    (tmp_path / "x.png").write_bytes(png(1, 1, 16, colours, bytes(1 + 2 * samples)))
    with pytest.raises(InputError, match="16-bit grey"):
        read_picture_header(tmp_path / "x.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_damage(tmp_path, suffix):
    path = save(tmp_path / f"x{suffix}", np.random.default_rng(0).integers(0, 256, (64, 64)).astype("u1"))
    content = path.read_bytes()
    for broken in (content[: len(content) // 2], b"", b"text", content[:20], b"\0" * len(content)):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="damaged; copy it again") as caught:
            read_picture(path)
        assert "\n" not in str(caught.value)
    rng, refused = np.random.default_rng(0), 0
    for _ in range(100):
        changed = bytearray(content)
        for position in rng.integers(0, min(len(changed), 800), 3):
            changed[position] = rng.integers(256)
        path.write_bytes(changed)
        try:
            assert np.isfinite(read_picture(path)[0]).all()
        except InputError:
            refused += 1
    assert refused > 5


def test_other_files(tmp_path):
    with pytest.raises(InputError, match="not found"):
        read_picture(tmp_path / "gone.png")
    Image.fromarray(GREY).save(tmp_path / "x.tif")
    (tmp_path / "x.tif").rename(tmp_path / "x.png")
    with pytest.raises(InputError, match="cannot be read as PNG or JPEG"):
        read_picture(tmp_path / "x.png")


RED_AND_BLUE = np.array([[[200, 0, 0], [0, 0, 100]]], np.uint8)  # one row, two columns


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_stay_where_they_are_asked_for(tmp_path, mode):
    Image.fromarray(RED_AND_BLUE).convert(mode, palette=Image.Palette.ADAPTIVE).save(tmp_path / "x.png")
    found, _ = read_picture(tmp_path / "x.png", colour=True)
    assert found.shape == (2, 1, 1, 3) and found.dtype == np.float32
    assert found[:, 0, 0].tolist() == [[200, 0, 0], [0, 0, 100]]


@pytest.mark.parametrize("array", [GREY, GREY.astype(np.uint16) * 200])
def test_grey_as_three_colours(tmp_path, array):
    found, _ = read_picture(save(tmp_path / "x.png", array), colour=True)
    assert found.shape == (*array.T.shape, 1, 3)
    assert all(np.array_equal(found[..., 0, k].T, array) for k in range(3))


def test_a_turned_photograph_in_colour(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned right: the left end comes to the top
    Image.fromarray(RED_AND_BLUE).save(tmp_path / "x.png", exif=exif)
    found, _ = read_picture(tmp_path / "x.png", colour=True)
    assert found.shape == (1, 2, 1, 3) and found[0, :, 0].tolist() == [[200, 0, 0], [0, 0, 100]]
