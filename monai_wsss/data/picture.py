"""Read PNG and JPEG pictures as volumes of one slice."""

from __future__ import annotations

import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from monai_wsss.data.dicom.planes import projection_affine
from monai_wsss.data.luminance import luminance
from monai_wsss.data.volume import VolumeHeader
from monai_wsss.errors import InputError

PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
_MAX_PIXELS = 1 << 27
_DIRECTIONS = ("L", "F")  # as a chest film is shown: columns to the patient's left, rows to the feet
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)  # EXIF: values that swap rows and columns
_UNREADABLE = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
    Image.DecompressionBombError,
)


def read_picture_header(path: str | Path) -> VolumeHeader:
    """Return the geometry of a picture: one slice, columns to the patient's left, rows to the feet, spacing unknown.

    Raises:
        InputError: not found, no PNG or JPEG, animated, 16-bit colour, or impossibly large.
    """
    with _open(Path(path)) as image:
        width, height = image.size
        if image.getexif().get(_ORIENTATION) in _TURNED:
            width, height = height, width
    return VolumeHeader((width, height, 1), projection_affine(_DIRECTIONS, None), (1.0, 1.0, 1.0), spacing_known=False)


def read_picture(path: str | Path, indices: bool = False, colour: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Read a picture as float32 `(columns, rows, 1)` with its 4x4 affine (RAS; 1 mm, which is no measurement).

    Grey values stay as they are, 8 or 16 bits; colours become luminance, transparency is left out. A picture that is
    marked as turned or mirrored (EXIF) is set upright.

    Args:
        path: PNG or JPEG.
        indices: of a picture with a palette give the indices, which are the classes of a mask. A palette of greys that
            does not begin with black is no palette of classes: some programs that shrink files make one.
        colour: give red, green and blue, `(columns, rows, 1, 3)`; of a grey picture three times its values.

    Raises:
        InputError: as `read_picture_header`, and if it is corrupt or cut short.
    """
    with _open(Path(path)) as image:
        upright = ImageOps.exif_transpose(image)
        if indices and upright.mode == "P" and not _is_shrunk_grey(upright):
            values = np.asarray(upright).astype(np.float32)
        elif upright.mode in ("L", "I", "F") or upright.mode.startswith("I;"):
            values = np.asarray(upright).astype(np.float32)
        elif upright.mode in ("1", "LA", "La"):
            values = np.asarray(upright.convert("LA"))[..., 0].astype(np.float32)
        else:
            rgb = np.asarray(upright.convert("RGB"))
            values = rgb.astype(np.float32) if colour else luminance(rgb)
    if colour and values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=-1)
    return np.ascontiguousarray(values.swapaxes(0, 1)[:, :, None]), projection_affine(_DIRECTIONS, None)


def _is_shrunk_grey(image: Image.Image) -> bool:
    palette = np.reshape(image.getpalette("RGB") or [0, 0, 0], (-1, 3))
    return bool(palette[0].any() and (palette == palette[:, :1]).all())


@contextmanager
def _open(path: Path) -> Iterator[Image.Image]:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large pictures: we have a limit of our own
            with Image.open(path, formats=("PNG", "JPEG")) as image:
                _check(path, image)
                yield image
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path}: not found") from error
    except _UNREADABLE as error:
        raise InputError(f"{path}: cannot be read as PNG or JPEG, it is damaged; copy it again") from error


def _check(path: Path, image: Image.Image) -> None:
    width, height = image.size
    if width * height > _MAX_PIXELS:
        raise InputError(f"{path}: has {width} x {height} pixels, which is too many; reduce it")
    if image.format != "PNG":
        return
    if getattr(image, "n_frames", 1) > 1:
        raise InputError(f"{path}: is animated; save one picture of it")
    with path.open("rb") as file:
        depth, colours = file.read(26)[24:26]
    if depth == 16 and colours != 0:  # Pillow would cut it to 8 bits
        raise InputError(f"{path}: is a 16-bit picture with colours or transparency; save it as 16-bit grey")
